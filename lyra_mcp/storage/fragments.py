"""Fragments: pieces of text with the source they came from."""

from lyra_mcp.domain.evidence import Fragment
from lyra_mcp.storage.database import Transaction


async def find_fragment(tx: Transaction, *, text_digest: str, source_url: str) -> Fragment | None:
    cursor = await tx.execute(
        "SELECT fragment_id, text, text_digest, source_url, domain, page_id FROM fragments"
        " WHERE text_digest = ? AND source_url = ?",
        (text_digest, source_url),
    )
    row = await cursor.fetchone()
    return Fragment(*row) if row else None


async def insert_fragment(tx: Transaction, fragment: Fragment, *, created_at: str) -> None:
    await tx.execute(
        "INSERT INTO fragments (fragment_id, text, text_digest, source_url, domain, page_id, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            fragment.fragment_id,
            fragment.text,
            fragment.text_digest,
            fragment.source_url,
            fragment.domain,
            fragment.page_id,
            created_at,
        ),
    )
