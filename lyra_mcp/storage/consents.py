"""What the person agreed to: every word of it, the newest of a purpose holds."""

from lyra_mcp.domain.consents import ConsentEvent
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import Purpose


async def insert_event(tx: Transaction, event: ConsentEvent) -> None:
    await tx.execute(
        "INSERT INTO consent_events (purpose, provider, granted, reason, created_at) VALUES (?, ?, ?, ?, ?)",
        (event.purpose, event.provider, int(event.granted), event.reason, event.created_at),
    )


async def find_standing(tx: Transaction, purpose: Purpose, provider: str = "") -> ConsentEvent | None:
    """The event that holds; None where the person was never asked."""
    cursor = await tx.execute(
        "SELECT purpose, provider, granted, reason, created_at FROM consent_events"
        " WHERE purpose = ? AND provider = ? ORDER BY seq DESC LIMIT 1",
        (purpose, provider),
    )
    row = await cursor.fetchone()
    return ConsentEvent(row[0], row[1], bool(row[2]), row[3], row[4]) if row else None


async def list_standing(tx: Transaction) -> list[ConsentEvent]:
    """The event that holds for each purpose and provider that was ever asked about."""
    cursor = await tx.execute(
        "SELECT purpose, provider, granted, reason, created_at FROM consent_events WHERE seq IN"
        " (SELECT max(seq) FROM consent_events GROUP BY purpose, provider) ORDER BY purpose, provider"
    )
    return [ConsentEvent(row[0], row[1], bool(row[2]), row[3], row[4]) for row in await cursor.fetchall()]
