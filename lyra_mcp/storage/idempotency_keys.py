"""Repeated writes: the first result, kept with what was asked."""

from dataclasses import dataclass

from lyra_mcp.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class KeptResult:
    request_digest: str
    result: str


async def find_result(tx: Transaction, tool: str, key: str) -> KeptResult | None:
    cursor = await tx.execute(
        "SELECT request_digest, result FROM idempotency_keys WHERE tool = ? AND idempotency_key = ?", (tool, key)
    )
    row = await cursor.fetchone()
    return KeptResult(*row) if row else None


async def insert_result(tx: Transaction, tool: str, key: str, kept: KeptResult, *, created_at: str) -> None:
    await tx.execute(
        "INSERT INTO idempotency_keys (tool, idempotency_key, request_digest, result, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (tool, key, kept.request_digest, kept.result, created_at),
    )


async def delete_result(tx: Transaction, tool: str, key: str) -> None:
    await tx.execute("DELETE FROM idempotency_keys WHERE tool = ? AND idempotency_key = ?", (tool, key))
