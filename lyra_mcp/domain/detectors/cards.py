"""Numbers of payment cards: known beginnings and lengths, or the word beside them, and always the check digit."""

import re

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
#: Four digits of a group that may begin a card, and twelve digits at least from there on.
_BEGINNING = re.compile(
    r"(?:(?<![0-9A-Za-z_$])|(?<=card)|(?<=no))(?<![0-9][.,])(?=[0-9]{4}(?:[ ._-]{0,2}[0-9]){8})",
    re.ASCII | re.IGNORECASE,
)
#: As cards are printed and typed, the longest first; any other grouping only counts when nothing else stands beside it.
_FORMS = tuple(
    re.compile(form + r"(?![0-9A-Za-z_%])")
    for form in (
        r"[0-9]{4}(?:(?P<s>[ -])[0-9]{4}(?:(?P=s)[0-9]{4}){2}(?P=s)[0-9]{3})",
        r"[0-9]{12,19}",
        r"[0-9]{4}(?:(?P<s>[ -]|  |[._])[0-9]{4}(?:(?P=s)[0-9]{4}){2})",
        r"[0-9]{4}(?P<s>[ -])[0-9]{6}(?P=s)[0-9]{4,5}",
    )
)
_WITHOUT_SEPARATORS = str.maketrans("", "", " -._")
_LOOSE = re.compile(r"[0-9]+(?:[ -][0-9]+)+")


def find_cards(text: str) -> Findings:
    done = 0
    for beginning in _BEGINNING.finditer(text):
        start = beginning.start()
        if start < done:
            continue
        for form in _FORMS:
            match = form.match(text, start)
            if match and (confidence := _judge(text, start, match.end())):
                yield Finding("credit_card", start, match.end(), confidence)
                done = match.end()
                break


def find_loose_card(text: str, start: int, end: int) -> Findings:
    """A run of digits that is a card as a whole, however it is grouped."""
    if end - start < 2 * DIGITS_MAX and _LOOSE.fullmatch(text, start, end):
        confidence = _judge(text, start, end)
        if confidence:
            yield Finding("credit_card", start, end, confidence)


def _judge(text: str, start: int, end: int) -> float:
    """How sure it is that these digits are a card; 0 when they are none."""
    number = text[start:end].translate(_WITHOUT_SEPARATORS)
    if not DIGITS_MIN <= len(number) <= DIGITS_MAX:
        return 0.0
    if _BRANDS.fullmatch(number):
        return _checked(number) and (0.99 if _is_named(text, start) else 0.9)
    return _is_named(text, start) and _checked(number) and 0.95


def _is_named(text: str, start: int) -> bool:
    return bool(_WORDS.search(text, max(0, start - _CONTEXT_CHARS), start))


def _checked(number: str) -> bool:
    """Whether the last digit is Luhn's."""
    from stdnum import luhn  # noqa: PLC0415 - only a text with such a number needs it

    return number.strip("0") != "" and bool(luhn.is_valid(number))
