"""Checks V23, V28 and V29: summaries, winner and site, derived from the evidence again and compared.

git has no weights, but the run that trained the winner kept them, and dvc.lock recorded their digest when it ran.

The site is built by `python -m report` in a process of its own: nothing under stages/ imports the report, and files of
the study cannot hang or crash the verification. That process imports the code from where this program was
imported and never from the study, and ends after `SITE_SECONDS`.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stages import winner as winner_stage
from stages.domain import canonical, files, names
from stages.domain.diff import differences
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.records import Record
from stages.dvcfiles.cache import Outputs, folder_md5, md5_file, md5_folder
from stages.repo.dvc_remote import restore_command
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.digests import installed_root, other_code
from stages.verify.dvc_locks import ROOT, DvcLocks
from stages.verify.ledger import Ledger
from stages.verify.locks import METRICS, PARAMS, Params
from stages.verify.pending import evidence_locks, evidence_study, pending_gates

SUMMARY, WINNER, SITE = (path.as_posix() for path in (names.SUMMARY, names.WINNER, names.SITE))
CURVES = winner_stage.CURVES.as_posix()
SITE_SECONDS = 1800
_OTHER_CODE = "verify with that commit's own code"


def _derive_summaries(case: Case) -> dict[str, bytes]:
    """Every file of artifacts/summary and the metrics, by path, from the evidence."""
    from stages.summary import everything

    study, known, recomputed = evidence_study(case), evidence_locks(case), case.get(Recomputed)
    records = [run.record for run in case.get(Ledger).runs]
    summaries = everything(study.study.mode, sorted(study.configs), known.by_gate, records, recomputed.decisions)
    return {path.as_posix(): data for path, data in summaries.items()}


def check_summary(case: Case) -> Iterator[Problem]:
    """ledger/metrics.json and artifacts/summary (agreement, stability, cost) are those computed from the evidence."""
    derived = _derive_summaries(case)
    problems = [*_compare_metrics(case.tree.read(METRICS), derived[METRICS]), *_compare_folder(case, derived)]
    if problems and (changed := other_code(case, "ledger", ("stages/summary", "stages/domain"))):
        raise Skip(f"{changed} installed here is not the one that made the summary", _OTHER_CODE)
    yield from problems


def _compare_folder(case: Case, derived: dict[str, bytes]) -> Iterator[Problem]:
    """The digest of artifacts/summary in every dvc.lock is that of the derived files."""
    head = f"{SUMMARY}/"
    md5 = folder_md5(
        (path.removeprefix(head), md5_bytes(data)) for path, data in derived.items() if path.startswith(head)
    )
    for path, name, stage in case.get(DvcLocks).stages():
        for kind, recorded in (("deps", stage.deps), ("outs", stage.outs)):
            if SUMMARY in recorded and recorded[SUMMARY].md5 != md5:
                meaning = "the tables of agreement, stability or cost are not what the evidence adds up to"
                pointer = f"/stages/{name}/{kind}/{recorded[SUMMARY].at}/md5"
                yield Problem(path, str(recorded[SUMMARY].md5), md5, meaning, pointer=pointer)


def _compare_metrics(data: bytes | None, expected: bytes) -> Iterator[Problem]:
    meaning = "a published number is not what the evidence adds up to"
    if data is None:
        yield Problem(METRICS, "no file", "the metrics of the ledger", meaning)
        return
    if data == expected:
        return
    try:
        pairs = list(islice(differences(canonical.loads(data), canonical.loads(expected)), 5))
    except canonical.NotCanonical as error:
        raise Invalid.at(METRICS, f"{error}; the ledger stage writes it") from None
    for pointer, was, should in pairs:
        yield Problem(METRICS, repr(was), repr(should), meaning, pointer=pointer)
    if not pairs:
        yield Problem(METRICS, "the same values in other bytes", "the bytes that the ledger stage writes", meaning)


def check_winner(case: Case) -> Iterator[Problem]:
    """The winner's weights are those that its run kept; its description and curves follow from ledger and traces."""
    locks = case.get(DvcLocks)
    if "winner" not in locks.recorded.get(ROOT, {}):
        raise Skip("dvc.lock records no winner", "dvc repro winner", applies=False)
    summaries = _derive_summaries(case)
    headline = canonical.loads(summaries[METRICS])
    order = canonical.loads(summaries[f"{SUMMARY}/stability.json"])
    runs = winner_stage.last_runs([run.record for run in case.get(Ledger).runs])
    outputs = Outputs(case.root, locks.outputs())
    present = outputs.files(WINNER)
    if present is None:
        raise Skip(f"{WINNER} is not here as dvc.lock records it", restore_command(case.root, "winner"))
    chosen = next((run for run in runs if run.config == headline["winner"]), None)
    has_weights = chosen is not None and winner_stage.keeps_weights(chosen)
    expected = {"model.json", winner_stage.WEIGHTS} if has_weights else {"model.json"}
    for name in sorted(present.keys() ^ expected):
        sides = ("a file", "no such file") if name in present else ("no file", "a file")
        yield Problem(f"{WINNER}/{name}", *sides, "the winner stage would not have left it so")
    if not present.keys() >= expected:
        return
    if chosen is not None and has_weights:
        yield from _compare_weights(case, outputs, chosen, present[winner_stage.WEIGHTS])
    model = winner_stage.make_model_file(
        runs, headline, order, lambda _: _describe_weights(present[winner_stage.WEIGHTS])
    )
    description = _compare_description(present["model.json"].read_bytes(), canonical.dumps(model))
    problems = [*description, *_compare_curves(case, outputs, runs)]
    if problems and (changed := other_code(case, "winner", ("stages/winner.py", "stages/summary", "stages/domain"))):
        raise Skip(f"{changed} installed here is not the one that described the winner", _OTHER_CODE)
    yield from problems


