"""Memories that may say the same as a new one, found by digest and by sketch."""

from collections.abc import Sequence

from lyra_mcp.storage.database import Transaction
from schema.vocabulary import MemoryKind

#: Of memories that share one hash: boilerplate must not make writing slow.
SHARING_MAX = 50


async def insert_sketch(tx: Transaction, seq: int, hashes: Sequence[int]) -> None:
    await tx.executemany(
        "INSERT OR IGNORE INTO memory_sketches (hash, memory_seq) VALUES (?, ?)", [(one, seq) for one in hashes]
    )


async def find_same(tx: Transaction, text_digest: str, *, limit: int) -> list[str]:
    """Ids of memories that still count and have this digest, newest first."""
    rows = await tx.execute_fetchall(
        "SELECT memory_id FROM memories WHERE text_digest = ? AND superseded_by IS NULL ORDER BY seq DESC LIMIT ?",
        (text_digest, limit),
    )
    return [row["memory_id"] for row in rows]


async def find_near(tx: Transaction, kind: MemoryKind, hashes: Sequence[int], *, limit: int) -> list[tuple[str, str]]:
    """(id, text) of those that still count among the memories that share the most hashes, then the newest."""
    if not hashes:
        return []
    sharing = "SELECT * FROM (SELECT memory_seq FROM memory_sketches WHERE hash = ? ORDER BY memory_seq DESC LIMIT ?)"
    values = [value for one in hashes for value in (one, SHARING_MAX)]
    rows = await tx.execute_fetchall(
        "WITH nearest AS (SELECT memory_seq, count(*) AS shared FROM"  # noqa: S608 - only our own text for each hash
        f" ({' UNION ALL '.join([sharing] * len(hashes))})"
        " GROUP BY memory_seq ORDER BY shared DESC, memory_seq DESC LIMIT ?)"
        " SELECT m.memory_id, m.text FROM nearest JOIN memories m ON m.seq = memory_seq"
        " WHERE m.kind = ? AND m.superseded_by IS NULL ORDER BY shared DESC, m.seq DESC",
        (*values, limit, kind),
    )
    return [(row["memory_id"], row["text"]) for row in rows]
