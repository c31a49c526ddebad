"""Telephone numbers: international ones, the written forms of some countries, and any that words announce."""

import re

from lyra_mcp.domain.detectors.digit_runs import DigitRun
from lyra_mcp.domain.detectors.findings import Finding, Findings

DIGITS_MIN = 7
DIGITS_MAX = 15
_INTERNATIONAL_MIN = 8
_BARE_MIN = 9
_CONTEXT_CHARS = 48

#: What people write in each country; the numbering plan then decides (`phonenumbers`).
_WRITTEN = (
    ("US", re.compile(r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}")),
    ("JP", re.compile(r"\(0[0-9]{1,4}\) ?[0-9]{1,4}-[0-9]{3,4}|0[0-9]{1,4}[(-][0-9]{1,4}[)-][0-9]{3,4}")),
    ("JP", re.compile(r"0[0-9]{1,3} [0-9]{2,4} [0-9]{4}|0[5789]0[0-9]{8}")),
    ("GB", re.compile(r"\(?0[0-9]{2,4}\)? [0-9]{3,4} [0-9]{3,4}|\(?0[0-9]{4}\)? [0-9]{5,6}")),
)
#: Plus signs and the prefixes that stand for one in Europe and Asia, North America and Japan.
_INTERNATIONAL = re.compile(r"(?:\(?\+|\(?(?:00|011|010)[ -]?)(?=[1-9])")

_NAMES = r"telephone|phone|tel|mobile|cell(?:ular)?|fax|call|whats ?app|voicemail|hotline"
#: Names of a place too, so that they need the colon of a label.
_PLACES = r"desk|direct|office|home|work"
_JAPANESE = "電話|携帯|ケータイ|スマホ|ファックス|ファクス|連絡先|内線|直通"
#: Directly before: `Phone:`, `mobile number is`, `電話番号は`.
_LABEL = re.compile(
    rf"\b(?:{_PLACES})\s?[:#]\s{{0,3}}\Z|(?:\b(?:{_NAMES})(?: ?(?:numbers?|no\.?|#))?|(?:{_JAPANESE})(?:番号|先)?)"
    r"\s?(?:is|was|at|on|は|が|も|に|へ|の|:|\.|#|-|=|\()?\s{0,3}\Z",
    re.ASCII | re.IGNORECASE,
)
#: Some words before: `call me at`, `messages to`, `not answering at`.
_ANNOUNCED = re.compile(
    rf"\b(?:{_NAMES}|call(?:ed|ing)|ring|dial|text|sms|messages?|answer(?:ing)?|reach|contact)\b[^\n0-9]{{0,40}}"
    r"\b(?:at|on|to|is|via|under|numbers?|registered|with)\s?:?\s?\Z"
    rf"|(?:{_JAPANESE})[^\n0-9]{{0,16}}\Z",
    re.ASCII | re.IGNORECASE,
)
#: Directly after: `0490 39 07 81 office`, `3660170548-Fax`.
_LABEL_AFTER = re.compile(
    r"\s?[-,(]?\s?(?:office|fax|mobile|cell|home|work|desk|direct|tel|phone)\b(?!\s?[:#])", re.ASCII | re.IGNORECASE
)
#: Numbers of other things.
_OTHER = re.compile(
    r"(?:\b(?:order|invoice|ticket|case|ref(?:erence)?|accounts?|isbn|issn|pmid|doi|zip|serial|version|licen[cs]e|id"
    r"|article|patent|grant|part|model|build|port)|注文|伝票|会員|口座|郵便)"
    r"(?:\s?(?:numbers?|no\.?|番号))?\s?(?:is|は|[:#-])?\s?\Z",
    re.ASCII | re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}\b|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}\b"
)
_EXTENSION = re.compile(r"\s?(?:x|ext\.?|extension|内線)\s?[0-9]{1,6}(?![0-9])", re.ASCII | re.IGNORECASE)


