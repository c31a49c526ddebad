"""The two arms of recall: BM25 over words and cosine over vectors, each with the filters inside."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.fusion import Candidate
from lyra_mcp.storage.database import Transaction, first_value
from lyra_mcp.storage.memory_index import Encoder

#: Rows that BM25 is computed for; beyond it common words are left out, then old memories.
RANKED_MAX = 3_000
#: Of each arm.
HITS_MAX = 200
#: The first pass by bits hands so many parts to the exact one; measured in docs/experiments.md.
FIRST_PASS_MAX = 800
#: Who speaks stands before the first colon.
_OPENING_CHARS = 80
_SPEAKER = re.compile(r"\s*([^\s:][^:\n]{0,39}?)\s*:\s")


def _condition(filters: Filters) -> tuple[str, list[object]]:
    """A condition on `memories`, and its values; empty when anything is asked for."""
    kinds = json.dumps(list(filters.kinds)) if filters.kinds else None
    asked: list[tuple[str, object]] = [
        ("kind IN (SELECT value FROM json_each(?))", kinds),
        ("created_at >= ?", filters.since),
        ("created_at <= ?", filters.until),
        ("topic = ?", filters.topic),
        ("memory_id IN (SELECT memory_id FROM conversations WHERE rating >= ?)", filters.min_rating),
    ]
    given = [(condition, value) for condition, value in asked if value is not None]
    return " AND ".join(condition for condition, _ in given), [value for _, value in given]


async def search_words(tx: Transaction, expressions: Sequence[str], filters: Filters) -> dict[int, float]:
    """BM25 of the memories in which any of the expressions occurs, by seq; larger is better.

    `expressions`: FTS5 expressions of one word each.
    """
    telling = await _telling(tx, expressions)
    if not telling:
        return {}
    condition, values = _condition(filters)
    inside = f" AND rowid IN (SELECT seq FROM memories WHERE {condition})" if condition else ""  # noqa: S608 - our own conditions
    cursor = await tx.execute(
        "SELECT seq, score FROM (SELECT rowid AS seq, -bm25(memory_words) AS score FROM memory_words"  # noqa: S608 - likewise
        f" WHERE memory_words MATCH ?{inside} ORDER BY rowid DESC LIMIT {RANKED_MAX}) ORDER BY score DESC LIMIT ?",
        (" OR ".join(telling), *values, HITS_MAX),
    )
    return {row["seq"]: row["score"] for row in await cursor.fetchall()}


async def _telling(tx: Transaction, expressions: Sequence[str]) -> list[str]:
    """The rarest ones, so many that the memories that have them can be ranked in time."""
    if not expressions:
        return []
    counted = f"(SELECT count(*) FROM (SELECT 1 FROM memory_words WHERE memory_words MATCH ? LIMIT {RANKED_MAX + 1}))"  # noqa: S608 - our own number
    cursor = await tx.execute(f"SELECT {', '.join([counted] * len(expressions))}", tuple(expressions))
    row = await cursor.fetchone()
    assert row is not None
    counts = sorted((count, at) for at, count in enumerate(row) if count)
    telling: list[str] = []
    total = 0
    for count, at in counts:
        total += count
        if telling and total > RANKED_MAX:
            break
        telling.append(expressions[at])
    return telling


async def search_vectors(tx: Transaction, encoder: Encoder, vector: bytes, filters: Filters) -> dict[int, float]:
    """Cosine of each memory's nearest part, by seq; larger is better.

    The first pass compares bits; what it finds is scored exactly.
    """
    condition, values = _condition(filters)
    inside = f" AND memory_seq IN (SELECT seq FROM memories WHERE {condition})" if condition else ""  # noqa: S608 - our own conditions
    cursor = await tx.execute(
        "WITH first AS MATERIALIZED (SELECT memory_seq, part FROM memory_bits"  # noqa: S608 - likewise
        f" WHERE encoder = ?{inside}"
        f" ORDER BY vec_distance_hamming(vec_bit(bits), vec_quantize_binary(?)) LIMIT {FIRST_PASS_MAX})"
        " SELECT f.memory_seq AS seq, max(1 - vec_distance_cosine(v.vector, ?)) AS score FROM first f"
        " CROSS JOIN memory_vectors v ON v.encoder = ? AND v.memory_seq = f.memory_seq AND v.part = f.part"
        " GROUP BY f.memory_seq ORDER BY score DESC LIMIT ?",
        (encoder.number, *values, vector, vector, encoder.number, HITS_MAX),
    )
    return {row["seq"]: row["score"] for row in await cursor.fetchall()}


async def list_candidates(tx: Transaction, seqs: Iterable[int], filters: Filters) -> list[Candidate]:
    """What is ranked: memories that still count and pass the filters, oldest first."""
    condition, values = _condition(filters)
    cursor = await tx.execute(
        "SELECT m.seq, m.kind, m.topic, m.created_at, m.memory_id,"  # noqa: S608 - only our own conditions
        f" substr(m.text, 1, {_OPENING_CHARS}) AS opening,"
        " (SELECT rating FROM conversations c WHERE c.memory_id = m.memory_id) AS rating"
        " FROM memories m WHERE m.seq IN (SELECT value FROM json_each(?)) AND m.superseded_by IS NULL"
        f"{' AND ' + condition if condition else ''} ORDER BY m.seq",
        (json.dumps(list(seqs)), *values),
    )
    return [
        Candidate(row["seq"], row["kind"], row["topic"], row["created_at"], _speaker(row["opening"]), row["rating"])
        for row in await cursor.fetchall()
    ]


def _speaker(opening: str) -> str | None:
    found = _SPEAKER.match(opening)
    return found[1] if found else None


async def is_any(tx: Transaction, filters: Filters) -> bool:
    """Whether a memory that still counts passes the filters."""
    condition, values = _condition(filters)
    where = f"superseded_by IS NULL{' AND ' + condition if condition else ''}"
    cursor = await tx.execute(f"SELECT EXISTS (SELECT 1 FROM memories m WHERE {where})", tuple(values))  # noqa: S608 - our own conditions
    return bool(await first_value(cursor))


@dataclass(frozen=True, slots=True)
class Listed:
    seqs: list[int]
    total: int


async def list_newest(tx: Transaction, filters: Filters, *, limit: int, offset: int) -> Listed:
    """Memories that still count and pass the filters, newest first."""
    condition, values = _condition(filters)
    where = f"superseded_by IS NULL{' AND ' + condition if condition else ''}"
    cursor = await tx.execute(f"SELECT count(*) FROM memories m WHERE {where}", tuple(values))  # noqa: S608 - our own conditions
    total = int(await first_value(cursor))
    cursor = await tx.execute(
        f"SELECT seq FROM memories m WHERE {where} ORDER BY seq DESC LIMIT ? OFFSET ?",  # noqa: S608 - likewise
        (*values, limit, offset),
    )
    return Listed([row["seq"] for row in await cursor.fetchall()], total)
