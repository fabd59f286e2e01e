"""Names that a reader, or another file system, takes for one of the study's own.

fold_name("l\u043ecks") == fold_name("locks")        alike to the eye: letters of other scripts, strokes, invisible ones
loosen_name("5tages") == loosen_name("stages")      alike at a glance: digits, `rn` for `m`, `.yml`
is_short_name_of("PARAMS~1.YAM", "params.yaml")     the short name that Windows makes
"""

from __future__ import annotations

import re
import unicodedata

#: Letters that look like one of ASCII once capitals are gone, that first: Cyrillic, Greek, Armenian, Coptic, phonetic,
#: digits; then Lisu, Cherokee (whose small letters fold to capitals) and Canadian syllables.
_ALIKE = (
    "aаɑαᴀꓮᎪᗩ⍺ bƅʙЬᏏᏼᏴꓐᗷᑲ cсϲᴄⲥꓚᏟᑕↄ dԁɗꓓᎠᏧᗪᑯ eеҽєεꓰᎬ℮ fꓝᖴғϝ gԍɡցꓖᏀᏳ hһհꓧᏂᎻᕼнʜ jјϳꓙᎫᒍ kкκᴋӄĸⲕꓗᏦ "
    "l1|ӏⅼiіɩιıꓡꓲᏞᎥᒪⵏ!ǀⲓ mмᴍꓟᎷᗰ nոɴпꓠηո oоοօσᴏ0ꓳⲟ𐐬ⵔօഠ० pрρꓑᏢᑭⲣᴘ qԛգ rгᴦꓣᎡᏒᖇʀг sѕꜱꓢᏕᏚᔕ𐑈 tтτᴛꓔᎢⲧ "
    "uυսʋᴜꓴᑌ vѵνᴠꓦᏙᐯ wԝѡɯᴡꓪᎳᏔ xхχꓫ᙭ⲭ yуγүყʏꓬᎩᎽⲩ zᴢꓜᏃ .․。ꓸ٠۰"
)
#: A letter of Latin with a stroke, a tail or a dot, or a small capital.
_LATIN = re.compile(r"LATIN (?:SMALL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .*)?")
_LOOK_ALIKES = {ord(letter): letters[0] for letters in _ALIKE.split() for letter in letters[1:]}
_LOOK_ALIKES |= {
    number: match[1].lower().replace("i", "l")
    for first, last in ((0x80, 0x2B0), (0x1D00, 0x1E00), (0x2C60, 0x2C80), (0xA720, 0xA800), (0xAB30, 0xAB70))
    for number in range(first, last)
    if (match := _LATIN.fullmatch(unicodedata.name(chr(number), "")))
}
#: Letters that show nothing: Hangul fillers, the empty Braille cell.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
#: Marks, formats, controls, blanks: what shows nothing or sits on another letter.
_UNSEEN = frozenset(("Mn", "Me", "Cf", "Cc", "Zs", "Zl", "Zp", "Lm"))
_DIGITS = str.maketrans("23456789$@", "zeasbtbgsa")
_SHORT = re.compile(r"([^.~]{1,6})~[0-9]{1,6}(?:\.([^.]{0,3}))?")
#: Two letters and four digits: what Windows writes where it has many such names.
_HASHED = re.compile(r"..[0-9a-f]{4}")


def system_name(name: str) -> str:
    """A name as a file system takes it that knows no capitals and no composed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).rstrip(". ")


def fold_name(name: str) -> str:
    """A name as it looks to a reader: similar letters become one letter, and what shows nothing is removed.

    Letters are compared before and after compatible ones become one, which makes a lunate sigma a sigma.
    """
    text = name.partition(":")[0].casefold().translate(_LOOK_ALIKES)
    text = unicodedata.normalize("NFKD", system_name(text))
    seen = (letter for letter in text if unicodedata.category(letter) not in _UNSEEN and letter not in _FILLERS)
    return "".join(seen).translate(_LOOK_ALIKES).rstrip(".")


def loosen_name(name: str) -> str:
    """A name as it looks at a glance, to somebody who expects another."""
    text = fold_name(name).translate(_DIGITS).replace("rn", "m").replace("vv", "w").replace("cl", "d")
    return re.sub(r"\.ym[l1]$", ".yaml", text).replace("_", "").replace("-", "")


def is_short_name_of(name: str, own: str) -> bool:
    """Whether Windows may give `own` the short name `name`, under which it then opens the one or the other."""
    match = _SHORT.fullmatch(name.casefold().rstrip(". "))
    if match is None:
        return False
    stem, _, end = own.lstrip(".").rpartition(".") if "." in own.lstrip(".") else (own.lstrip("."), "", "")
    begin = match[1]
    same = stem.replace(".", "")[:6] == begin or (_HASHED.fullmatch(begin) is not None and stem[:2] == begin[:2])
    return same and end[:3] == (match[2] or "")
