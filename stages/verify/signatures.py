"""Checks V24 and V25: signatures of the locks, and of the commits and tags that brought them.

    sign(Path("locks/gate3.yaml"), Path("~/.ssh/id_ed25519"))             writes locks/gate3.yaml.sig
    verify_signature(lock, signature, Path("allowed_signers"))            who signed it

Signatures are SSH's, in the format that git uses for commits, made and verified by OpenSSH's own `ssh-keygen -Y`. The
file of allowed signers is OpenSSH's too (`man ssh-keygen`, ALLOWED SIGNERS), a line a person and key:

    "alice b,bob@example.org" namespaces="git",valid-before="20270101" ssh-ed25519 AAAA... a comment

Keep it outside the repository that it is to judge, or pin its digest. ssh-keygen reads it where it verifies;
`read_allowed_signers` reads it for the signatures that ssh-keygen does not know.
"""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from stages.domain import files, names
from stages.domain.errors import Invalid
from stages.repo.git import MAX_COMMIT, UNSHALLOW, Git, why_no_git
from stages.repo.objects import GitAbsent
from stages.verify.check import Case, Problem, Skip
from stages.verify.locks import Locks

MAX_BYTES = 4 << 20
#: What parts the words of a line for OpenSSH; other white space, and what Unicode takes for a line's end, is text.
_BLANK = " \t\r"
#: Names end at white space or with a quotation that begins anywhere in them; options do not end inside quotes.
_NAMES = re.compile(rf'([^{_BLANK}"]*)(?:"([^"]*)"[{_BLANK}]*|[{_BLANK}]+)', re.S)
_OPTIONS = re.compile(r'(?:\\"|"(?:\\"|[^"])*+"|[^" \t])++', re.S)
_KEY = re.compile(r"([^ \t]+)[ \t]+([^ \t]+)", re.S)
_OPTION = re.compile(r'(namespaces|valid-after|valid-before)="((?:\\"|[^"])*+)"|(cert-authority)', re.I)
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class BadSigners(Invalid):
    """A file of allowed signers that is missing or none."""


@dataclass(frozen=True)
class AllowedSigner:
    """A line: who, under which conditions, with which public key (`ssh-ed25519 AAAA...`); `text` is the line itself."""

    names: str
    options: dict[str, str]
    key: str
    text: str

    def may(self, namespace: str, when: datetime) -> bool:
        """Whether its key may sign for this purpose at this time by itself, and not as an authority over other keys."""
        if "cert-authority" in self.options or not _matches(namespace, self.options.get("namespaces", "*")):
            return False
        after, before = (self.options.get(f"valid-{side}") for side in ("after", "before"))
        return not ((after and when < _time(after)) or (before and when > _time(before)))


def _matches(text: str, patterns: str) -> bool:
    """Whether a text is in OpenSSH's list of patterns, in which '*' and '?' are wildcards and '!' excludes."""
    matching = [
        pattern for pattern in patterns.split(",") if fnmatchcase(text, pattern.removeprefix("!").replace("[", "[[]"))
    ]
    return bool(matching) and not any(pattern.startswith("!") for pattern in matching)


def _time(text: str) -> datetime:
    digits = text.removesuffix("Z")
    try:
        time = datetime.strptime(digits, _TIMES[len(digits)])
    except (ValueError, KeyError):
        raise BadSigners.at("allowed signers", f"found the time {text!r}, expected YYYYMMDD[HHMM[SS]][Z]") from None
    return time.replace(tzinfo=UTC) if text.endswith("Z") else time.astimezone()


