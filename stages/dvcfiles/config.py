"""The settings of a DVC repository, read as DVC reads them and without it.

    read_config(Path(".dvc"))["cache"]["dir"]

DVC reads .dvc/config and .dvc/config.local with ConfigObj, whose values may have quotes and comments, and whose lines
may be indented as one likes. Source: `dvc.config.Config` of DVC 3.67 and ConfigObj 5; a test compares them
(tests/dvcfiles/test_config.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from stages.domain.errors import Invalid

MAX_BYTES = 1 << 20
_COMMENT = r"\s*(?:#.*)?$"
_SECTION = re.compile(r"""\s*\[\s*("\s*\S.*?\s*"|'\s*\S.*?\s*'|[^'"\s\[].*?)\s*\]""" + _COMMENT)
_LINE = re.compile(r"""\s*(".*?"|'.*?'|[^'"=].*?)\s*=\s*(.*)$""")
_TEXT = re.compile(r"""(".*?"|'.*?'|[^'",#\s][^,]*?|)""" + _COMMENT)


class BadConfig(Invalid):
    """A file of settings that is none, or has what nobody writes by hand: `[[`, three quotes or `%(`."""


def read_config(folder: Path) -> dict[str, dict[str, str]]:
    """The settings in a folder `.dvc` whose value is a text, by section and key; those of config.local count more."""
    config: dict[str, dict[str, str]] = {}
    for path in (folder / "config", folder / "config.local"):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise BadConfig.at(path.as_posix(), f"not UTF-8 at byte {error.start}") from None
            for section, values in parse_config(text, path.as_posix()).items():
                config.setdefault(section, {}).update(values)
    return config


def parse_config(text: str, where: str) -> dict[str, dict[str, str]]:
    """The settings of one file. A list, such as `type = reflink,copy`, is left out."""
    config: dict[str, dict[str, str]] = {}
    keys: set[str] = set()
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        if head := _SECTION.match(line):
            section, keys = _unquote(head[1]), set()
            known = section.lower() in config
            config[section.lower()] = {}
        else:
            setting = _LINE.match(line)
            if setting is None or setting[2][:3] in ('"""', "'''") or "%(" in setting[2]:
                raise BadConfig.at(f"{where}, line {number}", f"found {line!a}, expected `key = value` or `[section]`")
            key = _unquote(setting[1])
            known = key in keys
            keys.add(key)
            if value := _TEXT.match(setting[2]):
                config.setdefault(section.lower(), {})[key.lower()] = _unquote(value[1])
        if known:
            raise BadConfig.at(f"{where}, line {number}", f"found {line!a} twice, expected it once")
    return config


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
