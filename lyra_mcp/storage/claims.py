"""Claims: what somebody says is so."""

from collections.abc import Sequence

from lyra_mcp.domain.evidence import Claim
from lyra_mcp.storage.database import Row, Transaction, first_value
from schema.vocabulary import ClaimStatus, SourceType


def _claim(row: Row) -> Claim:
    return Claim(row["seq"], row["claim_id"], row["text"], row["status"], row["created_at"])


async def find_claim(tx: Transaction, claim_id: str) -> Claim | None:
    cursor = await tx.execute("SELECT * FROM claims WHERE claim_id = ?", (claim_id,))
    row = await cursor.fetchone()
    return _claim(row) if row else None


async def find_claim_by_text(tx: Transaction, text_digest: str) -> Claim | None:
    cursor = await tx.execute("SELECT * FROM claims WHERE text_digest = ?", (text_digest,))
    row = await cursor.fetchone()
    return _claim(row) if row else None


async def insert_claim(tx: Transaction, *, claim_id: str, text: str, text_digest: str, created_at: str) -> None:
    await tx.execute(
        "INSERT INTO claims (claim_id, text, text_digest, created_at) VALUES (?, ?, ?, ?)",
        (claim_id, text, text_digest, created_at),
    )


async def update_status(
    tx: Transaction,
    claim_id: str,
    status: ClaimStatus,
    *,
    reason: str | None,
    source_type: SourceType,
    created_at: str,
) -> None:
    await tx.execute("UPDATE claims SET status = ? WHERE claim_id = ?", (status, claim_id))
    await tx.execute(
        "INSERT INTO claim_events (claim_id, status, reason, source_type, created_at) VALUES (?, ?, ?, ?, ?)",
        (claim_id, status, reason, source_type, created_at),
    )


async def list_claims(
    tx: Transaction, *, words: Sequence[str], include_rejected: bool, before_seq: int | None, limit: int
) -> list[Claim]:
    """Newest first; every word must occur in the text."""
    conditions = ["instr(lower(text), lower(?)) > 0"] * len(words)
    parameters: list[object] = list(words)
    if not include_rejected:
        conditions.append("status = 'adopted'")
    if before_seq is not None:
        conditions.append("seq < ?")
        parameters.append(before_seq)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    cursor = await tx.execute(
        f"SELECT * FROM claims {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - only our own conditions
        (*parameters, limit),
    )
    return [_claim(row) for row in await cursor.fetchall()]


async def count_claims(tx: Transaction) -> int:
    cursor = await tx.execute("SELECT count(*) FROM claims")
    return int(await first_value(cursor))