def read_allowed_signers(path: Path) -> list[AllowedSigner]:
    """The lines of a file of allowed signers; what is no line of it is left out, as ssh-keygen does."""
    if path.exists() and not path.is_file():
        raise BadSigners(f"{path}: found {files.describe_kind(path)}, expected a regular file")
    if not path.is_file():
        raise BadSigners(f"{path}: no such file; it holds a line `NAME KEYTYPE KEY` for everybody who may sign")
    if path.stat().st_size > MAX_BYTES:
        raise BadSigners(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    return [signer for line in lines if (signer := _parse_signer(line)) is not None]


def require_signers(path: Path) -> None:
    """Refuse a file of allowed signers that allows nobody, so that no signature is called forged for it."""
    if not any(_is_key(signer.key) for signer in read_allowed_signers(path)):
        example = "alice@example.org ssh-ed25519 AAAA..."
        message = f"{path}: found no line of an allowed signer, expected one for everybody who may sign, in UTF-8"
        raise BadSigners(f"{message}: `{example}`, as `ssh-keygen -y -f KEY` prints the last two words")


def _is_key(text: str) -> bool:
    """Whether two words are a kind of key and a key of this kind, as OpenSSH writes it (RFC 4253, 6.6)."""
    kind, _, words = text.partition(" ")
    try:
        blob = base64.b64decode(words, validate=True)
    except ValueError:
        return False
    size = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + size] == kind.encode("utf-8", "replace") and len(blob) > 4 + size


def _parse_signer(text: str) -> AllowedSigner | None:
    """A line as OpenSSH reads it (sshsig.c, `parse_principals_key_and_options`); None for what it takes for none."""
    line = text.partition("\0")[0].lstrip(_BLANK)
    word = _NAMES.match(line)
    if line.startswith("#") or word is None:
        return None
    rest, options = line[word.end() :], dict[str, str]()
    key = _read_key(rest)
    if key is None:
        words = _OPTIONS.match(rest)
        parsed = _parse_options(words[0]) if words else None
        key = _read_key(rest[words.end() :].lstrip(" \t")) if words else None
        if key is None or parsed is None:
            return None
        options = parsed
    try:
        signer = AllowedSigner((word[1] or "") + (word[2] or ""), options, key, text)
        after, before = (_time(options[name]) if name in options else None for name in ("valid-after", "valid-before"))
    except BadSigners:
        return None
    return None if after and before and after >= before else signer


def _read_key(text: str) -> str | None:
    """The key that a text begins with: its kind, and its bytes in base 64, in which white space means nothing."""
    words = _KEY.match(text)
    key = f"{words[1]} {''.join(words[2].split())}" if words else ""
    return key if _is_key(key) else None


def _parse_options(text: str) -> dict[str, str] | None:
    """The options of a line by name; None where OpenSSH knows one of them not, or not so."""
    options: dict[str, str] = {}
    at = 0
    while option := _OPTION.match(text, at):
        name, value = (option[1] or option[3]).lower(), (option[2] or "").replace('\\"', '"')
        if name in options and not option[3]:
            return None
        options[name], at = value, option.end()
        if at == len(text):
            return options
        if text[at] != ",":
            return None
        at += 1
    return None if text else options


def printable(name: str) -> str:
    """A name as it can be printed, whatever bytes the file holds."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


NAMESPACE = "staged-promotion-lock"
MAX_SIGNATURE = 64 << 10
_GOOD = re.compile(r'Good "[^"]*" signature for (.+) with (\S+) key (\S+)')


class BadSignature(Invalid):
    """A signature that cannot be made, or does not hold; the message says which and why."""


@dataclass(frozen=True)
class Signer:
    """Who signed, as the file of allowed signers names them, with which key."""

    principal: str
    key: str


def _keygen(*arguments: str, stdin: bytes) -> tuple[int, str]:
    try:
        done = subprocess.run(["ssh-keygen", *arguments], input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise BadSignature("ssh-keygen is not installed; install OpenSSH 8.1 or newer to sign and verify") from None
    text = (
        (done.stdout if done.returncode == 0 else done.stderr or done.stdout).decode("utf-8", "surrogateescape").strip()
    )
    return done.returncode, text


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies: beside it, with `.sig`."""
    return path.with_name(path.name + ".sig")


def make_signature(data: bytes, key: Path, namespace: str = NAMESPACE) -> bytes:
    """The signature of some bytes with a private SSH key, or a public one whose private half an agent holds.

    A key with a passphrase signs where an agent holds it, or where ssh-keygen can ask for it at a terminal.
    """
    place = key.expanduser()
    if not place.is_file():
        raise BadSignature(f"{key}: no such key; `ssh-keygen -t ed25519 -f {key}` makes one")
    code, text = _keygen("-Y", "sign", "-f", str(place), "-n", namespace, stdin=data)
    if code and "passphrase" in text:
        raise BadSignature(
            f"{key}: this key has a passphrase, which no agent knows and nobody could be asked for; "
            f"`ssh-add {key}` (after `eval $(ssh-agent)`), then the same command again"
        )
    if code:
        raise BadSignature(f"ssh-keygen would not sign with {key}: {printable(text)}")
    return text.encode("ascii") + b"\n"


