"""The tool `recall`."""

import json
from hashlib import sha256
from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.memories import preview
from lyra_mcp.domain.moments import read_moment
from lyra_mcp.errors import Invalid
from lyra_mcp.operations import recalling
from lyra_mcp.operations.recalling import Recalled
from lyra_mcp.tools._cursors import read_cursor, write_cursor
from lyra_mcp.tools._shared import Answer, Call, Result, services
from schema.vocabulary import MemoryKind

TITLE = "Recall"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
QUERY_CHARS_MAX = 20_000
#: A cursor is a position and, above it, what was asked: it does not fit another question.
POSITION_BITS = 20


class HitView(Result):
    id: str
    kind: MemoryKind
    preview: str
    score: float
    why: str
    created_at: str
    rating: int | None
    uri: str


class RecallAnswer(Answer):
    hits: list[HitView]
    #: `ready`, or how many memories still wait for their vectors.
    index_state: str
    next_cursor: str | None = None
    degraded: bool | None = None
    degraded_reason: str | None = None


async def recall(
    call: Call,
    query: Annotated[str, Field(min_length=1, max_length=QUERY_CHARS_MAX)],
    kinds: list[MemoryKind] | None = None,
    limit: Annotated[int, Field(ge=1, le=50)] = 5,
    since: Annotated[str | None, Field(description="ISO date or time")] = None,
    until: Annotated[str | None, Field(description="likewise")] = None,
    min_rating: Annotated[int | None, Field(ge=1, le=5)] = None,
    topic: Annotated[str | None, Field(max_length=200)] = None,
    cursor: Annotated[str | None, Field(description="next_cursor")] = None,
) -> RecallAnswer:
    """Find what was remembered, by words and meaning, best first. Previews are quotations; memory://{id} has the whole.

    Example: recall(query="Where does Ann live?")
    """
    asked = _fingerprint(query, kinds, since, until, min_rating, topic)
    offset = _offset(cursor, asked)
    filters = Filters(
        kinds=kinds,
        since=None if since is None else read_moment("since", since, is_end=False),
        until=None if until is None else read_moment("until", until, is_end=True),
        min_rating=min_rating,
        topic=topic,
    )
    if filters.since and filters.until and filters.since > filters.until:
        raise Invalid("since is later than until; swap them and call recall again")
    recalled = await recalling.recall(services(call), query, filters=filters, limit=limit, offset=offset)
    end = offset + limit
    return RecallAnswer(
        hits=_views(recalled),
        index_state=recalled.index_state,
        next_cursor=write_cursor(asked << POSITION_BITS | end) if end < recalled.total else None,
        degraded=True if recalled.degraded_reason else None,
        degraded_reason=recalled.degraded_reason or None,
        next_step=_next_step(recalled),
    )


def _views(recalled: Recalled) -> list[HitView]:
    return [
        HitView(
            id=hit.memory.memory_id,
            kind=hit.memory.kind,
            preview=preview(hit.memory.text),
            score=round(hit.score, 4),
            why=hit.why,
            created_at=hit.memory.created_at,
            rating=hit.memory.rating,
            uri=f"memory://{hit.memory.memory_id}",
        )
        for hit in recalled.hits
    ]


def _next_step(recalled: Recalled) -> str:
    if recalled.hits:
        return ""
    if recalled.total:
        return "There are no more; ask another question."
    if recalled.degraded_reason:
        return "Nothing has these words, and meaning was not compared: ask again in some seconds, or in other words."
    return "Nothing was found; ask in other words, drop a filter, or remember(memory=...) something."


def _fingerprint(*asked: object) -> int:
    """40 bits."""
    return int.from_bytes(sha256(json.dumps(asked).encode()).digest()[:5])


def _offset(cursor: str | None, asked: int) -> int:
    position = read_cursor(cursor)
    if position is None:
        return 0
    if position >> POSITION_BITS != asked:
        raise Invalid("the cursor belongs to another question; leave it out, or repeat all other arguments")
    return position & ((1 << POSITION_BITS) - 1)
