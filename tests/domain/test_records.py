"""Records: what one line may say, what its other readings are, and what is refused with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical, files, names, records
from stages.domain.errors import Invalid
from stages.domain.records import HindsightRecord, Record, parse_hindsight, parse_ledger, parse_line, read, read_rung
from tests.support.contracts import make_contract


def make(status: str = "finished", *, rung: str = "rung1", **changes: Any) -> dict[str, Any]:
    """A record as JSON, but for `changes`."""
    fields = {"config": "a", "host": "h1", "seed": 1, "purpose": "candidate", "reason": None}
    value = make_contract(rung).make_record(status=status, **fields)
    if status in records.EXECUTED:
        value["spec"] = {"seed": 1}
    if status == "finished":
        value["facts"] = {"val_bpb": 1.25}
    return value | changes


def parse(value: dict[str, Any]) -> Record:
    return parse_line(canonical.dumps(value), "place")


def refusal(value: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as refused:
        parse(value)
    return str(refused.value)


@pytest.mark.parametrize("status", ["finished", "diverged", "failed", "stopped", "unrun"])
def test_a_record_knows_its_name_its_digest_and_whether_it_trained(status: str) -> None:
    value = make(status)
    record = parse(value)
    assert record.id == "rung1/a/h1/1"
    assert record.md5 == files.md5_bytes(canonical.dumps(value))
    assert record.executed == (status in ("finished", "diverged", "failed"))
    assert record.val_bpb == (Decimal("1.25") if status == "finished" else None)
    assert canonical.dumps(record.model_dump(by_alias=True)) == canonical.dumps(value)
    assert Record.model_validate(value).md5 == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"facts": None}, "facts.val_bpb of a finished run: a number from 0 to 1000, not None"),
        ({"facts": {"val_bpb": True}}, "facts.val_bpb of a finished run: a number from 0 to 1000, not True"),
        ({"facts": {"val_bpb": "1"}}, "facts.val_bpb of a finished run: a number from 0 to 1000, not '1'"),
        ({"facts": {"val_bpb": -0.000001}}, "facts.val_bpb of a finished run: a number from 0 to 1000, not -1e-06"),
        ({"facts": {"val_bpb": 1000.5}}, "facts.val_bpb of a finished run: a number from 0 to 1000, not 1000.5"),
        ({"facts": {"score": 1000001}}, "facts.score of a finished run: a number from -1000000 to 1000000, not 1000001"),
        ({"facts": {"score": -1000000.5}}, "facts.score of a finished run: a number from -1000000 to 1000000, not -1000000.5"),
        ({"facts": {"val_bpb": 1.2500001}}, "facts.val_bpb: at most six decimals, not 1.2500001"),
        ({"spec": None}, "spec: that of the run, since its status is finished"),
        ({"status": "stopped"}, "spec and facts: null, since its status is stopped"),
        ({"status": "unrun", "facts": None}, "spec and facts: null, since its status is unrun"),
        ({"status": "unrun", "spec": None}, "spec and facts: null, since its status is unrun"),
        ({"gate": "gate2"}, "gate: gate1, since its rung is rung1"),
    ],
)  # fmt: skip
def test_a_record_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    assert refusal(make() | changes).endswith(message)


@pytest.mark.parametrize("facts", [{"val_bpb": 0}, {"val_bpb": 1000}, {"val_bpb": 1.25, "locked_bpb": None}])
def test_a_score_may_be_at_its_limits(facts: dict[str, Any]) -> None:
    assert parse(make(facts=facts)).val_bpb == Decimal(str(facts["val_bpb"]))


@pytest.mark.parametrize("score", [-1_000_000, 1_000_000, 0.000001, -0.5])
def test_a_score_of_a_command_may_be_negative_and_is_the_score(score: float) -> None:
    record = parse(make(facts={"score": score, "val_bpb": 3.5}, spec={"kind": "command", "score": {"name": "loss"}}))
    assert record.val_bpb == canonical.exact(score)
    assert record.metric == "loss"


def test_a_run_that_was_not_trained_has_the_metric_of_the_built_in_runner() -> None:
    assert parse(make("stopped")).metric == "val_bpb"


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({"score": 1.0, "reported": {"seconds": 2.5}}, 2.5),
        ({"score": 1.0, "reported": {"seconds": 3}}, 3),
        ({"score": 1.0, "reported": {"seconds": True}}, None),
        ({"score": 1.0, "reported": {"seconds": "2"}}, None),
        ({"score": 1.0, "reported": {}}, None),
        ({"score": 1.0, "reported": [2.5]}, None),
        ({"val_bpb": 1.0}, None),
    ],
)
def test_the_seconds_of_a_command_are_those_that_it_reports(facts: dict[str, Any], seconds: float | None) -> None:
    reported = parse(make(facts=facts)).reported_seconds
    assert reported == seconds and type(reported) is type(seconds)


def test_a_run_without_facts_reports_no_seconds() -> None:
    assert parse(make("failed")).reported_seconds is None


def test_a_line_that_is_too_long_or_not_canonical_is_refused() -> None:
    value = make()
    room = records.MAX_LINE - len(canonical.dumps(make(spec={"pad": ""})))
    assert parse(make(spec={"pad": "x" * room})).executed
    assert refusal(make(spec={"pad": "x" * (room + 1)})) == (
        f"place: {records.MAX_LINE + 1} bytes, expected a record of at most {records.MAX_LINE}"
    )
    with pytest.raises(Invalid, match=r"^place: .*; a record is one line of canonical JSON$"):
        parse_line(canonical.dumps(value).replace(b",", b", ", 1), "place")


def test_what_many_records_say_alike_is_one_object() -> None:
    model = {"depth": 2, "inner": {"a": [1, {"b": 2}]}}
    lines = [canonical.dumps(make(seed=seed, facts={"val_bpb": 1.0, "model": model})) for seed in (1, 2)]
    first, second = (record for record, _ in parse_ledger(b"".join(lines), "ledger"))
    assert first.facts is not None and second.facts is not None
    assert first.facts == {"val_bpb": 1.0, "model": model}
    assert first.facts["model"] is second.facts["model"]
    assert first.budget is second.budget
    assert first.lock is second.lock
    assert (first.seed, second.seed) == (1, 2)


def test_a_ledger_is_its_lines_and_what_is_no_record_is_named_by_its_line() -> None:
    lines = [canonical.dumps(make(seed=seed)) for seed in (1, 2)]
    parsed = parse_ledger(b"".join(lines), "runs.jsonl")
    assert [(record.id, line) for record, line in parsed] == [("rung1/a/h1/1", lines[0]), ("rung1/a/h1/2", lines[1])]
    assert parse_ledger(b"", "runs.jsonl") == []
    with pytest.raises(Invalid, match=r"^runs\.jsonl, line 2: "):
        parse_ledger(lines[0] + b"{}\n", "runs.jsonl")
    with pytest.raises(Invalid) as refused:
        parse_ledger(lines[0] + lines[1][:-1], "runs.jsonl")
    assert str(refused.value) == "runs.jsonl: the last line does not end; is the file whole?"


def test_a_record_in_hindsight_names_a_decision_and_no_other_does() -> None:
    line = canonical.dumps(make(purpose="hindsight", decision="d" * 64))
    ((record, data),) = parse_hindsight(line, "hindsight.jsonl")
    assert isinstance(record, HindsightRecord)
    assert (record.decision, record.id, data) == ("d" * 64, "hindsight/a/h1/1", line)
    with pytest.raises(Invalid, match="decision"):
        parse_ledger(canonical.dumps(make(decision="d" * 64)), "runs.jsonl")
    with pytest.raises(Invalid, match="decision"):
        parse_hindsight(canonical.dumps(make(purpose="hindsight")), "hindsight.jsonl")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with three records of two rungs."""
    monkeypatch.chdir(tmp_path)
    for rung, seed in (("rung1", 2), ("rung1", 1), ("rung2", 3)):
        path = names.record_path(f"{rung}/a/h1/{seed}")
        files.write_whole(path, canonical.dumps(make(rung=rung, seed=seed)))
    return tmp_path


def test_the_records_of_a_rung_are_read_with_their_bytes_in_order(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = read_rung("rung1")
    assert list(rung) == ["rung1/a/h1/1", "rung1/a/h1/2"]
    record, data = rung["rung1/a/h1/1"]
    assert (record.seed, data) == (1, canonical.dumps(make(seed=1)))
    assert read_rung("rung3") == {}
    monkeypatch.chdir(workspace.parent)
    assert list(read_rung("rung2", workspace)) == ["rung2/a/h1/3"]


def test_a_record_is_read_by_its_name(workspace: Path) -> None:
    record = read("rung1/a/h1/2")
    assert record is not None and record.seed == 2
    assert read("rung1/a/h1/9") is None


def test_a_record_in_the_place_of_another_is_refused(workspace: Path) -> None:
    names.record_path("rung1/a/h1/1").replace(names.record_path("rung1/a/h1/7"))
    message = "artifacts/records/rung1/a/h1/7.json: found the record of rung1/a/h1/1, expected that of rung1/a/h1/7"
    for reading in (lambda: read("rung1/a/h1/7"), lambda: read_rung("rung1")):
        with pytest.raises(Invalid) as refused:
            reading()
        assert str(refused.value) == message