def sign(path: Path, key: Path, namespace: str = NAMESPACE) -> Path:
    """Sign a file (`make_signature`) and write the signature beside it; its path."""
    files.write_whole(signature_path(path), make_signature(path.read_bytes(), key, namespace))
    return signature_path(path)


def verify_signature(
    data: bytes, signature: bytes, signers: Path, namespace: str = NAMESPACE, seconds: int | None = None
) -> Signer:
    """Who of the allowed signers signed exactly these bytes for this purpose; `BadSignature` if nobody did.

    `seconds` (since 1970) is when the key must have been valid; now, if it is None.
    """
    lines = read_allowed_signers(signers)
    if len(signature) > MAX_SIGNATURE:
        raise BadSignature(f"a signature of {len(signature)} bytes, expected at most {MAX_SIGNATURE}")
    when = [] if seconds is None else [f"-Overify-time={_clock(seconds)}"]
    complaint = ""
    with tempfile.TemporaryDirectory() as folder:
        signature_file, allowed = Path(folder) / "lock.sig", Path(folder) / "allowed"
        signature_file.write_bytes(signature)
        files_given = ["-s", str(signature_file), "-f", str(allowed)]
        while True:
            text = "".join(f"{line.text}\n" for line in lines)
            allowed.write_bytes(text.encode("utf-8", "surrogateescape"))
            code, answer = _keygen("-Y", "find-principals", *when, *files_given, stdin=b"")
            if code or not answer:
                raise BadSignature(complaint or f"its key is not among {signers.name}: {_last_line(answer)}")
            principals = answer.split("\n")[0]
            for name in dict.fromkeys([principals, *principals.split(",")]):
                code, answer = _keygen("-Y", "verify", *when, *files_given, "-I", name, "-n", namespace, stdin=data)
                good = _GOOD.search(answer)
                if code == 0 and good is not None:
                    return Signer(printable(good[1]), good[3])
                complaint = f"it does not hold for {printable(name)}: {_last_line(answer)}"
            # ssh-keygen names the first line with this key alone; another one may allow what this one does not
            tried = next((at for at, line in enumerate(lines, start=1) if line.names == principals), len(lines))
            lines = lines[tried:]


def _clock(seconds: int) -> str:
    """A time as ssh-keygen reads it: on this machine's clock."""
    try:
        return f"{datetime.fromtimestamp(seconds):%Y%m%d%H%M%S}"
    except (OverflowError, OSError, ValueError):
        raise BadSignature(f"it claims the time {seconds}, which no calendar has") from None


def _last_line(text: str) -> str:
    return printable(text.split("\n")[-1]) if text else "ssh-keygen gave no reason"


LOCKS = names.LOCKS.as_posix()
ENABLE = "promotion verify --signers FILE"
_SSH = b"-----BEGIN SSH SIGNATURE-----"
_TAGGED = re.compile(rb"^tagger [^\n]*> (\d+) [+-]\d{4}$", re.M)


def _signers(case: Case) -> Path:
    if case.options.signers is None:
        raise Skip("nobody said who may sign", ENABLE)
    return case.options.signers


def check_lock_signatures(case: Case) -> Iterator[Problem]:
    """Every lock has a signature over its exact bytes by somebody in the file of allowed signers."""
    signers, gates = _signers(case), case.get(Locks).by_gate
    signatures = {gate: case.tree.read(f"locks/{gate}.yaml.sig") for gate in gates}
    if not any(signatures.values()):
        raise Skip("no lock is signed", "promotion freeze --sign KEY")
    for gate, signature in signatures.items():
        path = f"locks/{gate}.yaml"
        if signature is None:
            remedy = f"a signature; `promotion freeze {gate} --sign KEY` writes it"
            yield Problem(f"{path}.sig", "no file", remedy, f"nobody stands for the rule of {gate}")
            continue
        try:
            signer = verify_signature(case.tree.read(path) or b"", signature, signers)
        except BadSignature as error:
            yield Problem(f"{path}.sig", str(error), "a signature by an allowed signer", f"nobody stands for {gate}")
        else:
            case.note(f"{gate} signed by {signer.principal} ({signer.key})")


