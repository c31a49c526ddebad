"""Private data in a text: find it, put tags in its place. What becomes of such a text is decided by the mode."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import Literal

from lyra_mcp.domain.detectors.findings import Finding
from lyra_mcp.domain.detectors.folding import fold
from lyra_mcp.domain.detectors.user_patterns import UserPattern, find_own

__all__ = ["TYPES", "Finding", "RedactionMode", "UserPattern", "find", "is_safe", "merge", "redact"]

#: What becomes of a text with private data: tags in its place, left out, or left out and shown to the person.
RedactionMode = Literal["redact", "exclude", "quarantine"]

#: The most specific first: of two findings of one length the earlier type wins.
TYPES = (
    "private_key",
    "api_key",
    "email",
    "iban",
    "my_number",
    "ssn",
    "credit_card",
    "ip_address",
    "phone_jp",
    "phone_intl",
)
_RANKS = {name: rank for rank, name in enumerate(TYPES)}
#: What else could find private data in a text, such as names and addresses.
Detector = Callable[[str], Iterable[Finding]]


def find(text: str, patterns: Sequence[UserPattern] = (), detectors: Sequence[Detector] = ()) -> tuple[Finding, ...]:
    """In order and without overlaps; offsets are code points of `text`.

    Raises:
        Invalid: a pattern does not compile.
    """
    # Forty patterns to compile: the first text waits for them, not every start of the server.
    from lyra_mcp.domain.detectors.built_in import find_built_in  # noqa: PLC0415 - see above

    folded = fold(text)
    found = list(find_built_in(folded))
    for pattern in patterns:
        found += find_own(pattern, text)
        if folded != text:
            found += find_own(pattern, folded)
    for detector in detectors:
        found += detector(text)
    return merge(found)


def merge(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Without overlaps: the longest wins, then the most specific; what it leaves uncovered of another stays found."""
    by_start = sorted(found, key=lambda finding: finding.start)
    bounds = sorted({bound for finding in by_start for bound in (finding.start, finding.end)})
    owners: list[tuple[tuple[int, int, float], int]] = []  # a heap of (precedence, place in by_start)
    pieces: list[Finding] = []
    upcoming = 0
    for start, end in pairwise(bounds):
        while upcoming < len(by_start) and by_start[upcoming].start <= start:
            heappush(owners, (_precedence(by_start[upcoming]), upcoming))
            upcoming += 1
        while owners and by_start[owners[0][1]].end <= start:
            heappop(owners)
        if not owners:
            continue
        owner = by_start[owners[0][1]]
        if pieces and pieces[-1].end == start and owner.start < start and pieces[-1].type == owner.type:
            start = pieces.pop().start  # noqa: PLW2901 - one finding, not one for each bound inside it
        pieces.append(replace(owner, start=start, end=end))
    return tuple(pieces)


def redact(text: str, findings: Iterable[Finding]) -> str:
    """The text with `[REDACTED_TYPE]` in the place of each finding; they must not overlap."""
    parts = []
    done = 0
    for finding in sorted(findings, key=lambda finding: finding.start):
        assert done <= finding.start < finding.end <= len(text)
        parts += [text[done : finding.start], tag(finding.type)]
        done = finding.end
    return "".join([*parts, text[done:]])


def tag(type_: str) -> str:
    return f"[REDACTED_{type_.upper()}]"


def is_safe(*values: object, patterns: Sequence[UserPattern] = (), detectors: Sequence[Detector] = ()) -> bool:
    """Whether nothing private stands in any text of these values: texts, numbers, and lists and mappings of them.

    Raises:
        Invalid: a pattern does not compile.
    """
    return not any(find(text, patterns, detectors) for text in texts_of(*values))


def texts_of(*values: object) -> Iterator[str]:
    """Every text in them, keys of mappings and numbers too."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, str):
            yield value
        elif isinstance(value, bytes):
            yield value.decode(errors="replace")
        elif isinstance(value, Iterable):
            waiting += list(value)
        elif value is not None and not isinstance(value, bool):
            yield str(value)


def _precedence(finding: Finding) -> tuple[int, int, float]:
    return finding.start - finding.end, _RANKS.get(finding.type, len(TYPES)), -finding.confidence
