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
from pathlib import Path

from stages.domain import files

NAMESPACE = "staged-promotion-lock"
MAX_SIGNATURE = 64 << 10
_GOOD = re.compile(r'Good "[^"]*" signature for (\S+) with (\S+) key (\S+)')


class BadSignature(ValueError):
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
    text = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).decode("utf-8", "replace").strip()
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
        raise BadSignature(f"{path.as_posix()}: ssh-keygen would not sign with {key}: {text}")
    files.write_whole(signature_path(path), text.encode("ascii") + b"\n")
    return signature_path(path)


def verify(data: bytes, signature: bytes, signers: Path, namespace: str = NAMESPACE) -> Signer:
    """Who of the allowed signers signed exactly these bytes for this purpose; `BadSignature` if nobody did."""
    if not signers.is_file():
        raise BadSignature(f"{signers}: no such file; it holds a line `NAME KEYTYPE KEY` for everybody who may sign")
    if len(signature) > MAX_SIGNATURE:
        raise BadSignature(f"a signature of {len(signature)} bytes, expected at most {MAX_SIGNATURE}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "lock.sig"
        place.write_bytes(signature)
        code, text = _keygen("-Y", "find-principals", "-s", str(place), "-f", str(signers), stdin=b"")
        if code or not text:
            raise BadSignature(f"its key is not among {signers.name}: {_last(text)}")
        principal = text.splitlines()[0]
        told = ["-Y", "verify", "-f", str(signers), "-I", principal, "-n", namespace, "-s", str(place)]
        code, text = _keygen(*told, stdin=data)
    good = _GOOD.search(text)
    if code or good is None:
        raise BadSignature(f"it does not hold for {principal}: {_last(text)}")
    return Signer(good[1], good[3])


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else "ssh-keygen gave no reason"