def find_phones(run: DigitRun) -> Findings:
    first = 0
    while first < len(run.groups):
        found = _find_from(run, first)
        if found is None:
            first += 1
            continue
        last, region_is_japan, confidence = found
        start, end = _start_of(run, first), run.groups[last][1]
        if run.text[start] == "(" and ")" not in run.text[start:end]:
            start += 1
        if extension := _EXTENSION.match(run.text, end):
            end = extension.end()
        yield Finding("phone_jp" if region_is_japan else "phone_intl", start, end, confidence)
        first = last + 1


def _find_from(run: DigitRun, first: int) -> tuple[int, bool, float] | None:
    """(last group, Japanese, confidence) of the number that begins with this group."""
    start = _start_of(run, first)
    windows = [last for last, digits in run.windows(first, DIGITS_MAX + 3) if digits >= DIGITS_MIN]
    if not windows:
        return None
    if prefix := _INTERNATIONAL.match(run.text, start):
        return _find_international(run, windows, prefix)
    if not _may_begin(run, first):
        return None
    labelled = first == 0 and _is_announced(run, start)
    for last in reversed(windows):
        for region, form in _WRITTEN:
            text = run.text[start : run.groups[last][1]]
            if (form.fullmatch(text) or form.fullmatch(text.lstrip("("))) and _is_valid(text, region):
                return last, region == "JP", 0.99 if labelled else 0.85
    return _find_announced(run, first, windows)


def _find_international(run: DigitRun, windows: list[int], prefix: re.Match[str]) -> tuple[int, bool, float] | None:
    """The longest stretch the numbering plan knows, else the longest it finds possible."""
    possible = None
    is_plus = "+" in prefix[0]
    for last in reversed(windows):
        number = "+" + "".join(
            c for c in run.text[prefix.end() : run.groups[last][1]].replace("(0)", "") if c.isdigit()
        )
        if not _INTERNATIONAL_MIN < len(number) <= DIGITS_MAX + 1:
            continue
        japanese = number.startswith("+81")
        if _is_valid(number, None):
            return last, japanese, 0.99 if is_plus else 0.9
        if is_plus and possible is None and _is_possible(number):
            possible = last, japanese, 0.7
    return possible


def _find_announced(run: DigitRun, first: int, windows: list[int]) -> tuple[int, bool, float] | None:
    """Any number that the words around it call one."""
    start = _start_of(run, first)
    if _DATE.match(run.text, start):
        return None
    before = run.text[max(0, start - _CONTEXT_CHARS) : start]
    within = [last for last in windows if len(run.digits(first, last)) <= DIGITS_MAX]
    if not within or _OTHER.search(before):
        return None
    last = within[-1]
    grouped = last > first
    is_labelled = first == 0 and _LABEL.search(before)
    is_announced = first == 0 and _ANNOUNCED.search(before) and (grouped or len(run.digits(first, last)) >= _BARE_MIN)
    is_labelled_after = last == len(run.groups) - 1 and _LABEL_AFTER.match(run.text, run.groups[last][1])
    if not (is_labelled or is_announced or is_labelled_after):
        return None
    digits = run.digits(first, last)
    return last, digits.startswith("0") and _is_valid(digits, "JP"), 0.8 if is_labelled else 0.6


def _start_of(run: DigitRun, first: int) -> int:
    """Where the number begins: at a plus sign or bracket before its first group."""
    start = run.groups[first][0]
    while start > 0 and run.text[start - 1] in "+(":
        start -= 1
        if run.groups[first][0] - start == 2:  # noqa: PLR2004 - as in `(+81`
            break
    return start


def _may_begin(run: DigitRun, first: int) -> bool:
    """A number begins where a run does, or after a space or bracket in it."""
    return first == 0 or run.text[run.groups[first][0] - 1] in " ("


def _is_announced(run: DigitRun, start: int) -> bool:
    before = run.text[max(0, start - _CONTEXT_CHARS) : start]
    return bool(_LABEL.search(before) or _ANNOUNCED.search(before))


def _is_valid(number: str, region: str | None) -> bool:
    import phonenumbers  # noqa: PLC0415 - only a text with such a number needs it

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def _is_possible(number: str) -> bool:
    import phonenumbers  # noqa: PLC0415 - likewise

    try:
        return bool(phonenumbers.is_possible_number(phonenumbers.parse(number, None)))
    except phonenumbers.NumberParseException:
        return False
