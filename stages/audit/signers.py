"""The file of allowed signers, in OpenSSH's format (`man ssh-keygen`, ALLOWED SIGNERS), a line a person and key:

    "alice b",bob@example.org namespaces="git",valid-before="20270101" ssh-ed25519 AAAA... a comment

ssh-keygen reads it where it verifies; this module reads it for the signatures that ssh-keygen does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from stages.domain.mistakes import Invalid

MAX_BYTES = 4 << 20
_WORD = re.compile(r'(?:"[^"]*"|[^\s"])+')
_OPTION = re.compile(r'([A-Za-z-]+)(?:="([^"]*)")?(?:,|$)')
_TIMES = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


class BadSigners(Invalid):
    """A file of allowed signers that is missing or none."""


@dataclass(frozen=True)
class Allowed:
    """A line: who, under which conditions, with which public key (`ssh-ed25519 AAAA...`); `text` is the line itself."""

    names: str
    options: dict[str, str]
    key: str
    text: str

    def may(self, namespace: str, when: datetime) -> bool:
        """Whether its key may sign for this purpose at this time by itself, and not as an authority over other keys."""
        patterns = self.options.get("namespaces", "*").split(",")
        if "cert-authority" in self.options or not any(fnmatchcase(namespace, one.strip()) for one in patterns):
            return False
        after, before = (self.options.get(f"valid-{side}") for side in ("after", "before"))
        return not ((after and when < _time(after)) or (before and when > _time(before)))


def _time(text: str) -> datetime:
    digits = text.removesuffix("Z")
    try:
        found = datetime.strptime(digits, _TIMES[len(digits)])
    except (ValueError, KeyError):
        raise BadSigners.at("allowed signers", f"found the time {text!r}, expected YYYYMMDD[HHMM[SS]][Z]") from None
    return found.replace(tzinfo=UTC) if text.endswith("Z") else found.astimezone()


def read(path: Path) -> list[Allowed]:
    """The lines of a file of allowed signers; what is no line of it is left out, as ssh-keygen does."""
    if not path.is_file():
        raise BadSigners(f"{path}: no such file; it holds a line `NAME KEYTYPE KEY` for everybody who may sign")
    if path.stat().st_size > MAX_BYTES:
        raise BadSigners(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    lines = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    return [one for line in lines if (one := _line(line)) is not None]


def _line(text: str) -> Allowed | None:
    words = _WORD.findall(text)
    if text.lstrip().startswith("#") or len(words) < 3:
        return None
    plain = words[1].startswith(("ssh-", "ecdsa-", "sk-"))
    options = {} if plain else {key.lower(): value for key, value in _OPTION.findall(words[1])}
    key = words[1:3] if plain else words[2:4]
    return Allowed(words[0].strip('"'), options, " ".join(key), text) if len(key) == 2 else None


def shown(name: str) -> str:
    """A name as it can be printed, whatever bytes the file holds."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
