"""Ratings of conversations, and how many are ready for a training."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from lyra_mcp.storage.database import Transaction

#: From this rating on an exchange is worth learning from.
HIGH_RATING_MIN = 4


@dataclass(frozen=True, slots=True)
class ConversationStats:
    total: int
    rated: int
    high_rated: int
    #: High rated and not yet used by a training.
    ready_for_ft: int


async def insert_rating(tx: Transaction, memory_id: str, rating: int, *, comment: str | None, created_at: str) -> None:
    """The last rating counts, all are kept."""
    await tx.execute(
        "UPDATE conversations SET rating = ?, comment = ?, rated_at = ? WHERE memory_id = ?",
        (rating, comment, created_at, memory_id),
    )
    await tx.execute(
        "INSERT INTO rating_events (memory_id, rating, comment, created_at) VALUES (?, ?, ?, ?)",
        (memory_id, rating, comment, created_at),
    )


async def mark_used(tx: Transaction, memory_ids: Iterable[str], *, used: bool = True) -> None:
    """What a training consumed; `used=False` gives back what a failed one had taken."""
    await tx.execute(
        "UPDATE conversations SET used_for_training = ? WHERE memory_id IN (SELECT value FROM json_each(?))",
        (used, json.dumps(list(memory_ids))),
    )


async def count(tx: Transaction, *, high_rating_min: int = HIGH_RATING_MIN) -> ConversationStats:
    cursor = await tx.execute(
        "SELECT count(*), count(rating), count(*) FILTER (WHERE rating >= :high),"
        " count(*) FILTER (WHERE rating >= :high AND used_for_training = 0) FROM conversations",
        {"high": high_rating_min},
    )
    row = await cursor.fetchone()
    assert row is not None, "an aggregate always has a row"
    return ConversationStats(*row)
