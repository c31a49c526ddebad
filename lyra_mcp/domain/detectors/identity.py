"""Numbers a state gives a person: the American SSN, the Japanese My Number."""

import re

from lyra_mcp.domain.detectors.findings import Finding, Findings

_CONTEXT_CHARS = 40

#: Areas and groups that were never given are none; 9xx with a group from 50 on is a taxpayer's number in its place.
_SSN = re.compile(
    r"(?<![0-9A-Za-z_.,-])(?!000|666|9[0-9]{2}[ .-]?[0-4])[0-9]{3}(?P<separator>[ .-]?)(?!00)[0-9]{2}(?P=separator)"
    r"(?!0000)[0-9]{4}(?![0-9A-Za-z_-])"
)
_SSN_WORDS = re.compile(
    r"\bssns?\b|social[ -]security|\bitin\b|\btax(?:payer)? id|社会保障番号", re.ASCII | re.IGNORECASE
)

#: Looks ahead only: a number that begins inside what turns out to be none is met as well.
_MY_NUMBER = re.compile(
    r"(?<![0-9])(?=(?P<number>[0-9]{4}(?P<separator>[ -]?)[0-9]{4}(?P=separator)[0-9]{4})(?![0-9-]))"
)
_MY_NUMBER_WORDS = re.compile(
    r"マイ\s?ナンバー|個人番号|\bmy[ -]?number\b|\bindividual number\b", re.ASCII | re.IGNORECASE
)


def find_ssns(text: str) -> Findings:
    for match in _SSN.finditer(text):
        named = _is_near(_SSN_WORDS, text, match.start(), match.end())
        if named or match["separator"] == "-":
            yield Finding("ssn", match.start(), match.end(), 0.99 if named else 0.85)


def find_my_numbers(text: str) -> Findings:
    """Only where it is named: one in ten of all numbers of twelve digits has the right check digit."""
    if not _MY_NUMBER_WORDS.search(text):
        return
    from stdnum.jp import in_  # noqa: PLC0415 - only a text that names it needs it

    for match in _MY_NUMBER.finditer(text):
        start, end = match.span("number")
        if in_.is_valid(match["number"]) and _is_near(_MY_NUMBER_WORDS, text, start, end):
            yield Finding("my_number", start, end, 0.95)


def _is_near(words: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return bool(
        words.search(text, max(0, start - _CONTEXT_CHARS), start) or words.search(text, end, end + _CONTEXT_CHARS)
    )