@dataclass(frozen=True)
class SignedObject:
    """A commit or tag: what a person calls it, what was signed and how; `seconds` is its own clock (since 1970)."""

    title: str
    payload: bytes
    signature: bytes
    seconds: int | None


def check_commit_signatures(case: Case) -> Iterator[Problem]:
    """Signed commits that touched locks, and signed tags of this commit, are signed by allowed signers."""
    signers = _signers(case)
    if case.git is None:
        raise Skip(why_no_git(case.root), "git clone")
    head = case.commit or case.git.head
    if head is None:
        raise Skip("there is no commit yet", "git commit")
    unsigned = others = 0
    by_signer: dict[Signer, list[str]] = {}
    try:
        signed_objects = [*_commits(case.git, head), *_tags(case.git, head)]
    except GitAbsent as absent:
        if not case.git.partial:
            raise
        raise Skip(absent.reason, absent.enable) from None
    if case.git.shallow:
        case.note(f"a shallow clone: what came before its oldest commits is hidden; `{UNSHALLOW}`")
    for signed in signed_objects:
        if not signed.signature:
            unsigned += signed.title.startswith("commit")
        elif not signed.signature.startswith(_SSH):
            others += 1
        else:
            try:
                signer = verify_signature(signed.payload, signed.signature, signers, "git", signed.seconds)
            except BadSignature as error:
                expected, meaning = "a signature by an allowed signer", "somebody else froze it or vouches for it"
                yield Problem(signed.title, str(error), expected, meaning)
            else:
                by_signer.setdefault(signer, []).append(signed.title)
    if others:
        case.note(f"{others} signed by other means than SSH, of which the file of allowed signers says nothing")
    if not by_signer:
        raise Skip(
            f"none of the {unsigned + others} commits that touched locks/ is signed by SSH", "git commit --gpg-sign"
        )
    for signer, titles in by_signer.items():
        case.note(f"{', '.join(titles)} signed by {signer.principal} ({signer.key})")
    if unsigned:
        case.note(f"{unsigned} commits that touched locks/ are not signed")
    case.refuse_hidden()


def _commits(git: Git, head: str) -> Iterator[SignedObject]:
    """The commits that touched locks/, oldest first. Git's own checking is not asked: its settings name programs."""
    for oid, commit in git.ancestry(head).items():
        if oid in git.shallow and commit.parents:
            continue  # what it touched is hidden
        parents = [git.entry(parent, LOCKS) for parent in commit.parents]
        locks = git.entry(oid, LOCKS)
        if any(locks != parent for parent in parents) if parents else locks:
            payload, signature = _unsigned(git.read(oid, "commit", MAX_COMMIT))
            yield SignedObject(f"commit {oid[:12]}", payload, signature, commit.seconds)


def _unsigned(data: bytes) -> tuple[bytes, bytes]:
    """A commit without its signature, and that."""
    head, blank, rest = data.partition(b"\n\n")
    kept, signature, inside = [], [], b""
    for line in head.split(b"\n"):
        if line.startswith(b"gpgsig"):
            inside, _, first = line.partition(b" ")
            line = b" " + first
        elif not line.startswith(b" "):
            inside = b""
        if not inside:
            kept.append(line)
        elif inside == b"gpgsig":
            signature.append(line[1:])
    return b"\n".join(kept) + blank + rest, b"\n".join(signature)


def _tags(git: Git, head: str) -> Iterator[SignedObject]:
    """The annotated tags of a commit."""
    listed = git.ask(
        "for-each-ref", f"--points-at={head}", "--format=%(objecttype) %(objectname) %(refname:short)", "refs/tags"
    )
    for line in filter(None, listed.split("\n")):
        kind, oid, name = line.split(" ", 2)
        if kind == "tag":
            payload, mark, rest = git.read(oid, "tag", MAX_COMMIT).partition(b"\n-----BEGIN ")
            signature = mark[1:] + rest
            seconds = _TAGGED.search(payload)
            yield SignedObject(f"tag {name}", payload + b"\n", signature, int(seconds[1]) if seconds else None)
