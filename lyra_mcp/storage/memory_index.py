"""The search index over memories: words at once."""

from collections.abc import Sequence

from lyra_mcp.storage.database import Transaction


async def add_words(tx: Transaction, seq: int, text: str) -> None:
    """Make a memory findable by its words."""
    await tx.execute("INSERT INTO memory_words (rowid, words) VALUES (?, ?)", (seq, text))


async def remove(tx: Transaction, seqs: Sequence[int]) -> None:
    """Let memories not be found any more: before they are deleted, and when newer ones supersede them."""
    for seq in seqs:
        await tx.execute("DELETE FROM memory_words WHERE rowid = ?", (seq,))
