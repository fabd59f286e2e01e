"""Whatever bytes stand where locks, ledger, dvc.lock or params.yaml should: the documented errors and nothing else."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, locks, promotions, yamlio
from stages.domain.errors import Refused
from stages.domain.records import Facts, parse_ledger
from stages.domain.schema import parse
from stages.domain.study import parse_study
from stages.dvcfiles import lockfile
from stages.dvcfiles.pipeline import root_stages
from stages.repo import objects, past_files
from stages.verify import artifacts, attestation, signatures
from stages.verify.ledger import parse_decision_lines
from stages.verify.sequence import SEQUENCE
from tests.support.fuzzing import budget
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger

PARSERS = {
    "params.yaml": lambda data: parse_study(yamlio.loads(data, "x"), "x"),
    "locks/gate1.yaml": lambda data: locks.loads(data, "x"),
    RUNS: lambda data: parse_ledger(data, "x"),
    DECISIONS: parse_decision_lines,
    "stages/ladder/rung1/d1-a/dvc.lock": lambda data: lockfile.parse(data, "x"),
    "dvc.yaml": lambda data: root_stages(yamlio.loads(data, "x"), "x"),
}
MANY = budget(150)
#: Pieces that have broken parsers before.
PIECES = st.sampled_from(
    [
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"---\n",
        b"...\n",
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"!!python/name:os.system ",
        b"!!binary ",
        b"!!set ",
        b"? ",
        b"|\n",
        b"%YAML 1.1\n---\n",
        b"{",
        b"[" * 300,
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b"\\ud800",
        b"2001-01-01",
        b"0o17",
        b"1:30",
        b'"a":1,"a":2',
        "\u0430\u202e".encode(),
        b"null",
        b"-",
        b": ",
        b"\t",
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few pieces cut out, put in or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.integers(0, 3)):
            case 0:
                data = data[:at] + data[min(end, at + 40) :]
            case 1:
                data = data[:at] + draw(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[at : min(end, at + 200)] * 2 + data[min(end, at + 200) :]
            case _:
                data = data[:at] + draw(st.binary(max_size=6)) + data[at + 1 :]
    return data


def read(name: str, data: bytes) -> None:
    """Parse; an error must be one of the documented ones."""
    try:
        PARSERS[name](data)
    except ValueError as error:
        assert type(error).__module__.startswith("stages."), f"{name}: {type(error)}: {error}"
        assert len(str(error)) < 200_000


@pytest.mark.parametrize("name", PARSERS)
@given(st.data())
@MANY
def test_spoilt_files_raise_documented_errors_alone(name, shared_clone, data):
    read(name, data.draw(spoilt((shared_clone / name).read_bytes())))


@pytest.mark.parametrize("name", PARSERS)
@given(st.binary(max_size=300))
@MANY
def test_noise_raises_documented_errors_alone(name, data):
    read(name, data)


@given(st.binary(max_size=200) | spoilt(b"d1-a: true\nd2-b: false\n"))
@MANY
def test_tickets_raise_documented_errors_alone(data):
    try:
        assert promotions.dumps(promotions.loads(data)) is not None
    except promotions.BadTickets:
        pass


@given(st.binary(max_size=200) | spoilt(b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"payload":""}'))
@MANY
def test_attestations_raise_documented_errors_alone(data):
    try:
        attestation.parse_statement(data, "x")
    except (attestation.BadAttestation, Refused):
        pass


#: Any JSON value, with the words that make a program believe that it knows what it reads.
WORDS = st.sampled_from(
    ["stages", "site", "cmd", "params.yaml", "configs", "${item.a}", "${hosts}", "path", "md5", "size"]
)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def shaped(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these keys, each with any value, and perhaps a stranger."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys((*keys, "stranger"), ANY))


def documented(parse: Callable[[], Any]) -> None:
    try:
        parse()
    except ValueError as error:
        assert type(error).__module__.startswith("stages."), f"{type(error)}: {error}"


@given(shaped("cmd", "deps", "params", "outs", "metrics", "matrix", "wdir"))
@MANY
def test_a_pipeline_of_any_shape_raises_documented_errors_alone(stage):
    for value in ({"stages": {"site": stage}}, {"stages": {"site": {**stage, "cmd": "true"}}}, stage):
        documented(lambda value=value: root_stages(value, "x"))


@given(shaped("cmd", "deps", "params", "outs"), shaped("path", "hash", "md5", "size", "nfiles"))
@MANY
def test_a_dvc_lock_of_any_shape_raises_documented_errors_alone(stage, item):
    for value in (stage, {"cmd": "true", "outs": [item]}, {"cmd": "true", "deps": item}):
        data = json.dumps({"schema": "2.0", "stages": {"run": value}}).encode("utf-8")
        documented(lambda data=data: lockfile.parse(data + b"\n", "x"))


@given(shaped("schema", "source", "splits", "tokenizer", "token_bytes") | ANY)
@MANY
def test_a_manifest_of_any_shape_raises_documented_errors_alone(value):
    documented(lambda: artifacts.parse_manifest(json.dumps(value).encode("utf-8")))


FACTS = ("val_bpb", "locked_bpb", "steps", "tokens", "train_loss", "rated_seconds", "progress", "model")


@given(shaped(*FACTS))
@MANY
def test_facts_of_any_shape_raise_documented_errors_alone(value):
    whole = {**dict.fromkeys(FACTS), "steps": 1, "tokens": 1, "model": {}}
    for facts in (value, whole | value):
        documented(lambda facts=facts: parse(Facts, facts, "x"))


@given(shaped("status", "rung", "lock", "config", "host", "seed", "purpose", "facts", "gate", "evidence") | ANY)
@MANY
def test_a_past_commit_may_hold_anything_without_an_error(value):
    data = json.dumps(value).encode("utf-8")
    past_files.parse_evidence_line(data)
    past_files.parse_decision_commitment(data)
    past_files.parse_past_lock(data + b"\n", "gate1")
    past_files.holds_trained_run(data + b"\n", "x")


@given(
    st.binary(max_size=200)
    | spoilt(b"tree " + b"1" * 40 + b"\nparent " + b"2" * 40 + b"\ncommitter a <b> 1 +0000\n\nx")
)
@MANY
def test_objects_of_git_raise_documented_errors_alone(data):
    scans = (
        lambda oid, data: list(objects.scan_tree(oid, data)),
        lambda oid, data: list(objects.split_tree(oid, data)),
    )
    for parse_object in (objects.parse_commit, objects.parse_tree, *scans):
        documented(lambda parse_object=parse_object: parse_object("1" * 40, data))
    documented(lambda: signatures._unsigned(data))


@given(st.binary(max_size=200) | spoilt(b'"alice b" namespaces="git",valid-before="20270101Z" ssh-ed25519 AAAA c\n'))
@MANY
def test_allowed_signers_raise_documented_errors_alone(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "signers"
    path.write_bytes(data)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    documented(lambda: [line.may("git", now) for line in signatures.read_allowed_signers(path)])


@given(st.data())
@budget(25)
def test_the_verification_of_a_spoilt_study_ends_in_results_and_never_in_a_traceback(shared_clone, data):
    name = data.draw(st.sampled_from([*sorted(PARSERS), METRICS, "dvc.lock", "dvc.yaml", ".dvcignore"]))
    forger = Forger(shared_clone)
    whole = forger.read(name)
    try:
        forger.write(name, data.draw(spoilt(whole)))
        assert len(forger.verify()) == len(SEQUENCE)
    finally:
        forger.write(name, whole)


BOMBS = {
    "aliases": b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)),
    "nesting": b"[" * 200_000,
    "flow": b"{a: " * 50_000,
    "digits": b"a: " + b"9" * 1_000_000 + b"\n",
    "keys": b"".join(b"k%d: 1\n" % n for n in range(5_000)),
    "merge": b"a: &a {x: 1}\n" + b"b:\n" + b"  <<: *a\n" * 1000,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", [name for name in PARSERS if "jsonl" not in name])
def test_a_bomb_is_refused_in_little_time_and_memory(name, bomb):
    tracemalloc.start()
    try:
        read(name, BOMBS[bomb])
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"a":' * 50_000, b'"' + b"x" * (1 << 21), b"9" * 100_000])
def test_a_bomb_of_json_is_refused(line):
    for name in (RUNS, DECISIONS):
        read(name, line + b"\n")
    with pytest.raises(canonical.NotCanonical):
        canonical.loads(line[: 1 << 20] + b"]")


def test_folders_that_are_files_end_in_results(tmp_path: Path):
    (tmp_path / "ledger").write_bytes(b"")
    (tmp_path / "locks").write_bytes(b"")
    assert {one.status for one in Forger(tmp_path).verify()} <= {"failed", "skipped", "passed"}
