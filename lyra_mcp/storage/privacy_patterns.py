"""The person's own patterns of what is private; another's lie in another database."""

from lyra_mcp.domain.redaction import UserPattern
from lyra_mcp.storage.database import Transaction


async def list_patterns(tx: Transaction) -> list[UserPattern]:
    cursor = await tx.execute("SELECT name, pattern FROM privacy_patterns ORDER BY name")
    return [UserPattern(row["name"], row["pattern"]) for row in await cursor.fetchall()]


async def put_pattern(tx: Transaction, pattern: UserPattern, *, created_at: str) -> None:
    """Insert it, or replace the one of that name."""
    await tx.execute(
        "INSERT INTO privacy_patterns (name, pattern, created_at) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET pattern = excluded.pattern, created_at = excluded.created_at",
        (pattern.name, pattern.pattern, created_at),
    )


async def delete_pattern(tx: Transaction, name: str) -> bool:
    """Whether there was one."""
    cursor = await tx.execute("DELETE FROM privacy_patterns WHERE name = ?", (name,))
    return cursor.rowcount > 0
