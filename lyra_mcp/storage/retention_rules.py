"""How long memories of a kind are kept."""

from lyra_mcp.storage.database import Transaction
from schema.vocabulary import MemoryKind


async def list_rules(tx: Transaction) -> dict[MemoryKind, int]:
    """Days by kind; a kind without a rule is kept for ever."""
    cursor = await tx.execute("SELECT memory_kind, days FROM retention_rules ORDER BY memory_kind")
    return {row["memory_kind"]: row["days"] for row in await cursor.fetchall()}


async def set_rule(tx: Transaction, kind: MemoryKind, days: int | None, *, created_at: str) -> None:
    """None: keep for ever."""
    if days is None:
        await tx.execute("DELETE FROM retention_rules WHERE memory_kind = ?", (kind,))
    else:
        await tx.execute("INSERT OR REPLACE INTO retention_rules VALUES (?, ?, ?)", (kind, days, created_at))
