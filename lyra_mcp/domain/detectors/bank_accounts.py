"""International bank account numbers (IBAN, ISO 13616)."""

import re
from functools import cache

from lyra_mcp.domain.detectors.findings import Finding, Findings

#: How long an IBAN is in each country; Source: the SWIFT registry of IBAN formats.
_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}


#: Looks ahead only: an account that begins inside what turns out to be none is met as well.
_BEGINNING = re.compile(r"(?<![A-Za-z0-9])(?=(?P<country>[A-Za-z]{2})[0-9]{2}(?:[ -]?[A-Za-z0-9]){11})")


def find_ibans(text: str) -> Findings:
    for beginning in _BEGINNING.finditer(text):
        length = _LENGTHS.get(beginning["country"].upper())
        if length and (match := _of_length(length).match(text, beginning.start())) and _has_check_digits(match[0]):
            yield Finding("iban", match.start(), match.end(), 0.99)


@cache
def _of_length(length: int) -> re.Pattern[str]:
    return re.compile(rf"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){{{length - 1}}}(?![A-Za-z0-9])")


def _has_check_digits(number: str) -> bool:
    """Whether the number modulo 97 is 1, as ISO 7064 asks."""
    from stdnum.iso7064 import mod_97_10  # noqa: PLC0415 - only a text with such a number needs it

    plain = number.replace(" ", "").replace("-", "").upper()
    return bool(mod_97_10.is_valid(plain[4:] + plain[:4]))
