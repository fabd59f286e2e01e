"""dvc.lock without DVC: the fast parser says what YAML says, and digests are those of the real dvc."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages.domain import yamlio
from stages.domain.errors import Invalid
from stages.domain.study import parse_study
from stages.dvcfiles import lockfile
from stages.dvcfiles.cache import folder_md5
from stages.dvcfiles.lockfile import BadLock, LockedFile, LockedStage, parse
from stages.dvcfiles.pipeline import fill_templates, parse_templates, root_stages
from stages.rungs import pipeline_files
from tests.support import dvclock as writer
from tests.support.repo import Repo

LOCK = b"""schema: '2.0'
stages:
  run@d1-a-cpu-fp32-1:
    cmd: python -m stages.run rung1 d1-a cpu-fp32 1
    deps:
    - path: artifacts/protocol/rung1.json
      hash: md5
      md5: 0b01e155b7da0ed7379138b289165028
      size: 1084
    params:
      params.yaml:
        configs.d1-a:
          depth: 1
          matrix_lr: 0.02
          embedding_lr: 1e-05
          window: SSSL
          flag: true
          none:
          empty: {}
        rungs.rung1.seeds:
        - 101
        - -2
    outs:
    - path: artifacts/records/rung1/d1-a/cpu-fp32/1.json
      hash: md5
      md5: '12345678901234567890123456789012'
      size: 3
