"""Names that a reader or another file system takes for one of the study's, and names that nobody does."""

from __future__ import annotations

import unicodedata

import pytest

from stages.verify import look_alikes
from stages.verify.look_alikes import fold_name, is_short_name_of, loosen_name, system_name


@pytest.mark.parametrize(
    ("name", "system", "look", "glance"),
    [
        ("Locks", "locks", "locks", "locks"),
        ("l\u043ecks", "l\u043ecks", "locks", "locks"),
        ("l0cks", "l0cks", "locks", "locks"),
        ("locks. .", "locks", "locks", "locks"),
        ("lo\u200bcks", "lo\u200bcks", "locks", "locks"),
        ("stages:x", "stages:x", "stages", "stages"),
        ("\ufb01les", "files", "flles", "flles"),
        ("dvc\u2024yaml", "dvc.yaml", "dvc.yaml", "dvc.yaml"),
        ("\u0141OCKS", "\u0142ocks", "locks", "locks"),
        ("params.yaml\u2028", "params.yaml\u2028", "params.yaml", "params.yaml"),
        ("\u03f2", "\u03c3", "c", "c"),
        ("\u24dbocks", "locks", "locks", "locks"),
        ("l\u00f2cks", "l\u00f2cks", "locks", "locks"),
        ("lo\u0300cks", "l\u00f2cks", "locks", "locks"),
        ("\u13deocks", "\u13deocks", "locks", "locks"),
        ("5tages", "5tages", "5tages", "stages"),
        ("pararns.yaml", "pararns.yaml", "pararns.yaml", "params.yaml"),
        ("PARAMS.YML", "params.yml", "params.yml", "params.yaml"),
        ("x.ym1", "x.ym1", "x.yml", "x.yaml"),
        ("x.yml.bak", "x.yml.bak", "x.yml.bak", "x.yml.bak"),
        ("pa_ra-ms", "pa_ra-ms", "pa_ra-ms", "params"),
        ("vvorld", "vvorld", "vvorld", "world"),
        ("clocks", "clocks", "clocks", "docks"),
        ("23456789$@", "23456789$@", "23456789$@", "zeasbtbgsa"),
        ("tra\u0456ner", "tra\u0456ner", "tralner", "tralner"),
    ],
)
def test_a_name_is_taken_for_another_by_a_system_a_reader_and_at_a_glance(name, system, look, glance):
    assert (system_name(name), fold_name(name), loosen_name(name)) == (system, look, glance)


@pytest.mark.parametrize(
    ("name", "own", "short"),
    [
        ("PARAMS~1.YAM", "params.yaml", True),
        ("PARAMS~1", "params.yaml", False),
        ("PARAMS~1.YAML", "params.yaml", False),
        ("PARAMS~1.YAM. ", "params.yaml", True),
        ("PARAM~1.YAM", "params.yaml", False),
        ("GIT~1", ".git", True),
        ("GITATT~1", ".gitattributes", True),
        ("DVCIGN~1", ".dvcignore", True),
        ("STAGES~1", "stages", True),
        ("STAGES~123456", "stages", True),
        ("STAGES~1234567", "stages", False),
        ("ARTIFA~1", "artifacts", True),
        ("ARTIFAC~1", "artifacts", False),
        ("AR12AB~1", "artifacts", True),
        ("AX12AB~1", "artifacts", False),
        ("AR12A~1", "artifacts", False),
        ("AR12AG~1", "artifacts", False),
        ("DV0000~1.YAM", "dvc.yaml", True),
        ("DV0000~1", "dvc.yaml", False),
        ("DVC~1.LOC", "dvc.lock", True),
        ("DVC~1.LOC", "dvc.yaml", False),
        ("AB~1.YAM", "a.b.yaml", True),
        ("~1", "artifacts", False),
        ("artifacts", "artifacts", False),
    ],
)
def test_a_short_name_is_that_of_a_longer_one_as_windows_makes_it(name, own, short):
    assert is_short_name_of(name, own) is short


def test_letters_of_latin_with_strokes_are_known_by_their_letter_and_ascii_by_itself():
    table = look_alikes._LOOK_ALIKES
    assert {chr(number): table.get(number) for number in (0x142, 0x2C61, 0x1D04, 0x26B, 0xA749, 0x24D)} == {
        "\u0142": "l", "\u2c61": "l", "\u1d04": "c", "\u026b": "l", "\ua749": "l", "\u024d": "r"
    }  # fmt: skip
    assert {letter for letter in map(chr, range(128)) if ord(letter) in table} == set("1|0!i")
    assert all(len(letter) == 1 and letter.isascii() for letter in table.values())
    assert unicodedata.category("\u0301") in look_alikes._UNSEEN
