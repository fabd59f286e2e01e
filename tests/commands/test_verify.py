"""`promotion verify` and `promotion attest`: which verification is asked for by which words, and what is written of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import verify as front_door
from stages.cli import build_parser
from stages.commands import attest, verify
from stages.domain.errors import Refused
from stages.verify import BadAttestation, BadSignature, Options


class Piece(SimpleNamespace):
    """A stand-in that is written as its name."""

    def to_json(self) -> Any:
        return {"name": self.name} if isinstance(self.name, str) else self.name


def report(name: str, status: int = 0) -> Any:
    return Piece(name=name, exit_status=status)


def steps(*statuses: int) -> list[Any]:
    return [Piece(name=f"step{n}", commit=f"c{n}", report=report(f"r{n}", status)) for n, status in enumerate(statuses)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of verification, and what is printed of it; every part is a stand-in."""
    calls: list[Any] = []

    def note(name: str, value: Any = None) -> Any:
        return lambda *words: calls.append((name, *words)) or value

    parts = {
        "verify": report("whole", 1),
        "verify_history": steps(0, 0),
        "verify_range": steps(0, 1, 0),
        "verify_push": steps(0),
        "decisions_changed_since": [Piece(name="changed")],
        "range_base": "base",
        "required_checks": frozenset({"V01"}),
        "junit": b"<junit/>\n",
        "markdown": "# Verified\n",
    }
    for name, value in parts.items():
        monkeypatch.setattr(front_door, name, note(name, value))
    for name in ("print_report", "print_changed_decisions", "print_history"):
        monkeypatch.setattr(front_door, name, note(name))
    return calls


OPTIONS = Options(None, None, frozenset({"V01"}))
HERE = Path()


def run(*words: str) -> int:
    return verify.run(build_parser("verify").parse_args(["verify", *words]))


def named(calls: list[Any]) -> list[str]:
    return [call[0] for call in calls]


def test_a_workspace_or_a_commit_is_verified_and_printed(calls: list[Any], capsys) -> None:
    assert run() == 1
    whole = calls[1]
    assert whole == ("verify", HERE, None, OPTIONS)
    assert named(calls) == ["required_checks", "verify", "print_report"]
    calls.clear()
    words = ["--rev", "abc", "--depth", "git", "--signers", "keys", "--require", "V01", "--repo", "x", "--against", "b"]
    assert run(*words) == 1
    assert calls[:2] == [
        ("required_checks", "V01"),
        ("verify", Path("x"), "abc", Options("git", Path("keys"), frozenset({"V01"}))),
    ]
    assert calls[2] == ("decisions_changed_since", Path("x"), "b", "abc")
    assert named(calls)[3:] == ["print_report", "print_changed_decisions"]
    assert calls[4][2] == "b"
    assert capsys.readouterr().out == "\n"


def test_the_report_as_json_alone_goes_to_stdout(calls: list[Any], capsys) -> None:
    assert run("--json", "--against", "b") == 1
    assert "print_report" not in named(calls)
    assert capsys.readouterr().out == (
        '{\n "decisions_changed": [\n  {\n   "name": "changed"\n  }\n ],\n "history": null,\n "name": "whole"\n}\n'
    )


