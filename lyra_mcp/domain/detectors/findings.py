"""What a detector reports: which kind of private data, where, and how sure it is."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    #: In lower case; the tag is `[REDACTED_TYPE]`.
    type: str
    #: Code points of the original text, end exclusive.
    start: int
    end: int
    #: In (0, 1]: how rarely such a text is something else.
    confidence: float


Findings = Iterator[Finding]
