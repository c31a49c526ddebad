"""Telephone numbers by their form alone: international ones, and what people of some countries write."""

import re

from lyra_mcp.domain.detectors.digit_runs import count_digits, group_ends
from lyra_mcp.domain.detectors.findings import Finding, Findings

DIGITS_MIN = 7
DIGITS_MAX = 15
_INTERNATIONAL_MIN = 8
#: Ends of a long international number that are tried, the longest first.
_ENDS_MAX = 3

_BEGIN = r"(?:(?<![0-9A-Za-z_$+])|(?<=tel)|(?<=fax)|(?<=phone))(?<![0-9][.-])"
_END = r"(?![0-9A-WYZa-wyz_%]|[-.][0-9])"

#: The written forms of each country; its numbering plan then decides. They look ahead only: a number that begins
#: inside what turns out to be none is met as well.
_WRITTEN = tuple(
    (region, re.compile(f"{_BEGIN}(?=(?P<number>{form}){_END})", re.ASCII | re.IGNORECASE))
    for region, form in (
        ("US", r"(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"),
        ("JP", r"(?:\(0[0-9]{1,4}\) ?[0-9]{1,4}-[0-9]{3,4}|0[0-9]{1,4}[(-][0-9]{1,4}[)-][0-9]{3,4})"),
        ("JP", r"0[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{3,4}"),
        ("JP", r"(?:0[0-9]{1,3} [0-9]{2,4} [0-9]{4}|0[5789]0[0-9]{8})"),
        ("GB", r"(?:\(0[0-9]{2,4}\) ?|0[0-9]{2,4} )(?:[0-9]{3,4} [0-9]{3,4}|[0-9]{5,6})"),
        ("FR", r"0[1-9](?:[ .][0-9]{2}){4}"),
        ("DE", r"01[567][0-9]{1,2}[ /-][0-9]{7,8}"),
    )
)
#: A plus sign, or the prefix that stands for one in Europe and Asia, North America, Japan.
_INTERNATIONAL = re.compile(
    r"(?<![0-9A-Za-z_$+])(?:(?P<plus>\(?\+ ?)|(?:00|011|010)[ -]?|wa\.me/)(?P<number>[1-9](?:[ .()/-]{0,3}[0-9]){7,16})"
)
#: Country code, and what stands before a number that is dialled inside the country.
_PLANS = {"US": (1, "1"), "JP": (81, "0"), "GB": (44, "0"), "FR": (33, "0"), "DE": (49, "0")}
_NO_DIGIT = re.compile("[^0-9]")
_EXTENSION = re.compile(r"\s?(?:x|ext\.?|extension|内線)\s?[0-9]{1,6}(?![0-9])", re.ASCII | re.IGNORECASE)


def find_phones(text: str) -> Findings:
    if "+" in text or "0" in text or "wa.me/" in text:
        yield from _find_international(text)
    for region, form in _WRITTEN:
        for match in form.finditer(text):
            if is_valid(match["number"], region):
                end = end_of_extension(text, match.end("number"))
                yield Finding("phone_jp" if region == "JP" else "phone_intl", match.start(), end, 0.9)


def end_of_extension(text: str, end: int) -> int:
    """Where a number ends together with its extension, if it has one."""
    extension = _EXTENSION.match(text, end)
    return extension.end() if extension else end


def is_valid(number: str, region: str) -> bool:
    """Whether the region's numbering plan knows it, written as people of that region write it."""
    import phonenumbers  # noqa: PLC0415 - only a text with such a number needs it

    country, trunk_prefix = _PLANS[region]
    digits = _NO_DIGIT.sub("", number).removeprefix(trunk_prefix)
    # Its own parser would take three times as long as the question, and the form has told already what stands where.
    return bool(
        phonenumbers.is_valid_number(phonenumbers.PhoneNumber(country_code=country, national_number=int(digits or 0)))
    )


def _find_international(text: str) -> Findings:
    place = 0
    while match := _INTERNATIONAL.search(text, place):
        end, confidence = _end_of_international(text, match)
        place = end or match.start("number")  # the digits of what is none may begin the next
        if end is not None:
            digits = text[match.start("number") : end]
            start = match.start() + (text[match.start()] == "(" and ")" not in digits)
            kind = "phone_jp" if re.match(r"8\D{0,3}1", digits) else "phone_intl"
            yield Finding(kind, start, end_of_extension(text, end), confidence)


def _end_of_international(text: str, match: re.Match[str]) -> tuple[int | None, float]:
    """The longest stretch a numbering plan knows; behind a plus sign a possible length is enough."""
    start = match.start("number")
    ends = [
        end
        for end in reversed(group_ends(text, start, match.end(), DIGITS_MAX))
        if count_digits(text[start:end]) >= _INTERNATIONAL_MIN and not text[end : end + 1].isdigit()
    ][:_ENDS_MAX]
    possible = None
    for end in ends:
        valid, is_possible = _judge("+" + text[start:end])
        if valid:
            return end, 0.99 if match["plus"] else 0.9
        if is_possible and possible is None and match["plus"]:
            possible = end
    return possible, 0.7


def _judge(number: str) -> tuple[bool, bool]:
    """Whether an international number is (valid, of a possible length)."""
    import phonenumbers  # noqa: PLC0415 - as above

    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return False, False
    return bool(phonenumbers.is_valid_number(parsed)), bool(phonenumbers.is_possible_number(parsed))
