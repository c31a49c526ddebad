"""Telephone numbers in any grouping that the words around them call so."""

import re

from lyra_mcp.domain.detectors.digit_runs import count_digits, group_ends
from lyra_mcp.domain.detectors.findings import Finding, Findings
from lyra_mcp.domain.detectors.phones import DIGITS_MAX, DIGITS_MIN, end_of_extension, is_valid

_BARE_MIN = 9
_CONTEXT_CHARS = 48
#: No number is written with more characters than this.
_NUMBER_CHARS = 48

_NAMES = r"telephone|phone|tel|mobile|cell(?:ular)?|fax|call|txt|whats ?app|voicemail|hotline"
#: `her number's`, `my new number is`; what else has a number of its own stands below.
_SOMEBODYS = r"(?:my|his|her|our|your|their)(?: [a-z]{1,12})? number(?:'?s)?"
#: Names of a place too, so that they need the colon of a label.
_PLACES = r"desk|direct|office|home|work"
_JAPANESE = "電話|携帯|ケータイ|スマホ|ファックス|ファクス|連絡先|内線|直通"
#: Directly before: `Phone:`, `mobile number is`, `電話番号は`.
_LABEL = re.compile(
    rf"\b(?:{_PLACES})\s?[:#]\s{{0,3}}\Z"
    rf"|(?:\b(?:{_NAMES}|{_SOMEBODYS})(?: ?(?:numbers?|no\.?|#))?|(?:{_JAPANESE})(?:番号|先)?)"
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
    r"|article|patent|grant|part|model|build|port|tracking|confirmation|policy|passport|member(?:ship)?|customer|booking"
    r"|reservation|flight|room|lot|registration|employee|student|social security|card|bank|routing)"
    r"|注文|伝票|会員|口座|郵便)"
    r"(?:\s?(?:numbers?|no\.?|番号))?\s?(?:is|は|[:#-])?\s?\Z",
    re.ASCII | re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/. ][0-9]{1,2}[-/. ][0-9]{1,2}\b|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}\b"
)


def find_announced_phone(text: str, start: int, end: int) -> Findings:
    """At most one in a run of digits: where it begins after such words, or where it ends before them."""
    before = text[max(0, start - _CONTEXT_CHARS) : start]
    if _OTHER.search(before) or _DATE.match(text, start):
        return
    if ends := group_ends(text, start, end, DIGITS_MAX):
        digits = count_digits(text[start : ends[-1]])
        if digits >= DIGITS_MIN and (confidence := _announced(before, digits, grouped=len(ends) > 1)):
            yield _finding(text, start, ends[-1], confidence)
            return
    if _LABEL_AFTER.match(text, end):
        start = max(start, _start_of_last_number(text, start, end))
        if count_digits(text[start:end]) >= DIGITS_MIN and not _DATE.match(text, start):
            yield _finding(text, start, end, 0.6)


def _announced(before: str, digits: int, *, grouped: bool) -> float:
    if _LABEL.search(before):
        return 0.8
    return 0.6 if (grouped or digits >= _BARE_MIN) and _ANNOUNCED.search(before) else 0.0


def _start_of_last_number(text: str, start: int, end: int) -> int:
    """Where the longest stretch begins that ends here and is not too long for a number."""
    begin = max(start, end - _NUMBER_CHARS)
    while count_digits(text[begin:end]) > DIGITS_MAX or not text[begin].isdigit() or text[begin - 1 : begin].isdigit():
        begin += 1
    return begin - (text[begin - 1 : begin] == "(" and begin > start)


def _finding(text: str, start: int, end: int, confidence: float) -> Finding:
    if text[start] == "(" and ")" not in text[start:end]:
        start += 1
    japanese = text[start:end].lstrip("(").startswith("0") and is_valid(text[start:end], "JP")
    return Finding("phone_jp" if japanese else "phone_intl", start, end_of_extension(text, end), confidence)
