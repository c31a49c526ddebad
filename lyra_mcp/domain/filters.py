"""What a memory must be to be recalled."""

from collections.abc import Sequence
from dataclasses import dataclass

from schema.vocabulary import MemoryKind


@dataclass(frozen=True, slots=True)
class Filters:
    """None: anything."""

    kinds: Sequence[MemoryKind] | None = None
    #: As `Services.now` writes times, both inclusive.
    since: str | None = None
    until: str | None = None
    min_rating: int | None = None
    topic: str | None = None
