"""Groups of digits with separators between them: where cards, telephone and identity numbers are looked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_RUN = re.compile(r"[+(]{0,2}[0-9]++(?:[ .()/-]{1,3}+[0-9]++)*+")
_GROUP = re.compile(r"[0-9]+")
#: Words that stand directly before a number without a space.
_GLUED = re.compile(r"(?:tel|fax|no|ssn|card|phone)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DigitRun:
    text: str
    #: (start, end) of each group of digits, in the text.
    groups: list[tuple[int, int]]

    def digits(self, first: int, last: int) -> str:
        return "".join(self.text[start:end] for start, end in self.groups[first : last + 1])

    def windows(self, first: int, digits_max: int) -> Iterator[tuple[int, int]]:
        """(last group, digits so far) of the stretches that begin with group `first`, shortest first."""
        total = 0
        for last in range(first, len(self.groups)):
            start, end = self.groups[last]
            total += end - start
            if total > digits_max:
                return
            yield last, total


def find_runs(text: str, digits_min: int) -> Iterator[DigitRun]:
    """Runs with so many digits at least; groups that belong to a word or a decimal are left out."""
    for match in _RUN.finditer(text):
        if match.end() - match.start() < digits_min:
            continue
        groups = [group.span() for group in _GROUP.finditer(text, match.start(), match.end())]
        if _belongs_to_what_is_before(text, match.start()):
            del groups[0]
        if groups and _belongs_to_what_follows(text, groups[-1][1]):
            del groups[-1]
        if sum(end - start for start, end in groups) >= digits_min:
            yield DigitRun(text, groups)


def _belongs_to_what_is_before(text: str, start: int) -> bool:
    before = text[max(0, start - 5) : start]
    if not before:
        return False
    if before[-1] == "," and before[-2:-1].isdigit():
        return True
    return before[-1].isascii() and (before[-1].isalnum() or before[-1] in "_$") and not _GLUED.search(before)


def _belongs_to_what_follows(text: str, end: int) -> bool:
    after = text[end : end + 2]
    if not after or not after[0].isascii():
        return False
    if after[0] in "xX" and after[1:].isdigit():
        return False  # an extension
    return after[0].isalnum() or after[0] in "_%" or (after[0] == "," and after[1:].isdigit())