def test_the_report_as_json_is_ascii(calls: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(front_door, "verify", lambda *words: report("é"))
    assert run("--json", str(tmp_path / "a.json")) == 0
    assert rb'"name": "\u00e9"' in (tmp_path / "a.json").read_bytes()


def test_every_format_is_written_into_its_file(calls: list[Any], tmp_path: Path, capsys) -> None:
    files = [str(tmp_path / name) for name in ("a.json", "b.xml", "c.md")]
    assert run("--history", "--json", files[0], "--junit", files[1], "--markdown", files[2]) == 0
    value = json.loads(Path(files[0]).read_bytes())
    assert value == {"name": "r1", "decisions_changed": [], "history": [{"name": "step0"}, {"name": "step1"}]}
    assert (Path(files[1]).read_bytes(), Path(files[2]).read_bytes()) == (b"<junit/>\n", b"# Verified\n")
    junit, markdown = (next(call for call in calls if call[0] == name) for name in ("junit", "markdown"))
    assert [part.name for part in junit[1]] == ["r0", "r1"]
    assert (markdown[1].name, markdown[2], [step.name for step in markdown[3]]) == ("r1", [], ["step0", "step1"])
    assert "print_history" in named(calls) and "print_report" not in named(calls)
    calls.clear()
    run("--junit", files[1], "--markdown", files[2])
    junit, markdown = (next(call for call in calls if call[0] == name) for name in ("junit", "markdown"))
    assert [part.name for part in junit[1]] == ["whole"]
    assert markdown[3] == []


def test_of_a_range_the_last_commit_that_fails_is_reported_in_full(calls: list[Any], capsys) -> None:
    assert run("--range", "a..b", "--known", "main") == 1
    assert calls[1:] == [
        ("verify_range", HERE, "a..b", OPTIONS, ["main"]),
        ("range_base", HERE, "a..b", ["main"]),
        ("decisions_changed_since", HERE, "base", "c2"),
        ("print_history", calls[4][1]),
        ("print_report", calls[5][1]),
    ]
    assert (calls[5][1].name, capsys.readouterr().out) == ("r1", "\n")


def test_a_range_without_a_base_changed_no_decision(calls: list[Any], monkeypatch) -> None:
    monkeypatch.setattr(front_door, "range_base", lambda *words: None)
    monkeypatch.setattr(front_door, "verify_range", lambda *words: steps(0, 0))
    assert run("--range", "a..b") == 0
    assert named(calls) == ["required_checks", "print_history"]


@pytest.mark.parametrize(
    ("ends", "range_"),
    [(("a", "b"), "a..b"), (("", "b"), "..b"), (("a", ""), "..HEAD"), (("", ""), "..HEAD")],
)
def test_what_is_about_to_be_pushed_is_a_range(calls: list[Any], monkeypatch, ends: Any, range_: str) -> None:
    for side, value in zip(("FROM", "TO"), ends, strict=True):
        monkeypatch.setenv(f"PRE_COMMIT_{side}_REF", value)
    run("--pushed")
    assert calls[1] == ("verify_range", HERE, range_, OPTIONS, [])


def test_without_pre_commit_all_up_to_head_is_pushed(calls: list[Any], monkeypatch) -> None:
    for side in ("FROM", "TO"):
        monkeypatch.delenv(f"PRE_COMMIT_{side}_REF", raising=False)
    run("--pushed")
    assert calls[1][2] == "..HEAD"


def test_every_branch_of_a_push_is_verified(calls: list[Any], monkeypatch, capsys) -> None:
    text = "old1 new1 refs/heads/a\n\nnothing here\nold2 new2 refs/heads/b c\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run("--received") == 0
    assert calls[1:3] == [
        ("verify_push", HERE, "old1", "new1", OPTIONS),
        ("verify_push", HERE, "old2", "new2", OPTIONS),
    ]
    assert [step.name for step in calls[3][1]] == ["step0", "step0"]
    monkeypatch.setattr("sys.stdin", io.StringIO("nothing\n"))
    capsys.readouterr()
    assert run("--received") == 0
    assert capsys.readouterr().out == "nothing that comes in belongs to a study\n"


def test_words_that_do_not_go_together_are_refused(calls: list[Any], tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"^--known goes with --range$"):
        run("--known", "main")
    with pytest.raises(Refused, match=r"^--junit .+: found a folder, expected the name of a file to write$"):
        run("--junit", str(tmp_path))
    assert "verify" not in named(calls)


@pytest.mark.parametrize(
    ("data", "broken"),
    [
        (b"{", True), (b"[]", True), (b"", True), (b"[" * 100_000, True), (b"\xff", True),
        (b"{}", False), (None, False), (b" " * (1 << 20), True), (b" " * ((1 << 20) + 1), False),
    ],
)  # fmt: skip
def test_an_rwlock_that_is_no_mapping_is_named_beside_a_verified_workspace(
    data: bytes | None, broken: bool, calls: list[Any], tmp_path: Path, capsys
) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    if data is not None:
        path.write_bytes(data)
    message = "left half-written by a killed process, so that DVC refuses to start; `promotion heal` removes it"
    assert run("--repo", str(tmp_path)) == 1
    assert capsys.readouterr().err == f"{path.as_posix()}: {message}\n" * broken
    run("--repo", str(tmp_path), "--rev", "HEAD")
    assert capsys.readouterr().err == ""


def test_an_rwlock_that_cannot_be_read_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "denied")

    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    monkeypatch.setattr(Path, "read_bytes", fail)
    verify._name_broken_rwlock(tmp_path)
    assert capsys.readouterr().err == ""


