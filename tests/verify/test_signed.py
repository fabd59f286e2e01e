"""Signatures without ssh-keygen: what it is asked, what its answers come to, and which objects of git are signed."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.repo.git import MAX_COMMIT
from stages.verify import signatures
from stages.verify.check import Case, Options, Problem, Skip
from stages.verify.locks import Locks
from stages.verify.signatures import AllowedSigner, BadSignature, SignedObject, Signer
from tests.verify.cases import alter
from tests.verify.test_past import FIRST, SECOND, THIRD

KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + b"k" * 32).decode()


def message(call: Callable[[], object]) -> str:
    with pytest.raises(BadSignature) as error:
        call()
    return str(error.value)


# Lines of the allowed signers


@pytest.mark.parametrize(
    ("text", "patterns", "matches"),
    [
        ("git", "git", True),
        ("git", "g?t", True),
        ("git", "other,g*", True),
        ("git", "other", False),
        ("git", "*,!git", False),
        ("git", "!other", False),
        ("git", "!other,git", True),
        ("git", "", False),
        ("a[b]", "a[b]", True),
        ("ab", "a[b]", False),
    ],
)
def test_a_purpose_is_in_a_list_of_patterns_as_openssh_reads_it(text, patterns, matches):
    assert signatures._matches(text, patterns) is matches


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "may"),
    [
        ({}, True),
        ({"namespaces": "git"}, True),
        ({"namespaces": "other"}, False),
        ({"cert-authority": ""}, False),
        ({"cert-authority": "", "namespaces": "git"}, False),
        ({"valid-after": "202601021200Z"}, True),
        ({"valid-after": "202601021201Z"}, False),
        ({"valid-before": "202601021200Z"}, True),
        ({"valid-before": "202601021159Z"}, False),
        ({"valid-after": "20260101Z", "valid-before": "20260103Z"}, True),
        ({"valid-after": "20260101Z", "valid-before": "20260102Z"}, False),
        ({"valid-after": "20260103Z", "valid-before": "20260104Z"}, False),
    ],
)
def test_a_key_may_sign_for_its_purposes_in_its_time(options, may):
    assert AllowedSigner("a", options, KEY, "").may("git", NOON) is may


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("cert-authority", {"cert-authority": ""}),
        ('NAMESPACES="a"', {"namespaces": "a"}),
        ('namespaces="a\\"b",valid-before="1"', {"namespaces": 'a"b', "valid-before": "1"}),
        ("cert-authority,cert-authority", {"cert-authority": ""}),
        ('namespaces="a",namespaces="b"', None),
        ('namespaces="a";valid-before="1"', None),
        ('namespaces="a",', None),
        ('namespaces="a",other', None),
        ("other", None),
        ("", {}),
    ],
)
def test_options_are_read_as_openssh_reads_them(text, options):
    assert signatures._parse_options(text) == options


def blob(*parts: bytes) -> str:
    return base64.b64encode(b"".join(parts)).decode()


@pytest.mark.parametrize(
    ("text", "is_key"),
    [
        (KEY, True),
        ("ssh-rsa " + KEY.partition(" ")[2], False),
        ("abc " + blob(b"\0\0\0\3abcx"), True),
        ("abc " + blob(b"\0\0\0\3abc"), False),
        ("abc " + blob(b"\0\0\0\2abcx"), False),
        ("abc !!!!", False),
        ("abc", False),
        ("", False),
    ],
)
def test_a_key_says_its_own_kind_and_something_more(text, is_key):
    assert signatures._is_key(text) is is_key


@pytest.mark.parametrize(
    ("line", "names", "options"),
    [
        (f"a {KEY}", "a", {}),
        (f'"a b" {KEY} words', "a b", {}),
        (f'a"b c" {KEY}', "ab c", {}),
        (f" \ta {KEY}", "a", {}),
        (f'a namespaces="x" {KEY}', "a", {"namespaces": "x"}),
        (f'a valid-after="20200101Z",valid-before="20200102Z" {KEY}', "a", {"valid-after": "20200101Z", "valid-before": "20200102Z"}),
        (f'a valid-after="20200102Z",valid-before="20200102Z" {KEY}', None, {}),
        (f'a valid-after="2020" {KEY}', None, {}),
        (f'a valid-before="2020" {KEY}', None, {}),
        (f"a other {KEY}", None, {}),
        (f"# a {KEY}", None, {}),
        ("a", None, {}),
        (f"a namespaces=\"x\"\0{KEY}", None, {}),
        ("", None, {}),
    ],
)  # fmt: skip
def test_a_line_names_somebody_with_a_key_or_is_left_out(line, names, options):
    expected = None if names is None else AllowedSigner(names, options, KEY, line)
    assert signatures._parse_signer(line) == expected


# What ssh-keygen is asked


def test_ssh_keygen_is_given_bytes_and_what_it_says_is_told(monkeypatch):
    asked: list[Any] = []
    answers = [(0, b" out \n", b"err"), (1, b"out", b"err\n"), (1, b"out\n", b""), (0, b"\xff", b"")]

    def run(command: list[str], **given: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append((command, given))
        code, out, err = answers[len(asked) - 1]
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(signatures.subprocess, "run", run)
    reported = [signatures._keygen("-Y", "sign", stdin=b"data") for _ in answers]
    assert reported == [(0, "out"), (1, "err"), (1, "out"), (0, "\udcff")]
    assert asked[0] == (["ssh-keygen", "-Y", "sign"], {"input": b"data", "capture_output": True, "check": False})
    assert signatures.printable("a\udcff") == "a\ufffd"


def test_a_signature_is_what_ssh_keygen_prints_or_it_says_why_not(tmp_path, monkeypatch):
    key = tmp_path / "key"
    key.write_bytes(b"")
    asked: list[Any] = []
    answer = [(0, "the signature, no passphrase")]

    def keygen(*words: str, stdin: bytes) -> tuple[int, str]:
        asked.append((words, stdin))
        return answer[0]

    monkeypatch.setattr(signatures, "_keygen", keygen)
    assert signatures.make_signature(b"data", key) == b"the signature, no passphrase\n"
    assert asked == [(("-Y", "sign", "-f", str(key), "-n", "staged-promotion-lock"), b"data")]
    answer[0] = (1, "incorrect passphrase supplied")
    assert message(lambda: signatures.make_signature(b"", key)) == (
        f"{key}: this key has a passphrase, which no agent knows and nobody could be asked for; "
        f"`ssh-add {key}` (after `eval $(ssh-agent)`), then the same command again"
    )
    answer[0] = (1, "invalid format")
    assert (
        message(lambda: signatures.make_signature(b"", key)) == f"ssh-keygen would not sign with {key}: invalid format"
    )
    answer[0] = (0, "sig")
    (tmp_path / "lock").write_bytes(b"rules")
    assert signatures.sign(tmp_path / "lock", key, "other") == tmp_path / "lock.sig"
    assert (tmp_path / "lock.sig").read_bytes() == b"sig\n"
    assert asked[-1] == (("-Y", "sign", "-f", str(key), "-n", "other"), b"rules")


class Keygen:
    """ssh-keygen as far as it verifies: the first line that is left names who it is; `good` may sign."""

    def __init__(self, *good: str, find: tuple[int, str] | None = None) -> None:
        self.good, self.find = good, find
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, *words: str, stdin: bytes) -> tuple[int, str]:
        place = words.index("-f") + 1
        lines = Path(words[place]).read_bytes().splitlines()
        given = [
            word for word in words[1:] if word not in ("-f", "-s") and Path(word).name not in ("allowed", "lock.sig")
        ]
        self.asked.append((*given, stdin.decode()))
        if words[1] == "find-principals":
            if self.find is not None and (lines or not self.find[1]):
                return self.find
            return (0, lines[0].decode().partition(" ")[0] + "\nmore") if lines else (255, "no\nNo principal matched")
        name = words[words.index("-I") + 1]
        if name in self.good:
            return 0, f'Good "x" signature for {name} with ED25519 key SHA256:abc'
        return (0, "neither good nor bad") if name == "odd" else (255, f"first\nnot by {name}")


def allowed(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "allowed"
    path.write_text("".join(f"{name} {KEY}\n" for name in names), encoding="ascii")
    return path


def verified(monkeypatch: pytest.MonkeyPatch, keygen: Keygen, path: Path, **given: Any) -> Signer:
    monkeypatch.setattr(signatures, "_keygen", keygen)
    return signatures.verify_signature(b"data", b"sig", path, **given)


def test_the_first_line_that_lets_its_key_sign_says_who_signed(tmp_path, monkeypatch):
    keygen = Keygen("c")
    signer = verified(monkeypatch, keygen, allowed(tmp_path, "a", "b,c", "d"), seconds=0)
    assert signer == Signer("c", "SHA256:abc")
    clock = f"-Overify-time={signatures._clock(0)}"
    find = ("find-principals", clock, "")

    def verify(name: str) -> tuple[str, ...]:
        return ("verify", clock, "-I", name, "-n", "staged-promotion-lock", "data")

    assert keygen.asked == [find, verify("a"), find, verify("b,c"), verify("b"), verify("c")]
    keygen = Keygen("a")
    assert verified(monkeypatch, keygen, allowed(tmp_path, "a"), namespace="git") == Signer("a", "SHA256:abc")
    assert keygen.asked == [("find-principals", ""), ("verify", "-I", "a", "-n", "git", "data")]


def test_a_signature_that_nobody_may_have_made_says_why(tmp_path, monkeypatch):
    path = allowed(tmp_path, "a", "b")
    assert message(lambda: verified(monkeypatch, Keygen(), path)) == "it does not hold for b: not by b"
    assert message(lambda: verified(monkeypatch, Keygen(), allowed(tmp_path, "odd"))) == (
        "it does not hold for odd: neither good nor bad"
    )
    for find, why in (
        ((255, "first\nNo principal matched"), "No principal matched"),
        ((0, ""), "ssh-keygen gave no reason"),
        ((1, "a"), "a"),
    ):
        text = message(lambda find=find: verified(monkeypatch, Keygen("a", find=find), path))
        assert text == f"its key is not among allowed: {why}"
    # a name that stands in no line ends the search
    keygen = Keygen(find=(0, "nobody"))
    assert message(lambda: verified(monkeypatch, keygen, path)) == "it does not hold for nobody: not by nobody"
    assert [words[0] for words in keygen.asked] == ["find-principals", "verify", "find-principals"]


def test_a_signature_is_read_up_to_its_limit(tmp_path, monkeypatch):
    path = allowed(tmp_path, "a")
    monkeypatch.setattr(signatures, "_keygen", Keygen("a"))
    assert signatures.verify_signature(b"", b"x" * (64 << 10), path).principal == "a"
    text = message(lambda: signatures.verify_signature(b"", b"x" * ((64 << 10) + 1), path))
    assert text == "a signature of 65537 bytes, expected at most 65536"


# V24


def signing(judged: Case, **files: bytes | None) -> Case:
    sides = {f"locks/{gate}.yaml.sig": data for gate, data in files.items()}
    return alter(judged, options=Options("git", Path("allowed")), files=sides)


def test_each_lock_is_signed_or_told(judged, monkeypatch):
    seen: list[tuple[bytes, bytes, Path]] = []

    def verify(data: bytes, signature: bytes, signers: Path) -> Signer:
        seen.append((data, signature, signers))
        if signature == b"bad":
            raise BadSignature("it is bad")
        return Signer("alice", "SHA256:abc")

    monkeypatch.setattr(signatures, "verify_signature", verify)
    gates = list(judged.get(Locks).by_gate)
    case = signing(judged, **dict.fromkeys(gates, b"good"))
    assert list(signatures.check_lock_signatures(case)) == []
    assert case.notes == [f"{gate} signed by alice (SHA256:abc)" for gate in gates]
    assert seen == [(judged.tree.read(f"locks/{gate}.yaml"), b"good", Path("allowed")) for gate in gates]
    case = signing(judged, gate1=b"good", gate2=b"bad")
    assert list(signatures.check_lock_signatures(case)) == [
        Problem("locks/gate2.yaml.sig", "it is bad", "a signature by an allowed signer", "nobody stands for gate2"),
        *(
            Problem(
                f"locks/{gate}.yaml.sig",
                "no file",
                f"a signature; `promotion freeze {gate} --sign KEY` writes it",
                f"nobody stands for the rule of {gate}",
            )
            for gate in gates[2:]
        ),
    ]
    assert case.notes == ["gate1 signed by alice (SHA256:abc)"]


# V25


def signed(title: str, signature: bytes = b"-----BEGIN SSH SIGNATURE-----x") -> SignedObject:
    return SignedObject(title, title.encode(), signature, 7)


def commits(
    judged: Case,
    monkeypatch: pytest.MonkeyPatch,
    *objects: SignedObject,
    tags: tuple[SignedObject, ...] = (),
    **fields: Any,
) -> tuple[list[Problem], list[str], str]:
    """The problems and notes of V25, and why it was skipped."""
    monkeypatch.setattr(signatures, "_commits", lambda git, head: list(objects))
    monkeypatch.setattr(signatures, "_tags", lambda git, head: list(tags))

    def verify(data: bytes, signature: bytes, signers: Path, namespace: str, seconds: int) -> Signer:
        assert (signers, namespace, seconds) == (Path("allowed"), "git", 7)
        if signature.endswith(b"bad"):
            raise BadSignature("it is bad")
        return Signer(signature[-5:].decode(), "SHA256:abc")

    monkeypatch.setattr(signatures, "verify_signature", verify)
    case = alter(judged, options=Options("git", Path("allowed")), **fields)
    problems: list[Problem] = []
    try:
        problems.extend(signatures.check_commit_signatures(case))
    except Skip as skip:
        return problems, case.notes, skip.reason
    return problems, case.notes, ""


SSH = b"-----BEGIN SSH SIGNATURE-----"


def test_who_signed_commits_and_tags_is_noted_and_who_did_not_is_counted(judged, monkeypatch):
    alice, clara = SSH + b"alice", SSH + b"clara"
    objects = [signed("commit 1", alice), signed("commit 2", b""), signed("commit 3", clara), signed("commit 4", b"")]
    tags = (signed("tag v1", alice), signed("tag v2", b""), signed("tag v3", b"-----BEGIN PGP"))
    assert commits(judged, monkeypatch, *objects, tags=tags) == (
        [],
        [
            "1 signed by other means than SSH, of which the file of allowed signers says nothing",
            "commit 1, tag v1 signed by alice (SHA256:abc)",
            "commit 3 signed by clara (SHA256:abc)",
            "2 commits that touched locks/ are not signed",
        ],
        "",
    )
    assert commits(judged, monkeypatch, signed("commit 1", alice)) == (
        [],
        ["commit 1 signed by alice (SHA256:abc)"],
        "",
    )


def test_a_forged_signature_is_told_by_its_object_and_none_at_all_is_skipped(judged, monkeypatch):
    bad = signed("commit 1", SSH + b"bad")
    reported = Problem(
        "commit 1", "it is bad", "a signature by an allowed signer", "somebody else froze it or vouches for it"
    )
    none = "none of the 0 commits that touched locks/ is signed by SSH"
    assert commits(judged, monkeypatch, bad) == ([reported], [], none)
    other = (signed("commit 2", b"-----BEGIN PGP"), signed("commit 3", b""), signed("commit 4", b""))
    note = "1 signed by other means than SSH, of which the file of allowed signers says nothing"
    assert commits(judged, monkeypatch, *other) == ([], [note], none.replace("0", "3"))


def test_what_a_shallow_clone_hides_of_signatures_is_noted(judged, monkeypatch):
    monkeypatch.setattr(Case, "refuse_hidden", lambda case: case.note("the rest is hidden"))
    git = SimpleNamespace(head=FIRST, shallow=frozenset({FIRST}))
    good = signed("commit 1", SSH + b"alice")
    _, notes, _ = commits(judged, monkeypatch, good, git=git, commit=SECOND)
    assert notes == [
        "a shallow clone: what came before its oldest commits is hidden; `git fetch --unshallow`",
        "commit 1 signed by alice (SHA256:abc)",
        "the rest is hidden",
    ]


class Repository:
    """Commits by id: their parents, the id of their locks/, and what they say."""

    def __init__(self, commits: dict[str, tuple[tuple[str, ...], str | None]], shallow: tuple[str, ...] = ()) -> None:
        self._commits, self.shallow = commits, frozenset(shallow)

    def ancestry(self, head: str) -> dict[str, Any]:
        return {oid: SimpleNamespace(parents=parents, seconds=len(oid)) for oid, (parents, _) in self._commits.items()}

    def read(self, oid: str, kind: str, most: int) -> bytes:
        assert (kind, most) == ("commit", MAX_COMMIT)
        return f"tree {oid}\n\nwords".encode()

    def entry(self, commit: str, path: str) -> str | None:
        assert path == "locks"
        return self._commits[commit][1]


@pytest.mark.parametrize(
    ("history", "shallow", "touched"),
    [
        ({FIRST: ((), "a")}, (), [FIRST]),
        ({FIRST: ((), None)}, (), []),
        ({FIRST: ((), None), SECOND: ((FIRST,), "a")}, (), [SECOND]),
        ({FIRST: ((), "a"), SECOND: ((FIRST,), "a")}, (), [FIRST]),
        ({FIRST: ((), "a"), SECOND: ((FIRST,), None)}, (), [FIRST, SECOND]),
        ({FIRST: ((), "a"), SECOND: ((), "b"), THIRD: ((FIRST, SECOND), "a")}, (), [FIRST, SECOND, THIRD]),
        ({FIRST: ((), "a"), SECOND: ((), "a"), THIRD: ((FIRST, SECOND), "a")}, (), [FIRST, SECOND]),
        ({FIRST: ((), "a")}, (FIRST,), [FIRST]),
        ({SECOND: ((FIRST,), "a"), THIRD: ((SECOND,), "b")}, (SECOND,), [THIRD]),
    ],
)
def test_the_commits_that_touched_locks_are_those_with_another_folder_than_a_parent(history, shallow, touched):
    made = list(signatures._commits(Repository(history, shallow), "head"))  # type: ignore[arg-type]
    assert made == [SignedObject(f"commit {oid[:12]}", f"tree {oid}\n\nwords".encode(), b"", 40) for oid in touched]


def test_a_commit_was_signed_without_its_signature():
    signature = b"-----BEGIN SSH SIGNATURE-----\nabc\n\ndef\n-----END SSH SIGNATURE-----"
    folded = signature.replace(b"\n", b"\n ")
    plain = b"tree 1\nauthor a\nmergetag x\n y\ncommitter b\n\nwords\n\ngpgsig none\n"
    for name in (b"gpgsig", b"gpgsig-sha256"):
        data = plain.replace(b"committer", name + b" " + folded + b"\ncommitter")
        assert signatures._unsigned(data) == (plain, signature if name == b"gpgsig" else b"")
    last = plain.replace(b"committer b", b"committer b\ngpgsig " + folded)
    assert signatures._unsigned(last) == (plain, signature)
    assert signatures._unsigned(plain) == (plain, b"")


def test_a_tag_was_signed_up_to_its_signature():
    tags = {
        "1": b"object x\ntagger A <a@x> 12345 +0100\n\na release\n-----BEGIN SSH SIGNATURE-----\nabc\n",
        "2": b"object x\ntagger A <a@x> 12345 +0100\n\nnot signed\n",
        "3": b"object x\n\nnobody\n-----BEGIN PGP SIGNATURE-----\nabc\n",
    }
    asked: list[tuple[str, ...]] = []

    def ask(*words: str) -> str:
        asked.append(words)
        return "tag 1 v1\ncommit 9 light\ntag 2 v 2\ntag 3 v3\n"

    git: Any = SimpleNamespace(ask=ask, read=lambda oid, *rest: tags[oid] if rest == ("tag", MAX_COMMIT) else b"")
    assert list(signatures._tags(git, FIRST)) == [
        SignedObject(
            "tag v1",
            b"object x\ntagger A <a@x> 12345 +0100\n\na release\n",
            b"-----BEGIN SSH SIGNATURE-----\nabc\n",
            12345,
        ),
        SignedObject("tag v 2", tags["2"] + b"\n", b"", 12345),
        SignedObject("tag v3", b"object x\n\nnobody\n", b"-----BEGIN PGP SIGNATURE-----\nabc\n", None),
    ]
    assert asked == [
        ("for-each-ref", f"--points-at={FIRST}", "--format=%(objecttype) %(objectname) %(refname:short)", "refs/tags")
    ]