def _compare_weights(case: Case, outputs: Outputs, run: Record, weights: Path) -> Iterator[Problem]:
    trace = outputs.files(names.trace_path(run.id).as_posix())
    if trace is None:
        raise Skip(
            f"the trace of {run.id}, whose weights won, is not here as dvc.lock records it", restore_command(case.root)
        )
    digest, kept = md5_file(weights), trace.get(winner_stage.KEPT)
    if kept is None or md5_file(kept) != digest:
        expected = f"MD5 {md5_file(kept)}" if kept else "none: the run kept no weights"
        meaning = f"these are not the weights that {run.id} trained"
        yield Problem(f"{WINNER}/{winner_stage.WEIGHTS}", f"MD5 {digest}", expected, meaning)


def _describe_weights(weights: Path) -> dict[str, object]:
    return {"file": winner_stage.WEIGHTS, "sha256": files.sha256_file(weights), "bytes": weights.stat().st_size}


def _compare_description(data: bytes, expected: bytes) -> Iterator[Problem]:
    path, meaning = f"{WINNER}/model.json", "what is said of the winner is not what the ledger says"
    if data == expected:
        return
    try:
        pairs = list(differences(canonical.loads(data), canonical.loads(expected)))
    except canonical.NotCanonical as error:
        pairs = [("", str(error), "canonical JSON")]
    for pointer, was, should in pairs or [("", "the same values in other bytes", "the bytes of the winner stage")]:
        yield Problem(path, repr(was)[:200], repr(should)[:200], meaning, pointer=pointer or None)


def _compare_curves(case: Case, outputs: Outputs, runs: list[Record]) -> Iterator[Problem]:
    """curves.csv made again from the traces of the last rung, where they are all here."""
    curves: dict[str, Path] = {}
    for run in runs:
        trace = outputs.files(names.trace_path(run.id).as_posix())
        if trace is None or "curve.csv" not in trace:
            bring = restore_command(case.root)
            case.note(f"{CURVES} was not made again: the trace of {run.id} is not here; `{bring}` brings it")
            return
        curves[run.id] = trace["curve.csv"]
    recorded = outputs.recorded.get(CURVES)
    try:
        md5 = md5_bytes(winner_stage.curves(runs, lambda run: curves[run.id].read_text(encoding="utf-8")))
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        message = f"{type(error).__name__}: {error}"
        yield Problem(CURVES, message, "curves that can be read", "the trace of a run is not what it wrote")
        return
    if recorded and recorded.md5 != md5:
        pointer = f"/stages/winner/outs/{recorded.at}/md5"
        meaning = f"{CURVES} does not show the curves in the traces"
        yield Problem(ROOT, str(recorded.md5), md5, meaning, pointer=pointer)


