"""The search index over memories: words at once, vectors when the worker has made them."""

from collections.abc import Sequence
from dataclasses import dataclass

from lyra_mcp.domain.words import index_words
from lyra_mcp.storage.database import Transaction


async def add_words(tx: Transaction, seq: int, text: str) -> None:
    """Make a memory findable by its words; its vector follows in the background."""
    await tx.execute("INSERT INTO memory_words (rowid, words) VALUES (?, ?)", (seq, index_words(text)))


async def remove(tx: Transaction, seqs: Sequence[int]) -> None:
    """Let memories not be found any more: before they are deleted, and when newer ones supersede them."""
    for seq in seqs:
        await tx.execute("DELETE FROM memory_words WHERE rowid = ?", (seq,))
        await tx.execute("DELETE FROM memory_bits WHERE memory_seq = ?", (seq,))
        await tx.execute("DELETE FROM memory_vectors WHERE memory_seq = ?", (seq,))


@dataclass(frozen=True, slots=True)
class Encoder:
    """What makes vectors; those of another fingerprint are not comparable."""

    number: int
    fingerprint: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Unindexed:
    """A memory that waits for its vector."""

    seq: int
    text: str


async def upsert_encoder(tx: Transaction, *, fingerprint: str, model: str, dimension: int) -> Encoder:
    await tx.execute(
        "INSERT INTO encoders (fingerprint, model, dimension) VALUES (?, ?, ?) ON CONFLICT (fingerprint) DO NOTHING",
        (fingerprint, model, dimension),
    )
    encoder = await find_encoder(tx, fingerprint)
    assert encoder is not None
    return encoder


async def find_encoder(tx: Transaction, fingerprint: str) -> Encoder | None:
    cursor = await tx.execute("SELECT * FROM encoders WHERE fingerprint = ?", (fingerprint,))
    row = await cursor.fetchone()
    return Encoder(row["encoder"], row["fingerprint"], row["dimension"]) if row else None


async def find_last_encoder(tx: Transaction) -> Encoder | None:
    """The newest one: which serves now only the worker's next answer says."""
    cursor = await tx.execute("SELECT * FROM encoders ORDER BY encoder DESC LIMIT 1")
    row = await cursor.fetchone()
    return Encoder(row["encoder"], row["fingerprint"], row["dimension"]) if row else None


async def list_pending(tx: Transaction, encoder: Encoder | None, *, limit: int) -> list[Unindexed]:
    """Memories without a vector of this encoder, newest first; all of them where the encoder is new."""
    number = encoder.number if encoder else None
    cursor = await tx.execute(
        "SELECT seq, text FROM memories WHERE superseded_by IS NULL AND NOT EXISTS ("
        "SELECT 1 FROM memory_bits WHERE encoder = ? AND memory_seq = seq) ORDER BY seq DESC LIMIT ?",
        (number, limit),
    )
    return [Unindexed(row["seq"], row["text"]) for row in await cursor.fetchall()]


async def insert_vectors(tx: Transaction, encoder: Encoder, vectors: Sequence[tuple[int, bytes]]) -> None:
    """Store (seq, (D,) float32 little endian of unit length); a memory that has gone meanwhile is left out."""
    for seq, vector in vectors:
        known = "SELECT ?, seq, {} FROM memories WHERE seq = ? AND superseded_by IS NULL"
        await tx.execute(
            f"INSERT OR IGNORE INTO memory_bits {known.format('vec_quantize_binary(?)')}",
            (encoder.number, vector, seq),
        )
        await tx.execute(
            f"INSERT OR IGNORE INTO memory_vectors {known.format('?')}",
            (encoder.number, vector, seq),
        )