def test_what_is_written_is_not_told_again_and_nothing_else_is_written(
    calls: list[Any], tmp_path: Path, capsys
) -> None:
    out = tmp_path / "report.json"
    assert run("--json", str(out), "--against", "b") == 1
    assert named(calls)[-2:] == ["print_report", "print_changed_decisions"]
    assert json.loads(out.read_bytes()) == {
        "name": "whole",
        "decisions_changed": [{"name": "changed"}],
        "history": None,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    capsys.readouterr()
    assert run("--range", "a..b", "--json") == 1
    assert not {"print_history", "print_report"} & {*named(calls)[4:]}
    assert json.loads(capsys.readouterr().out)["decisions_changed"] == [{"name": "changed"}]


# Statements


def attest_words(*words: str) -> int:
    return attest.run(build_parser("attest").parse_args(["attest", *words]))


@pytest.mark.parametrize("words", [["gate1"], ["--out", "x"], []])
def test_a_statement_needs_a_gate_and_a_place(words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        attest_words(*words)
    message = "usage: promotion attest GATE --out FILE, or promotion attest --check FILE"
    assert str(caught.value) == message


@pytest.mark.parametrize("words", [["gate1"], ["--out", "x"], ["--sign", "k"]])
def test_checking_goes_with_signers_and_a_commit_alone(words: list[str]) -> None:
    with pytest.raises(Refused, match=r"^--check goes with --signers and --rev alone$"):
        attest_words(*words, "--check", "x")


def test_a_statement_is_written_and_its_notes_are_told(monkeypatch, tmp_path: Path, capsys) -> None:
    statement = {"subject": [{"name": "a"}, {"name": "b"}], "predicate": {"materials": [1, 2, 3]}}
    made = SimpleNamespace(statement=statement, notes=("weights are not here",))
    calls: list[Any] = []
    monkeypatch.setattr(front_door, "attest_decision", lambda *words: calls.append(words) or made)
    monkeypatch.setattr(front_door, "dump_statement", lambda *words: calls.append(words) or b"{}\n")
    out = tmp_path / "gate1.json"
    assert attest_words("gate1", "--out", str(out), "--sign", "key", "--rev", "abc") == 0
    assert calls == [(HERE, "abc", "gate1"), (statement, Path("key"))]
    assert out.read_bytes() == b"{}\n"
    assert capsys.readouterr().out == f"{out}: a, b; 3 materials\nnote: weights are not here\n"


@pytest.mark.parametrize(
    ("signed", "signer", "lines"),
    [
        (False, None, ["holds: s.json says what 0123456789ab says; not signed", "note: n"]),
        (True, "alice", ["holds: s.json says what 0123456789ab says; signed by alice", "note: n"]),
        (True, None, [
            "holds: s.json says what 0123456789ab says; not signed", "note: n",
            "note: it carries a signature that was not checked; name who may sign with --signers FILE",
        ]),
    ],
)  # fmt: skip
def test_a_statement_that_holds_is_told_with_its_signer(signed, signer, lines, monkeypatch, tmp_path, capsys) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b"{}")
    calls: list[Any] = []
    checked = SimpleNamespace(commit="0123456789abcdef", signed=signed, signer=signer, notes=("n",))
    monkeypatch.setattr(front_door, "check_attestation", lambda *words: calls.append(words) or checked)
    assert attest_words("--check", str(path), "--signers", "keys") == 0
    assert calls == [(b"{}", "s.json", HERE, "HEAD", Path("keys"))]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize("error", [BadAttestation, BadSignature])
def test_a_statement_that_does_not_hold_ends_with_1(error: Any, monkeypatch, tmp_path: Path, capsys) -> None:
    path = tmp_path / "s.json"
    message = f"--check {path}: no such file; `promotion attest GATE --out FILE` writes one"
    with pytest.raises(Refused) as caught:
        attest_words("--check", str(path))
    assert str(caught.value) == message
    path.write_bytes(b"{}")

    def fail(*words: Any) -> Any:
        raise error("forged")

    monkeypatch.setattr(front_door, "check_attestation", fail)
    assert attest_words("--check", str(path)) == 1
    assert capsys.readouterr() == ("", "does not hold: forged\n")
