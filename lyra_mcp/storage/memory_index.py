"""The search index over memories: words at once, vectors when the worker has made them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lyra_mcp.domain.words import index_words
from lyra_mcp.storage.database import Transaction, first_value


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes vectors; those of another fingerprint are not comparable."""

    number: int
    fingerprint: str
    model: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A memory that waits for its vectors."""

    seq: int
    memory_id: str
    text: str


@dataclass(frozen=True, slots=True)
class PartVector:
    seq: int
    part: int
    #: (D,) float32, little endian, of unit length.
    vector: bytes


# Writing


async def add_words(tx: Transaction, seq: int, text: str) -> None:
    """Make a memory findable by its words; its vectors follow in the background."""
    await tx.execute("INSERT INTO memory_words (rowid, words) VALUES (?, ?)", (seq, index_words(text)))
    await tx.execute("INSERT OR IGNORE INTO memories_waiting (memory_seq) VALUES (?)", (seq,))


async def remove(tx: Transaction, seqs: Iterable[int]) -> None:
    """Let memories not be found any more: before they are deleted, and when newer ones supersede them."""
    gone = json.dumps(list(seqs))
    for table, column in (
        ("memory_words", "rowid"),
        ("memories_waiting", "memory_seq"),
        ("memory_bits", "memory_seq"),
        ("memory_vectors", "memory_seq"),
    ):
        await tx.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", (gone,))  # noqa: S608 - our own names


async def purge(tx: Transaction) -> None:
    """Rewrite the words without those of removed memories: until then FTS5 only marks them as gone."""
    await tx.execute("INSERT INTO memory_words (memory_words) VALUES ('optimize')")


# Vectors


async def find_serving_encoder(tx: Transaction) -> Encoder | None:
    cursor = await tx.execute("SELECT * FROM encoders WHERE serves = 1")
    row = await cursor.fetchone()
    return Encoder(row["encoder"], row["fingerprint"], row["model"]) if row else None


async def serve(tx: Transaction, *, fingerprint: str, model: str, dimension: int) -> Encoder:
    """The encoder that answers from now on; where it is another one, every memory it has not read waits for it."""
    before = await find_serving_encoder(tx)
    if before is not None and before.fingerprint == fingerprint:
        return before
    await tx.execute(
        "INSERT INTO encoders (fingerprint, model, dimension) VALUES (?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING",
        (fingerprint, model, dimension),
    )
    await tx.execute("UPDATE encoders SET serves = 0 WHERE serves = 1")
    await tx.execute("UPDATE encoders SET serves = 1 WHERE fingerprint = ?", (fingerprint,))
    encoder = await find_serving_encoder(tx)
    assert encoder is not None
    await tx.execute(
        "INSERT OR IGNORE INTO memories_waiting (memory_seq) SELECT seq FROM memories WHERE superseded_by IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM memory_bits WHERE encoder = ? AND memory_seq = seq)",
        (encoder.number,),
    )
    return encoder


async def list_waiting(tx: Transaction, *, limit: int) -> list[Waiting]:
    """Newest first: what was just said is asked for first."""
    cursor = await tx.execute(
        "SELECT seq, memory_id, text FROM memories_waiting JOIN memories ON seq = memory_seq"
        " ORDER BY memory_seq DESC LIMIT ?",
        (limit,),
    )
    return [Waiting(row["seq"], row["memory_id"], row["text"]) for row in await cursor.fetchall()]


async def stop_waiting(tx: Transaction, seq: int) -> None:
    """Of a memory that the serving encoder cannot read; one that serves later is asked for it anew."""
    await tx.execute("DELETE FROM memories_waiting WHERE memory_seq = ?", (seq,))


async def insert_vectors(tx: Transaction, encoder: Encoder, vectors: Sequence[PartVector]) -> None:
    """Keep what waited; a memory that does not wait any more (forgotten, superseded) is left out."""
    cursor = await tx.execute(
        "SELECT memory_seq FROM memories_waiting WHERE memory_seq IN (SELECT value FROM json_each(?))",
        (json.dumps([one.seq for one in vectors]),),
    )
    waiting = {row["memory_seq"] for row in await cursor.fetchall()}
    known = [one for one in vectors if one.seq in waiting]
    await tx.executemany(
        "INSERT OR REPLACE INTO memory_bits (encoder, memory_seq, part, bits) VALUES (?, ?, ?, vec_quantize_binary(?))",
        [(encoder.number, one.seq, one.part, one.vector) for one in known],
    )
    await tx.executemany(
        "INSERT OR REPLACE INTO memory_vectors (encoder, memory_seq, part, vector) VALUES (?, ?, ?, ?)",
        [(encoder.number, one.seq, one.part, one.vector) for one in known],
    )
    await tx.executemany("DELETE FROM memories_waiting WHERE memory_seq = ?", [(seq,) for seq in waiting])


async def count_waiting(tx: Transaction) -> int:
    return int(await first_value(await tx.execute("SELECT count(*) FROM memories_waiting")))


async def count_findable(tx: Transaction) -> int:
    """Memories that are not superseded."""
    return int(
        await first_value(
            await tx.execute(
                "SELECT (SELECT count(*) FROM memories) - "
                "(SELECT count(*) FROM memories WHERE superseded_by IS NOT NULL)"
            )
        )
    )
