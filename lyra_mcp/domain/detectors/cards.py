"""Numbers of payment cards: known beginnings and lengths, or the word beside them, and always the check digit."""

import re

from lyra_mcp.domain.detectors.digit_runs import DigitRun
from lyra_mcp.domain.detectors.findings import Finding, Findings

DIGITS_MIN = 12
DIGITS_MAX = 19
_CONTEXT_CHARS = 48

#: Numbers that are cards wherever they stand; Source: the networks' published ranges (ISO/IEC 7812 prefixes).
_BRANDS = re.compile(
    r"4(?:[0-9]{15}|[0-9]{18})"  # Visa; its old 13 digits are those of a product code too
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12}(?:[0-9]{3})?"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14}(?:[0-9]{3})?"  # UnionPay
    r"|220[0-4][0-9]{12}"  # Mir
)
_WORDS = re.compile(
    r"\b(?:cards?|cc|visa|master ?card|maestro|amex|american express|diners|jcb|discover|union ?pay|credit|debit)\b"
    r"|カード|クレカ|クレジット|デビット",
    re.ASCII | re.IGNORECASE,
)
_SEPARATORS = frozenset({" ", "-"})
#: Groups shorter than this are only read as a card when they are the whole run.
_GROUP_MIN = 3


def find_cards(run: DigitRun) -> Findings:
    if not run.text:
        return
    first = 0
    while first < len(run.groups):
        last = _last_group_of_card(run, first)
        if last is None:
            first += 1
            continue
        named = _is_named(run, first)
        yield Finding("credit_card", run.groups[first][0], run.groups[last][1], 0.99 if named else 0.9)
        first = last + 1


def _last_group_of_card(run: DigitRun, first: int) -> int | None:
    """The longest stretch from this group on that is a card."""
    found = None
    named: bool | None = None
    for last, digits in run.windows(first, DIGITS_MAX):
        if last > first and run.text[run.groups[last - 1][1] : run.groups[last][0]] not in _SEPARATORS:
            break
        if digits < DIGITS_MIN or not _is_grouped_like_a_card(run, first, last):
            continue
        number = run.digits(first, last)
        if not _BRANDS.fullmatch(number):
            if named is None:
                named = _is_named(run, first)
            if not named:
                continue
        if _has_check_digit(number):
            found = last
    return found


def _is_grouped_like_a_card(run: DigitRun, first: int, last: int) -> bool:
    if first == 0 and last == len(run.groups) - 1:
        return True
    return all(end - start >= _GROUP_MIN for start, end in run.groups[first : last + 1])


def _is_named(run: DigitRun, first: int) -> bool:
    start = run.groups[first][0]
    return bool(_WORDS.search(run.text, max(0, start - _CONTEXT_CHARS), start))


def _has_check_digit(number: str) -> bool:
    from stdnum import luhn  # noqa: PLC0415 - only a text with such a number needs it

    return number.strip("0") != "" and bool(luhn.is_valid(number))
