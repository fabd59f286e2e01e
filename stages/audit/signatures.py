"""SSH signatures of rule locks, in the format that git uses for commits, by OpenSSH's own `ssh-keygen -Y`.

    sign(Path("locks/gate3.yaml"), Path("~/.ssh/id_ed25519"))       writes locks/gate3.yaml.sig
    verify(lock, signature, Path("allowed_signers"))                who signed it

The file of allowed signers is OpenSSH's (`man ssh-keygen`, ALLOWED SIGNERS): `alice@example.org ssh-ed25519 AAAA...`,
a line a person. Keep it outside the repository that it is to judge, or pin its digest.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stages.audit.signers import read, shown
from stages.domain import files
from stages.domain.mistakes import Invalid

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


def sign(path: Path, key: Path, namespace: str = NAMESPACE) -> Path:
    """Sign a file with a private SSH key (or a public one whose private half an agent holds); the signature's path."""
    place = key.expanduser()
    if not place.is_file():
        raise BadSignature(f"{key}: no such key; `ssh-keygen -t ed25519 -f {key}` makes one")
    code, text = _keygen("-Y", "sign", "-f", str(place), "-n", namespace, stdin=path.read_bytes())
    if code:
        raise BadSignature(f"{path.as_posix()}: ssh-keygen would not sign with {key}: {shown(text)}")
    files.write_whole(signature_path(path), text.encode("ascii") + b"\n")
    return signature_path(path)


def verify(
    data: bytes, signature: bytes, signers: Path, namespace: str = NAMESPACE, seconds: int | None = None
) -> Signer:
    """Who of the allowed signers signed exactly these bytes for this purpose; `BadSignature` if nobody did.

    `seconds` (since 1970) is when the key must have been valid; now, if it is None.
    """
    lines = read(signers)
    if len(signature) > MAX_SIGNATURE:
        raise BadSignature(f"a signature of {len(signature)} bytes, expected at most {MAX_SIGNATURE}")
    when = [] if seconds is None else [f"-Overify-time={_clock(seconds)}"]
    complaint = ""
    with tempfile.TemporaryDirectory() as folder:
        place, allowed = Path(folder) / "lock.sig", Path(folder) / "allowed"
        place.write_bytes(signature)
        while True:
            text = "".join(f"{line.text}\n" for line in lines)
            allowed.write_bytes(text.encode("utf-8", "surrogateescape"))
            found = _keygen("-Y", "find-principals", *when, "-s", str(place), "-f", str(allowed), stdin=b"")
            if found[0] or not found[1]:
                complaint = complaint or f"its key is not among {signers.name}: {_last(found[1])}"
                raise BadSignature(complaint)
            names = found[1].splitlines()[0]
            for name in dict.fromkeys([names, *names.split(",")]):
                told = ["-Y", "verify", *when, "-f", str(allowed), "-I", name, "-n", namespace, "-s", str(place)]
                code, answer = _keygen(*told, stdin=data)
                good = _GOOD.search(answer)
                if code == 0 and good is not None:
                    return Signer(shown(good[1]), good[3])
                complaint = f"it does not hold for {shown(name)}: {_last(answer)}"
            # ssh-keygen names the first line with this key alone; another one may allow what this one does not
            rest = next((at for at, line in enumerate(lines, start=1) if line.names == names), len(lines))
            lines = lines[rest:]


def _clock(seconds: int) -> str:
    """A time as ssh-keygen reads it: on this machine's clock."""
    try:
        return f"{datetime.fromtimestamp(seconds):%Y%m%d%H%M%S}"
    except (OverflowError, OSError, ValueError):
        raise BadSignature(f"it claims the time {seconds}, which no calendar has") from None


def _last(text: str) -> str:
    return shown(text.splitlines()[-1]) if text else "ssh-keygen gave no reason"
