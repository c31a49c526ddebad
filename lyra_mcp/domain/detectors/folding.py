"""A text as its plain ASCII reading, character for character, so that offsets stay those of the original."""

import re
import unicodedata
from functools import cache

#: Blocks in which characters stand for an ASCII one: Latin-1 and general punctuation (spaces, dashes), ideographic
#: space, small and full-width forms, mathematical letters and digits. Superscripts are left out: `10²` is no 102.
_BLOCKS = ((0xA0, 0xAF), (0x2000, 0x2030), (0x3000, 0x3001), (0xFE50, 0xFE70), (0xFF01, 0xFF5F), (0x1D400, 0x1D800))
#: Decimal digits of other scripts: Arabic-Indic, its eastern form, Devanagari.
_DIGITS = ((0x660, 0x66A), (0x6F0, 0x6FA), (0x966, 0x970))
_HYPHENS = (*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0xFF0D)
#: The katakana length mark, the middle dot and box lines are typed for a hyphen, but only between digits.
_TYPED_FOR_A_HYPHEN = re.compile(r"(?<=[0-9)])[ー―─━ｰ・](?=[0-9(])")


@cache
def _table() -> dict[int, str]:
    table = {}
    for start, end in _BLOCKS:
        for code in range(start, end):
            plain = unicodedata.normalize("NFKC", chr(code))
            if len(plain) == 1 and plain.isascii():
                table[code] = plain
    for start, end in _DIGITS:
        table |= {code: str(unicodedata.decimal(chr(code))) for code in range(start, end)}
    return table | dict.fromkeys(_HYPHENS, "-")


def fold(text: str) -> str:
    """As many characters as `text` has; what has no single ASCII reading stays."""
    if text.isascii():
        return text
    return _TYPED_FOR_A_HYPHEN.sub("-", text.translate(_table()))
