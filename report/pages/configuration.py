"""A configuration: what was built, its way up, its ranks on every host, the rule that stopped it; and the list of all.

python -m report && python -m webbrowser site/configs.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import labels, promotion_paths
from report.decisions import flip_of, roles_of, rules_of
from report.load import Audit
from report.page import Page, config_page, gate_page, run_page
from report.pages.gate_outcome import decided
from report.path_figure import path_figure, path_table
from report.promotion_paths import Path, Step
from report.tables import Cell, Column, Row, Table, state
from report.verdict import lead
from stages.domain import formatting, names


def pages(audit: Audit) -> Iterator[Page]:
    """The list, then one page a configuration."""
    paths = promotion_paths.ladder(audit)
    yield Page(
        path="configs.html",
        template="configs.html",
        title="Configurations",
        context={"figures": [path_figure(audit, list(paths.values()), "paths")]},
        tables=[models_table(audit, paths), path_table(audit, list(paths.values()), "paths")],
    )
    for path in paths.values():
        yield _page(audit, path)


def models_table(audit: Audit, paths: dict[str, Path]) -> Table:
    """Every configuration: how far it came, the realised model, the knobs that differ."""
    knobs = list(dict.fromkeys(key for config in audit.study.configs.values() for key in config))
    varied = [key for key in knobs if len({repr(one.get(key)) for one in audit.study.configs.values()}) > 1]
    made = []
    for name, path in paths.items():
        shape, last = audit.shapes.get(name, {}), path.last
        cells: dict[str, Any] = {
            "config": Cell(name, href=config_page(name), tags=path.roles),
            "roles": ", ".join(path.roles),
            "fate": state(last.state) if last else None,
            "reached": path.reached,
        }
        cells |= {key: shape.get(key) for key in ("parameters", "flops_per_token", "width")}
        cells |= {key: audit.study.configs[name].get(key) for key in varied}
        made.append(Row(name, cells))
    return Table(
        id="models",
        title="What was compared",
        columns=[
            Column("config", "Configuration"),
            Column("roles", "Role", hidden=True),
            Column("fate", "In the end", "state"),
            Column("reached", "Rungs", "count", "at how many rungs it was a candidate"),
            Column("parameters", "Parameters", "count"),
            Column("flops_per_token", "FLOPs per token", "count"),
            Column("width", "Width", "count"),
            *(Column(key, labels.name(key), "number" if _numeric(audit, key) else "text") for key in varied),
        ],
        rows=made,
        source="params.yaml, artifacts/protocol/configs.json or the records, ledger/decisions.jsonl",
        clock=audit.clock,
        note="Knobs that are the same everywhere are left out.",
    )


def _numeric(audit: Audit, key: str) -> bool:
    values = [config.get(key) for config in audit.study.configs.values()]
    return all(isinstance(one, int | float | None) and not isinstance(one, bool) for one in values)


def _page(audit: Audit, path: Path) -> Page:
    shape = audit.shapes.get(path.config, {})
    return Page(
        path=config_page(path.config),
        template="config.html",
        title=path.config,
        context={
            "config": path,
            "built": labels.pairs({key: one for key, one in shape.items() if key != "same_model_as"}),
            "twins": shape.get("same_model_as", []),
            "knobs": labels.pairs(dict(audit.study.configs[path.config])),
            "ending": ending(audit, path),
        },
        tables=[steps_table(audit, path), ranks_table(audit, path), runs_table(audit, path.config)],
    )


def ending(audit: Audit, path: Path) -> dict[str, Any]:
    """How its way ended, in words; the gate, and the rules to look at with what they say of it."""
    last = path.last
    if last is None:
        return {"text": "It has not been judged yet.", "gate": "", "rules": []}
    gate = names.gate_of(last.rung)
    title = formatting.gate_title(gate).lower()
    rank = f" It was {formatting.ordinal(last.rank)} there." if last.rank else ""
    text = {
        "winner": f"{_first(audit)}: the lowest mean val_bpb of {title}.",
        "finalist": f"It was a finalist: {formatting.ordinal(last.rank or 0)} at {title}.",
        "stopped": f"It was stopped at {title}.{rank}",
        "blocked": f"Its way ends at {title}, which is blocked.",
        "missing": f"It has no full set of finished cells at {title}.",
    }.get(last.state, f"It was promoted by {title}; the next gate has not decided.")
    if last.state != "stopped":
        return {"text": text, "gate": gate, "rules": []}
    texts = {rule["id"]: formatting.typeset(rule["text"]) for rule in audit.decisions[gate].value["rules"]}
    how = "It met the stop rule" if last.by else "It did not meet"
    rules = [(one, texts[one]) for one in last.by or last.unmet]
    return {"text": text, "gate": gate, "rules": rules, "how": how, "needed": _needed(audit, gate, path.config)}


def _first(audit: Audit) -> str:
    """What the first place of the last rung is: a win, a lead within noise, a tie."""
    found = lead(audit)
    return "It won" if found is None or found.clear else f"It {found.verb}"


def _needed(audit: Audit, gate: str, config: str) -> str:
    """What its own val_bpb would have had to change by, to go on."""
    flip = flip_of(audit.decisions[gate].value, rules_of(audit, gate), roles_of(audit, gate), config)
    return f"It would have needed {formatting.signed(flip.shift, 4)} to go on." if flip.shift is not None else ""


def steps_table(audit: Audit, path: Path) -> Table:
    """Its way up, rung by rung."""
    made = [_step_row(audit, path.config, step) for step in path.steps]
    return Table(
        id="path",
        title=f"{path.config}, rung by rung",
        columns=[
            Column("rung", "Rung"),
            Column("budget", "Budget"),
            Column("outcome", "Outcome", "state"),
            Column("rank", "Rank", "count"),
            Column("of", "Of", "count"),
            Column("mean", "Mean val_bpb", "mean"),
            Column("behind", "Behind the best", "signed"),
            Column("rules", "Decided by"),
            Column("evidence", "Evidence", page_only=True),
        ],
        rows=made,
        source="ledger/decisions.jsonl",
        clock=audit.clock,
        tools=False,
    )


def _step_row(audit: Audit, config: str, step: Step) -> Row:
    gate = names.gate_of(step.rung)
    decision = audit.decisions.get(gate)
    ranking = decision.value["ranking"] if decision else []
    behind = step.mean - ranking[0]["mean"] if ranking and step.mean is not None else None
    return Row(
        step.rung,
        {
            "rung": Cell(step.rung, formatting.rung_title(step.rung), gate_page(gate)),
            "budget": formatting.seconds(audit.study.rungs[step.rung].budget_seconds),
            "outcome": state(step.state),
            "rank": step.rank,
            "of": len(ranking) if step.rank else None,
            "mean": step.mean,
            "behind": Cell(behind, "the best" if step.rank == 1 else None),
            "rules": decided(audit, gate, step),
            "evidence": Cell(None, "its line" if step.rank else "", f"{gate_page(gate)}#{config}" if step.rank else ""),
        },
    )


def ranks_table(audit: Audit, path: Path) -> Table:
    """Its rank and mean on every host block, at every rung where it was judged."""
    hosts = list(audit.study.hosts)
    made = []
    for step in path.steps:
        if step.rank is None:
            continue
        ranking = audit.decisions[names.gate_of(step.rung)].value["ranking"]
        cells: dict[str, Any] = {"rung": Cell(step.rung, formatting.rung_title(step.rung)), "all": step.rank}
        for host in hosts:
            order = sorted((one["hosts"].get(host, float("inf")), one["config"]) for one in ranking)
            cells[f"{host}_rank"] = [name for _, name in order].index(path.config) + 1
            cells[f"{host}_mean"] = (step.hosts or {}).get(host)
        made.append(Row(f"ranks.{step.rung}", cells))
    columns = [Column("rung", "Rung"), Column("all", "Rank, all cells", "count")]
    for host in hosts:
        columns += [Column(f"{host}_rank", f"Rank, {host}", "count"), Column(f"{host}_mean", f"Mean, {host}", "mean")]
    return Table("ranks", "Ranks on each host block", columns, made, "ledger/decisions.jsonl", audit.clock, tools=False)


def _short(run: str, config: str) -> str:
    """A run of a configuration without the name that the whole page bears."""
    return run.replace(f"/{config}/", "/", 1)


def runs_table(audit: Audit, config: str) -> Table:
    """Every executed run of it."""
    made = []
    for run in audit.by_config.get(config, []):
        record = run.record
        made.append(
            Row(
                f"run.{record.id.replace('/', '.')}",
                {
                    "run": Cell(record.id, _short(record.id, config), run_page(record.id)),
                    "rung": Cell(record.rung, formatting.rung_title(record.rung)),
                    "host": record.host,
                    "seed": Cell(record.seed, str(record.seed)),
                    "purpose": record.purpose,
                    "status": record.status,
                    "val_bpb": float(record.val_bpb) if record.val_bpb is not None else None,
                    "line": run.line.number,
                    "md5": run.line.md5,
                },
            )
        )
    return Table(
        id="runs",
        title=f"Every executed run of {config}",
        columns=[
            Column("run", "Run"),
            Column("val_bpb", "val_bpb", "bpb"),
            Column("status", "Status"),
            Column("rung", "Rung", hidden=True),
            Column("host", "Host block"),
            Column("seed", "Seed", "count"),
            Column("purpose", "Purpose"),
            Column("line", "Ledger line", "count"),
            Column("md5", "md5", "digest"),
        ],
        rows=made,
        source="ledger/runs.jsonl",
        clock=audit.clock,
    )