"""
#: The same as the fast parser takes it: `none:` with nothing behind is left to YAML.
PLAIN = LOCK.replace(b"none:\n", b"none: null\n")


def test_the_locks_of_a_real_studys_rungs_are_read_by_the_fast_parser_and_say_what_yaml_says(smoke: Repo):
    found = sorted(smoke.root.glob("stages/ladder/**/dvc.lock"))
    assert len(found) == 3 * (3 + 1)
    for path in found:
        fast = lockfile._plain(path.read_bytes())
        assert fast is not None, f"{path} is not in DVC's plain form any more; does DVC write locks anew?"
        assert fast == YAML(typ="safe").load(path)


@given(st.lists(st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 3), st.binary(max_size=3)), max_size=4))
@example([(PLAIN.index(b"0.02"), 4, b"0x1f")])
@example([(PLAIN.index(b"0.02"), 4, b"1_0")])
@example([(PLAIN.index(b"0.02"), 4, b"010")])
@example([(PLAIN.index(b"SSSL"), 4, b"No")])
@example([(PLAIN.index(b"SSSL"), 4, b"~")])
@example([(PLAIN.index(b"SSSL"), 4, b"a\n            b")])
@example([(PLAIN.index(b"SSSL"), 4, b"a # b")])
@example([(PLAIN.index(b"0b01e"), 32, b"12345678901234567890123456789e12")])
@example([(PLAIN.index(b"0b01e"), 32, b"0b" + b"01" * 15)])
@settings(deadline=None, max_examples=300)
def test_what_the_fast_parser_accepts_is_what_yaml_says(edits):
    data = bytearray(PLAIN)
    for at, length, new in edits:
        data[at : at + length] = new
    fast = lockfile._plain(bytes(data))
    if fast is not None:
        slow = yamlio.loads(bytes(data), "dvc.lock")
        assert json.dumps(fast) == json.dumps(slow)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True), st.text(max_size=12), max_size=4))
@settings(deadline=None, max_examples=100)
def test_text_of_any_kind_that_dvc_writes_reads_back(params):
    import io

    value = {"schema": "2.0", "stages": {"s": {"cmd": "true", "params": {"params.yaml": params}}}}
    text = io.BytesIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.dump(value, text)
    try:
        expected = yamlio.loads(text.getvalue(), "dvc.lock")
    except yamlio.BadYaml:
        return
    assert parse(text.getvalue(), "dvc.lock")["s"].params == expected["stages"]["s"]["params"]


@pytest.mark.parametrize("key", ["size", "nfiles"])
@pytest.mark.parametrize(
    ("value", "valid"), [("0", True), ("'12'", False), ("1.5", False), ("true", False), ("[]", False)]
)
def test_a_size_is_a_whole_number(key, value, valid):
    data = f"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path: c\n      {key}: {value}\n".encode()
    if valid:
        (stage,) = parse(data, "x").values()
        assert getattr(stage.outs["c"], key) == int(value)
    else:
        with pytest.raises(BadLock, match=f"outs.0.{key}: found"):
            parse(data, "x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"schema: '1.0'\nstages: {}\n", "x: schema: found '1.0', expected '2.0'"),
        (b"schema: '2.0'\nstages:\n- a\n", "x: stages: found list, expected a mapping"),
        (b"schema: '2.0'\nmore: 1\n", "x: more: no such key, expected schema and stages"),
        (b"schema: '2.0'\nstages:\n  a: 1\n", "x: stages.a: expected a mapping with a `cmd`"),
        (
            b"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path: c\n      md5: d\n",
            "x: stages.a.outs.0.md5: found 'd', expected 32 hexadecimal digits",
        ),
        (
            b"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path: c\n    - path: c\n",
            "x: stages.a.outs.1.path: found 'c', expected a path, once",
        ),
        (
            b"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs:\n    - path: c\n      size: -1\n",
            "x: stages.a.outs.0.size: found -1, expected a number of bytes",
        ),
        (b"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    outs: c\n", "x: stages.a.outs: found str, expected a list"),
        (
            b"schema: '2.0'\nstages:\n  a:\n    cmd: b\n    deps:\n      c: d\n",
            "x: stages.a.deps: found dict, expected a list",
        ),
    ],
)
def test_a_lock_that_dvc_did_not_write_is_refused_by_name(data, message):
    with pytest.raises(BadLock) as caught:
        parse(data, "x")
    assert str(caught.value) == message


def test_a_key_that_stands_twice_is_refused():
    with pytest.raises(yamlio.BadYaml, match="stands twice in one mapping"):
        parse(LOCK.replace(b"    deps:", b"    cmd: python cheat.py\n    deps:"), "x")


def test_a_folders_digest_is_the_one_that_dvc_gives(smoke: Repo, tmp_path):
    for name in ("a/b.txt", "a-c/d.txt", "a.txt", "é.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    from dvc.repo import Repo as DvcRepo

    DvcRepo.init(str(tmp_path), no_scm=True).add(str(tmp_path / "data"))
    noted = YAML(typ="safe").load(tmp_path / "data.dvc")["outs"][0]["md5"]
    md5 = writer._md5(tmp_path / "data")[0]
    assert md5 == noted


def test_a_folders_digest_does_not_depend_on_the_order_of_its_files():
    files = [("b", "1" * 32), ("a/c", "2" * 32)]
    assert folder_md5(files) == folder_md5(reversed(files))


def test_the_stages_planned_for_a_study_are_those_that_dvc_recorded(smoke: Repo):
    study = parse_study(yamlio.loads((smoke.root / "params.yaml").read_bytes(), "params.yaml"), "params.yaml")
    planned = {"dvc.lock": root_stages(yamlio.read(smoke.root / "dvc.yaml", ""), "dvc.yaml")}
    for file in (file for rung in study.rungs for file in pipeline_files(study, rung)):
        templates = parse_templates(yamlio.read(smoke.root / file.path, ""), file.path)
        planned[file.lock] = fill_templates(templates, file.runs)
    for path, stages in planned.items():
        recorded = parse((smoke.root / path).read_bytes(), path)
        assert stages.keys() == recorded.keys()
        for name, stage in stages.items():
            assert stage.cmd == recorded[name].cmd
            assert set(stage.deps) == recorded[name].deps.keys()
            assert set(stage.outs) == recorded[name].outs.keys()
            params = {file: set(keys) for file, keys in recorded[name].params.items()}
            assert {file: set(keys) for file, keys in stage.params.items()} == params


def test_the_locks_written_for_synthetic_studies_are_those_of_the_real_dvc(tmp_path):
    writer.build(tmp_path / "study", 3)
    repo = Repo(tmp_path / "study")
    locks = sorted((repo.root / "stages/ladder/rung3").rglob("dvc.lock"))
    written = {lock: parse(lock.read_bytes(), "dvc.lock") for lock in locks}
    repo.dvc("init", "-q")
    for lock in locks:
        lock.unlink()
        repo.dvc("commit", "-q", "-f", lock.with_name("dvc.yaml").relative_to(repo.root).as_posix())
    assert {lock: parse(lock.read_bytes(), "dvc.lock") for lock in locks} == written
    assert any(name.startswith("floor@") for stages in written.values() for name in stages)


def test_a_lock_is_written_in_the_order_of_its_stages_and_one_without_any_is_no_file(tmp_path):
    path = tmp_path / "dvc.lock"
    head, stages = "schema: '2.0'\nstages:\n", {"b": "    cmd: b\n", "a": "    cmd: a\n", "gate": "    cmd: g\n"}
    lockfile.write(path, head, {})
    assert not path.exists() and lockfile.read(path) == ("", {})
    lockfile.write(path, head, stages)
    assert lockfile.read(path) == (head, stages)
    lockfile.put_in_order(path, ["a", "unknown", "gate"])
    assert list(lockfile.read(path)[1]) == ["a", "gate", "b"]
    lockfile.write(path, head, {})
    assert not path.exists()


def test_a_lock_of_exactly_the_limit_is_read_and_one_byte_more_is_refused(monkeypatch):
    stages = parse(LOCK, "dvc.lock")
    monkeypatch.setattr(lockfile, "MAX_BYTES", len(LOCK))
    assert parse(LOCK, "dvc.lock") == stages
    with pytest.raises(BadLock, match=f"{len(LOCK) + 1} bytes, expected at most {len(LOCK)}"):
        parse(LOCK + b"\n", "dvc.lock")


def test_a_lock_in_another_form_than_dvcs_has_a_limit_of_its_own(monkeypatch):
    plain = b"schema: '2.0'\nstages:\n  gate:\n    cmd: python -m stages.gate rung1\n"
    other = plain.replace(b"schema: '2.0'", b'"schema": "2.0"')
    assert parse(other, "dvc.lock") == parse(plain, "dvc.lock")
    monkeypatch.setattr(lockfile, "MAX_OTHER_FORM", len(plain) - 1)
    assert list(parse(plain, "dvc.lock")) == ["gate"]
    with pytest.raises(yamlio.BadYaml, match=f"{len(other)} bytes, expected at most {len(plain) - 1}"):
        parse(other, "dvc.lock")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("7", "stages.a: expected a mapping with a `cmd`"),
        ("{deps: []}", "stages.a: expected a mapping with a `cmd`"),
        ("{cmd: x, frozen: true, always: 1}", "stages.a.always: no such key, expected cmd, deps, params, outs"),
        ("{cmd: x, params: [1]}", "stages.a.params: expected keys by file"),
        ("{cmd: x, params: {f: 1}}", "stages.a.params: expected keys by file"),
        ("{cmd: x, deps: {}}", "stages.a.deps: found dict, expected a list"),
        ("{cmd: x, outs: [1]}", "stages.a.outs.0.path: found None, expected a path, once"),
        ("{cmd: x, outs: [{path: p}, {path: p}]}", "stages.a.outs.1.path: found 'p', expected a path, once"),
    ],
)
def test_a_stage_that_dvc_would_not_write_is_told_with_its_place(stage, message):
    with pytest.raises(BadLock) as error:
        parse(f"schema: '2.0'\nstages: {{a: {stage}}}\n".encode(), "dvc.lock")
    assert str(error.value) == f"dvc.lock: {message}"


def test_a_folded_command_is_one_line():
    text = "schema: '2.0'\nstages:\n  a:\n    cmd: python -m stages.run\n      rung1 d1-a\n      cpu-fp32 1\n    outs:\n    - path: x\n"
    assert lockfile._plain(text.encode()) == yamlio.loads(text.encode(), "dvc.lock")
    assert parse(text.encode(), "dvc.lock")["a"].cmd == "python -m stages.run rung1 d1-a cpu-fp32 1"
    assert lockfile._plain(text.replace("    outs", "   outs").encode()) is None


def test_an_empty_line_inside_a_quoted_command_is_left_to_yaml():
    text = "schema: '2.0'\nstages:\n  a:\n    cmd: 'x\n       \n      y'\n"
    assert lockfile._plain(text.encode()) is None
    assert parse(text.encode(), "dvc.lock")["a"].cmd == "x\ny"


def test_a_stage_is_read_with_all_that_dvc_recorded_and_what_stands_alike_is_one_object():
    more = PLAIN.decode().partition("stages:\n")[2].replace("-1:", "-2:").replace("fp32 1\n", "fp32 2\n")
    text = PLAIN + more.encode()
    assert lockfile._plain(text) == YAML(typ="safe").load(text)
    first, second = parse(text, "dvc.lock").values()
    record = "artifacts/records/rung1/d1-a/cpu-fp32/1.json"
    door = "artifacts/protocol/rung1.json"
    knobs = {
        "depth": 1, "matrix_lr": 0.02, "embedding_lr": 1e-05, "window": "SSSL", "flag": True, "none": None, "empty": {},
    }  # fmt: skip
    assert first == LockedStage(
        "python -m stages.run rung1 d1-a cpu-fp32 1",
        {door: LockedFile(door, "0b01e155b7da0ed7379138b289165028", 1084, None, 0)},
        {record: LockedFile(record, "12345678901234567890123456789012", 3, None, 0)},
        {"params.yaml": {"configs.d1-a": knobs, "rungs.rung1.seeds": [101, -2]}},
    )
    assert second.cmd.endswith(" 2")
    assert (second.deps is first.deps, second.outs is first.outs, second.params == first.params) == (True, True, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("a: text of words", {"a": "text of words"}),
        ("a: Nan", None),
        ("a: yes", None),
        ("a: 00ff00ff00ff00ff00ff00ff00ff00ff.dir", {"a": "00ff00ff00ff00ff00ff00ff00ff00ff.dir"}),
        ("a: 12", {"a": 12}),
        ("a: 012", None),
        ("a: false", {"a": False}),
        ("a: null", {"a": None}),
        ("a: -0.5", {"a": -0.5}),
        ("a: 1e-05", {"a": 1e-05}),
        ("a: -1.5e+16", {"a": -1.5e16}),
        ("a: 1e5", None),
        ("a: 'x: y'", {"a": "x: y"}),
        ("a: 'it''s'", None),
        ("a: []", {"a": []}),
        ("a: {b: 1}", None),
        ("a:\n  b: 1\nc: 2", {"a": {"b": 1}, "c": 2}),
        ("a:\n  x:\n  - 1\n  - 2\n  b: 2", {"a": {"x": [1, 2], "b": 2}}),
        ("a:\n  x:\n    - 1\n  b: 2", {"a": {"x": [1], "b": 2}}),
        ("a:\n  - b: 1\n    c: 2\n  - b: 3", {"a": [{"b": 1, "c": 2}, {"b": 3}]}),
        ("a: x\n  y\nb: 1", {"a": "x y", "b": 1}),
        ("a:\nb: 1", None),
        ("a: x\nb", None),
        ("  a: x\n  b", None),
        ("a: x\n  - b", None),
        ("a: x\n  b: c", None),
        ("a: 1\na: 2", None),
        ("no: 1", None),
        ("- a", None),
        ("a: 1\n- b", None),
        ("a: 1\n\nb: 2", None),
        ("a:\n-\n", None),
        ("a: \u00e9", None),
    ],
)
def test_the_fast_parser_reads_this_and_leaves_that_to_yaml(text, value):
    data = f"{text}\n".encode() if text else b""
    assert repr(lockfile._plain(data)) == repr(value)
    if value:
        assert yamlio.loads(data, "x") == value
        assert lockfile._plain(data.removesuffix(b"\n")) is None


def item(**fields: object) -> bytes:
    return json.dumps({"schema": "2.0", "stages": {"a": {"cmd": "x", "outs": [{"path": "p", **fields}]}}}).encode()


def test_an_output_may_have_each_key_that_dvc_writes_and_any_may_be_without_a_value():
    whole = item(hash="md5", md5="0" * 32 + ".dir", size=0, nfiles=0, isexec=True)
    assert parse(whole, "x")["a"].outs == {"p": LockedFile("p", "0" * 32 + ".dir", 0, 0, 0)}
    assert parse(item(hash=None, md5=None, size=None), "x")["a"].outs == {"p": LockedFile("p", None, None, None, 0)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"more": 1}, "more: no such key, expected path, hash, md5, size, nfiles, isexec"),
        ({"zzz": 1, "etag": 1}, "etag: no such key, expected path, hash, md5, size, nfiles, isexec"),
        ({"hash": "sha256"}, "hash: found 'sha256', expected 'md5'"),
        ({"md5": 5}, "md5: found 5, expected 32 hexadecimal digits"),
        ({"md5": "0" * 31}, f"md5: found '{'0' * 31}', expected 32 hexadecimal digits"),
        ({"size": False}, "size: found False, expected a number of bytes"),
        ({"nfiles": -1}, "nfiles: found -1, expected a number of files"),
    ],
)
def test_what_dvc_does_not_record_of_an_output_is_told_with_its_place(fields, message):
    with pytest.raises(BadLock) as caught:
        parse(item(**fields), "x")
    assert str(caught.value) == f"x: stages.a.outs.0.{message}"


def test_a_lock_with_an_alias_is_refused():
    text = b"schema: '2.0'\nstages:\n  a: &a {cmd: x}\n  b: *a\n"
    with pytest.raises(yamlio.BadYaml):
        parse(text, "dvc.lock")


def test_a_lock_with_a_merge_conflict_is_neither_read_nor_taken_away(tmp_path):
    path = tmp_path / "dvc.lock"
    path.write_bytes(b"<<<<<<< a\nschema: '2.0'\n=======\n>>>>>>> b\n")
    for act in (lambda: lockfile.read(path), lambda: lockfile.write(path, "", {})):
        with pytest.raises(Invalid, match="dvc.lock, line 1: found a merge conflict"):
            act()
    assert path.exists()


def test_a_lock_that_is_in_order_is_not_written(tmp_path, monkeypatch):
    path = tmp_path / "dvc.lock"
    lockfile.write(path, "schema: '2.0'\nstages:\n", {"b": "    cmd: b\n", "a": "    cmd: a\n"})
    monkeypatch.setattr(lockfile, "write", lambda *_: pytest.fail("written"))
    lockfile.put_in_order(path, ["b"])
    lockfile.put_in_order(path, ["c", "b", "a"])
