"""Whether the audit can be believed."""

from lyra_mcp.domain.audit import Entry, Verdict, verify
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log


async def check(services: Services) -> tuple[Verdict, list[Entry]]:
    """Follow the chain to its end, and compare it with the head beside the database; the entries, oldest first."""
    async with services.database.transaction() as tx:
        entries = await audit_log.list_entries(tx)
        key = tx.audit_key
        head = services.database.head_file.read()
    return verify(key, entries, head), entries
