"""Groups of digits with separators between them, as far as they go: what words beside them say holds for the whole."""

import re
from collections.abc import Iterator

_RUN = re.compile(r"[+(]{0,2}[0-9]++(?:[ .()/-]{1,3}+[0-9]++)*+")
_GROUP = re.compile(r"[0-9]+")
#: Words that stand directly before a number without a space.
GLUED = re.compile(r"(?:tel|fax|no|ssn|card|phone)\Z", re.IGNORECASE)


def find_runs(text: str, digits_min: int) -> Iterator[tuple[int, int]]:
    """(start, end) of runs that have so many digits at least; groups of a word or a decimal are left out."""
    for match in _RUN.finditer(text):
        start, end = match.span()
        if end - start < digits_min:
            continue
        if _belongs_to_what_is_before(text, start):
            second = _GROUP.search(text, _end_of_group(text, start), end)
            if second is None:
                continue
            start = second.start()
        if _belongs_to_what_follows(text, end):
            end = _end_of_last_group_but_one(text, start, end)
        if end - start >= digits_min and count_digits(text[start:end]) >= digits_min:
            yield start, end


def count_digits(text: str) -> int:
    return sum(map(text.count, "0123456789"))


def group_ends(text: str, start: int, end: int, digits_max: int) -> list[int]:
    """Where the groups end, as long as they hold so many digits together."""
    ends, total = [], 0
    for group in _GROUP.finditer(text, start, end):
        total += len(group[0])
        if total > digits_max:
            break
        ends.append(group.end())
    return ends


def _end_of_group(text: str, start: int) -> int:
    group = _GROUP.search(text, start)
    assert group is not None
    return group.end()


def _end_of_last_group_but_one(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1].isdigit():
        end -= 1
    while end > start and not text[end - 1].isdigit():
        end -= 1
    return end


def _belongs_to_what_is_before(text: str, start: int) -> bool:
    before = text[max(0, start - 5) : start]
    if not before:
        return False
    if before[-1] == "," and before[-2:-1].isdigit():
        return True
    return before[-1].isascii() and (before[-1].isalnum() or before[-1] in "_$") and not GLUED.search(before)


def _belongs_to_what_follows(text: str, end: int) -> bool:
    after = text[end : end + 2]
    if not after or not after[0].isascii():
        return False
    if after[0] in "xX" and after[1:].isdigit():
        return False  # an extension
    return after[0].isalnum() or after[0] in "_%" or (after[0] == "," and after[1:].isdigit())