def check_site(case: Case) -> Iterator[Problem]:
    """The site, built again in a temporary folder, has the digest that dvc.lock records for it."""
    recorded = [
        (path, f"/stages/{name}/outs/{file.at}/md5", file.md5)
        for path, name, stage in case.get(DvcLocks).stages()
        for file in stage.outs.values()
        if file.path == SITE
    ]
    if not recorded:
        raise Skip("no dvc.lock records a site", "dvc repro site")
    if pending := pending_gates(case):
        gates = ", ".join(pending)
        raise Skip(f"the site is that of the evidence here, and the evidence of {gates} is to come", "dvc repro")
    bring = restore_command(case.root)
    if case.commit is not None:
        raise Skip("the site of a commit is built from its artifacts", f"git checkout {case.commit[:12]} && {bring}")
    if other_code(case, "site", ("report",)):
        raise Skip("report/ installed here is not the one that built the site", _OTHER_CODE)
    needed = [names.TRACES, names.SUMMARY, names.PROTOCOL, names.CORPUS / "manifest.json"]
    needed += [names.CONFIDENCE] if "confidence" in case.get(DvcLocks).recorded.get(ROOT, {}) else []
    if missing := [path for path in needed if not (case.root / path).exists()]:
        raise Skip(f"{missing[0].as_posix()} is not here, and the site is built from it", bring)
    with tempfile.TemporaryDirectory() as folder:
        if message := _build_site(case.root, Path(folder), _recorded_params(case)):
            meaning = "the site cannot be built from what lies here; V26 says what was changed"
            yield Problem(SITE, message, "pages", meaning)
            return
        digest = md5_folder(Path(folder) / SITE)
    for path, pointer, md5 in recorded:
        if md5 != digest:
            yield Problem(path, str(md5), digest, "the pages do not show what the evidence says", pointer=pointer)


def _recorded_params(case: Case) -> bytes | None:
    """What the site was built from, where params.yaml still says that: DVC does not see another order of its keys.

    None where it says something else, which V19 reports.
    """
    stage = case.get(DvcLocks).recorded.get(ROOT, {}).get("site")
    recorded = stage.params.get(PARAMS, {}) if stage else {}
    return json.dumps(recorded).encode("utf-8") if recorded == case.get(Params).value else None


def _build_site(root: Path, folder: Path, params: bytes | None) -> str:
    """Build the site of a study into a folder inside `folder`. Why it cannot be built; empty where it can.

    `params` stands in for its params.yaml.
    """
    # -P: nothing is imported from the study
    command = [sys.executable, "-P", "-m", "report", "--out", str(folder / SITE)]
    if params is not None:
        (folder / "params.yaml").write_bytes(params)
        command += ["--params", str(folder / "params.yaml")]
    own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(path.resolve()) for path in (installed_root(), *map(Path, own))]  # a relative one would be the study's
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SITE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no site after {SITE_SECONDS} seconds"
    if done.returncode == 0:
        return ""
    if done.returncode == -9:  # this machine's memory ran out, or somebody ended it
        raise Skip("the process that builds the site was killed", "promotion verify, with more memory")
    lines = done.stderr.decode("utf-8", "replace").strip().split("\n")
    last = lines[-1] or f"exit status {done.returncode}"
    if last.startswith(("ModuleNotFoundError", "ImportError")) or last.endswith("No module named report"):
        raise Skip(f"the report cannot be imported: {last}", "pip install 'staged-promotion[study]'")
    if str(folder) in last:
        reason = last.replace(str(folder), "the temporary folder")[:300]
        raise Skip(reason, "promotion verify, with room for temporary files (TMPDIR)")
    return last[:300]
