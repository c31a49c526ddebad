"""What was done with a person's data: appended in the transaction that does it, never changed."""

from lyra_mcp.domain import audit
from lyra_mcp.domain.audit import Detail, Entry, Event, Head
from lyra_mcp.storage.connections import Transaction


async def append(tx: Transaction, event: Event, actor: str, detail: Detail, *, created_at: str) -> None:
    """Record an event of ids and counts. When the transaction ends, the new head is written beside the database."""
    cursor = await tx.execute("SELECT seq, mac FROM audit_log ORDER BY seq DESC LIMIT 1")
    last = await cursor.fetchone()
    seq, previous = (last["seq"] + 1, last["mac"]) if last else (1, audit.GENESIS)
    text = audit.dump_detail(detail)
    mac = audit.seal(tx.audit_key, previous, seq=seq, event=event, actor=actor, detail=text, created_at=created_at)
    await tx.execute(
        "INSERT INTO audit_log (seq, event, actor, detail, created_at, mac) VALUES (?, ?, ?, ?, ?, ?)",
        (seq, event, actor, text, created_at, mac),
    )
    tx.audit_head = Head(seq, mac)


async def list_entries(tx: Transaction) -> list[Entry]:
    """Oldest first."""
    cursor = await tx.execute("SELECT seq, event, actor, detail, created_at, mac FROM audit_log ORDER BY seq")
    return [Entry(*row) for row in await cursor.fetchall()]
