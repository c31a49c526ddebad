"""Conversations as they go to and come from files: in order, page by page, and whether one is there already."""

import json
from collections.abc import Iterator

from lyra_mcp.domain.exchanges import Exchange
from lyra_mcp.domain.memories import Message
from lyra_mcp.storage.database import Row, Transaction

_SELECT = "SELECT m.seq, m.created_at, c.* FROM memories m JOIN conversations c USING (memory_id)"


def _exchange(row: Row) -> Exchange:
    return Exchange(
        messages=tuple(Message(message["role"], message["content"]) for message in json.loads(row["messages"])),
        response=row["response"],
        model=row["model"],
        rating=row["rating"],
        comment=row["comment"],
        metadata=json.loads(row["metadata"]),
        created_at=row["created_at"],
    )


async def list_exchanges(tx: Transaction, *, after_seq: int, limit: int) -> list[tuple[int, Exchange]]:
    """With their seq, in the order they were stored."""
    cursor = await tx.execute(f"{_SELECT} WHERE m.seq > ? ORDER BY m.seq LIMIT ?", (after_seq, limit))
    return [(row["seq"], _exchange(row)) for row in await cursor.fetchall()]


async def find_exchanges(tx: Transaction, memory_ids: list[str]) -> dict[str, Exchange]:
    statement = f"{_SELECT} WHERE m.memory_id IN (SELECT value FROM json_each(?))"  # noqa: S608 - only our own text
    cursor = await tx.execute(statement, (json.dumps(memory_ids),))
    return {row["memory_id"]: _exchange(row) for row in await cursor.fetchall()}


async def find_by_digest(tx: Transaction, text_digest: str) -> Iterator[Exchange]:
    """Those whose text is the same but for case and white space."""
    cursor = await tx.execute(f"{_SELECT} WHERE m.text_digest = ?", (text_digest,))
    return map(_exchange, await cursor.fetchall())
