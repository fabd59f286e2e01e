"""What stands on the pages: links that resolve, anchors for everything, margins, digests, clocks, honest words."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

from report.build import build
from report.pages.method import PUBLISHED
from report.views import view_study
from stages.confidence.equivalence import smallest_p
from stages.domain import files, formatting, names, yamlio
from tests.report import broken
from tests.report.conftest import EVIL, copy_of
from tests.report.pages import kinds, read, target

OUTSIDE = {"https://arxiv.org/abs/2606.11387"}


def everything(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_link_resolves_and_only_the_citation_leaves_the_site(site: Path) -> None:
    ids = {page.resolve(): set(read(page).ids) for page in everything(site)}
    for page in everything(site):
        seen = read(page)
        for link in seen.links:
            found = target(page, link)
            if found is None:
                assert link in OUTSIDE, (page, link)
                continue
            path, fragment = found
            assert path.is_file(), (page, link)
            assert path.is_relative_to(site.resolve())
            if fragment:
                assert fragment in ids[path], (page, link)
        for source in seen.sources:
            found = target(page, source)
            assert found is not None, (page, source)
            assert found[0].is_file(), (page, source)


def test_ids_are_unique_on_every_page(site: Path) -> None:
    for page in everything(site):
        found = read(page).ids
        assert len(found) == len(set(found)), (page, sorted({one for one in found if found.count(one) > 1}))


def test_no_page_holds_an_inline_script_or_handler(site: Path, hostile: Path) -> None:
    for page in everything(site) + everything(hostile):
        seen = read(page)
        assert not seen.inline_scripts, page
        assert not seen.handlers, page
        assert "Content-Security-Policy" in page.read_text(encoding="utf-8")


def test_every_table_has_its_csv_and_json_beside_it_and_says_source_and_clock(site: Path) -> None:
    for page in everything(site):
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r'<div class="table-block".*?<p class="source">(.*?)</p>', text, re.DOTALL)
        assert len(blocks) == read(page).tables, page
        for block in blocks:
            assert "Source: " in block
            assert re.search(r"(rated|wall) clock", block)
            files = [target(page, link) for link in re.findall(r'href="([^"]+\.(?:csv|json))"', block)]
            assert [found[0].suffix for found in files if found] == [".csv", ".json"]
            rows = list(csv.reader(files[0][0].open(encoding="utf-8", newline=""))) if files[0] else []
            value = json.loads(files[1][0].read_bytes()) if files[1] else {}
            assert rows[0] == [column["key"] for column in value["columns"]]
            assert len(rows) - 1 == len(value["rows"])


def test_every_page_says_its_clock_and_carries_the_studys_note(site: Path) -> None:
    for page in everything(site):
        text = read(page).text
        assert "rated clock" in text, page
        assert "Scores are made up by a formula; nothing was trained." in text, page


def test_a_gate_shows_every_finding_of_its_decision_with_observed_threshold_and_margin(
    site: Path, default_study: Path
) -> None:
    for gate, entry in view_study(default_study).files.decisions.items():
        value = json.loads((site / "gates" / f"{gate}.findings.json").read_bytes())
        keys = [column["key"] for column in value["columns"]]
        shown = [dict(zip(keys, row, strict=True)) for row in value["rows"]]
        reported = [(rule.id, finding.model_dump()) for rule in entry.decision.rules for finding in rule.results]
        assert len(shown) == len(reported)
        for row, (rule, one) in zip(shown, reported, strict=True):
            assert row["rule"] == rule
            assert {key: row[key] for key in ("candidate", "observed", "threshold", "margin", "holds", "note")} == one
        ids = set(read(site / "gates" / f"{gate}.html").ids)
        assert {rule.id for rule in entry.decision.rules} <= ids
        assert set(entry.decision.candidates) <= ids
        assert {f"{rule}.{'Gate' if one['candidate'] == '*' else one['candidate']}" for rule, one in reported} <= ids


def test_a_gate_shows_its_lock_the_chain_and_every_cell(site: Path, default_study: Path) -> None:
    view = view_study(default_study)
    for rung in view.study.rungs:
        gate = names.gate_of(rung)
        text = read(site / "gates" / f"{gate}.html").text
        assert view.files.locks[gate].lock.digest in text
        assert view.files.locks[gate].text.splitlines()[0] in text
        assert view.files.decisions[gate].line.md5 in text
        runs = view.gates[gate].executed
        assert f"{len(runs)} of {len(runs)} executed records" in text
        for run in runs:
            if run.record.purpose == "candidate":
                assert f"{run.record.val_bpb:.6f}" in text
        listed = (site / "runs" / f"{rung}.runs.csv").read_text(encoding="utf-8")
        assert all(run.line.md5 in listed for run in runs)


def test_a_run_names_its_line_its_digests_and_the_command_that_repeats_it(site: Path, default_study: Path) -> None:
    view = view_study(default_study)
    for run in view.executed:
        text = read(site / "runs" / f"{run.record.id}.html").text
        for needed in (run.line.md5, run.line.sha256, run.record.lock, run.record.runner, run.record.corpus):
            assert needed in text
        assert f"line {run.line.number}" in text
        assert f"promotion replay {run.record.id}" in text
        stage = f"{'floor' if run.record.purpose == 'floor' else 'run'}@{run.record.host}-{run.record.seed}"
        assert f"stages/ladder/{run.record.rung}/{run.record.config}/dvc.yaml:{stage}" in text


def test_a_run_names_both_files_of_its_trace_with_their_digests(site: Path, default_study: Path) -> None:
    run = view_study(default_study).executed[0].record.id
    text = read(site / "runs" / f"{run}.html").text
    for path in (names.trace_path(run) / "curve.csv", names.telemetry_path(run)):
        assert files.sha256_file(default_study / path) in text
        assert path.as_posix() in text
    assert (
        "Every number that a rule reads, and all that follows from it, can be recomputed"
        in read(site / "verify.html").text
    )


def test_the_files_of_the_evidence_say_what_decided_as_the_page_does(site: Path) -> None:
    value = json.loads((site / "gates" / "gate3.evidence.json").read_bytes())
    place = [column["key"] for column in value["columns"]].index("decided_by")
    reported = {row[place] for row in value["rows"]}
    assert None not in reported
    assert "R7 not met" in reported


def test_a_stopped_configuration_names_the_rule_that_stopped_it(site: Path, default_study: Path) -> None:
    view = view_study(default_study)
    decision = view.gates["gate3"].decision
    for name in decision.stopped:
        text = read(site / "configs" / f"{name}.html").text
        assert "It was stopped at gate 3. It was" in text
        assert "It did not meet R7 “Promote the best 3 by mean over cells.” It would have needed −0." in text


def test_a_lock_that_differs_from_the_records_is_shown_as_broken(default_study: Path, tmp_path: Path) -> None:
    from stages.domain import locks

    root = copy_of(default_study, tmp_path / "study")
    path = root / "locks" / "gate3.yaml"
    lock = locks.loads(path.read_bytes(), "x")
    path.write_bytes(locks.dumps(lock.frozen.model_copy(update={"budget_seconds": 11.0})))
    build(root)
    text = read(root / "site" / "gates" / "gate3.html").text
    assert "✕ 0 of 46 executed records" in re.sub(r"\s+", " ", text)
    assert "names another lock" in text
    assert "another lock" in read(root / "site" / "runs" / "rung3.html").text


def test_two_blocks_on_one_machine_are_never_called_two_machines(site: Path) -> None:
    text = read(site / "method.html").text
    assert "Both host blocks report one hostname, example" in text
    for page in everything(site):
        assert not re.search(r"\b(two|2|different|both) machines", read(page).text), page


def test_published_figures_stand_on_the_method_page_alone_and_are_marked(site: Path) -> None:
    text = read(site / "method.html").text
    assert "Published in arXiv:2606.11387: not results of this study" in text
    for _, reported in PUBLISHED:
        assert reported in text
    assert "inferred here, not published" in text
    for page in everything(site):
        if page.name != "method.html":
            assert "169.2" not in read(page).text


def test_both_pages_name_the_smallest_p_that_four_cells_can_reach(site: Path) -> None:
    least = formatting.plain(smallest_p(4))
    method, confidence = (" ".join(read(site / f"{name}.html").text.split()) for name in ("method", "confidence"))
    assert f"a two-sided sign-flip test over 4 cells cannot go below p = 2/2⁴ = {least}." in method
    assert f"The two-sided p of n cells cannot go below 2/2ⁿ ({least} for four)" in confidence


def test_the_page_on_verifying_says_what_a_shallow_clone_skips_and_what_fails(site: Path) -> None:
    text = " ".join(read(site / "verify.html").text.split())
    failure = text.partition("How to read a failure")[2]
    could_not = failure.partition("exit status 2")[2].partition("skipped")[0].strip()
    assert (
        could_not
        == "the checks could not run: no repository, a newer schema, a requested commit that is not in this clone"
    )
    assert (
        "what its history hides (order of locks and evidence, the study before, runs in hindsight) is skipped"
        in failure
    )
    assert "--require CHECK makes a skipped check a failure" in failure


def test_a_gate_says_which_noise_its_distances_and_which_its_redraws_use(site: Path, default_study: Path) -> None:
    view = view_study(default_study)
    for gate in view.gates:
        known = view.confidence.gate(gate)
        text = " ".join(read(site / "gates" / f"{gate}.html").text.split())
        replication = "use another noise, that between the seeds of this rung's own cells (replication)." in text
        assert replication == (known.noise.source == "replication"), gate
        assert ("The redraws under “How sure?” use the A/A runs of" in text) == (known.noise.source == "floor"), gate


def test_counterfactual_hours_are_labelled_wherever_they_stand(site: Path) -> None:
    for name in ("index.html", "cost.html"):
        assert re.search(r"[Aa]ccounting of unrun work", read(site / name).text)


def test_what_all_runs_would_cost_is_not_called_unrun_work(site: Path) -> None:
    text = " ".join(read(site / "cost.html").text.split())
    assert "Without gates what running all configurations in all cells would cost, the executed runs among them" in text


def test_floats_are_never_shown_as_rounding_made_them(site: Path) -> None:
    for page in everything(site):
        assert not re.search(r"\d\.\d{10,}", read(page).text), page


def test_hostile_texts_are_text_in_every_field(hostile: Path) -> None:
    shown = {kind: read(hostile / kind).text for kind in kinds(hostile)}
    assert all(EVIL[:200] in text for text in shown.values())  # the title, on every page
    assert EVIL in shown["index.html"]  # the question and the note
    assert EVIL in read(hostile / "gates" / "gate2.html").text  # the amendment's reason
    assert EVIL in shown["method.html"]  # the host's title
    diverged = [
        page
        for page in (hostile / "runs" / "rung2").rglob("*.html")
        if EVIL in read(page).text and "diverged" in read(page).text
    ]
    assert diverged
    assert "Gate 2 was amended" in shown["index.html"]
    assert "diverged" in shown["index.html"]


def test_amendments_are_shown_with_what_was_and_what_is(hostile: Path) -> None:
    value = json.loads((hostile / "gates" / "gate2.amendments.json").read_bytes())
    row = dict(zip([column["key"] for column in value["columns"]], value["rows"][0], strict=True))
    assert row == {"number": 1, "reason": EVIL, "what": "rules.R5.k", "was": EVIL, "is": "9", "replaces": "0" * 64}


def test_the_last_gate_shows_the_locked_split_beside_what_its_rules_read(site: Path, default_study: Path) -> None:
    view = view_study(default_study)
    value = json.loads((site / "gates" / "gate5.locked.json").read_bytes())
    keys = [column["key"] for column in value["columns"]]
    shown = {row[0]: dict(zip(keys, row, strict=True)) for row in value["rows"]}
    for name in view.gates["gate5"].decision.candidates:
        runs = [run.record.facts or {} for run in view.gates["gate5"].executed if run.record.config == name]
        scores = [facts["locked_bpb"] for facts in runs]
        assert abs(shown[name]["locked"] - sum(scores) / len(scores)) < 1e-9
        assert abs(shown[name]["difference"] - 0.01) < 1e-9
    assert not (site / "gates" / "gate4.locked.json").exists()


PYTHON = re.compile(
    r"\b(None(?! in this study| of this)|True|False|nan|NaN|inf|Decimal|PosixPath|dict)\b|(?<=[( ])'[\w.-]+'"
)


def test_no_page_speaks_python(site: Path, hostile: Path, tmp_path: Path, default_study: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    broken.params(root, lambda value: value["roles"].update(sentinel="d2-c001"))
    broken.params(root, lambda value: value["hosts"]["cpu-fp32"].update(compile=True))
    broken.params(root, lambda value: value["runner"].update(warmup=0.5))
    build(root)
    assert "roles.sentinel (frozen d4-c003, now d2-c001)" in read(root / "site" / "gates" / "gate3.html").text
    assert "(frozen false, now true)" in read(root / "site" / "index.html").text
    for page in (*everything(site), *everything(hostile), *everything(root / "site")):
        text = re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        words = re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
        words = html.unescape(words).replace(EVIL, "").replace("Traceback", "")
        assert not PYTHON.search(words), (page, PYTHON.search(words))


def test_the_overview_has_the_first_ones_settings_to_copy_and_the_place_of_its_weights(
    site: Path, default_study: Path, tmp_path: Path
) -> None:
    def settings(root: Path) -> dict[str, object]:
        text = (root / "index.html").read_text(encoding="utf-8").partition('<h2 id="Take">')[2]
        block = re.search(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)
        assert block and block[1].startswith("configs:\n  d8-c007:\n    ")  # a line for each setting
        return yamlio.loads(html.unescape(block[1]).encode("utf-8"), "copied")

    frozen = view_study(default_study).files.locks["gate1"].lock.frozen.configs
    assert frozen
    assert settings(site) == {"configs": {"d8-c007": frozen["d8-c007"]}}
    text = " ".join(read(site / "index.html").text.split())
    assert "The winner's configuration and weights" in text
    assert "artifacts/winner/model.safetensors" in text and "dvc pull winner" in text
    root = copy_of(default_study, tmp_path / "study")  # params.yaml moved on: what was trained is what the lock froze
    broken.params(root, lambda value: value["configs"]["d8-c007"].update(matrix_lr=0.5))
    build(root)
    assert settings(root / "site") == {"configs": {"d8-c007": frozen["d8-c007"]}}
