"""Rules that block or unblock a domain, and the append-only record of how they came about."""

from dataclasses import dataclass

from lyra_mcp.storage.database import Transaction
from schema.vocabulary import DomainDecision, SourceType


@dataclass(frozen=True, slots=True)
class DomainRule:
    seq: int
    rule_id: str
    pattern: str
    decision: DomainDecision
    reason: str
    created_at: str


async def list_active_rules(tx: Transaction) -> list[DomainRule]:
    cursor = await tx.execute(
        "SELECT seq, rule_id, pattern, decision, reason, created_at FROM domain_rules WHERE is_active = 1 ORDER BY seq"
    )
    return [DomainRule(*row) for row in await cursor.fetchall()]


async def insert_rule(
    tx: Transaction,
    *,
    rule_id: str,
    pattern: str,
    decision: DomainDecision,
    reason: str,
    source_type: SourceType,
    created_at: str,
) -> None:
    await tx.execute(
        "INSERT INTO domain_rules (rule_id, pattern, decision, reason, created_at) VALUES (?, ?, ?, ?, ?)",
        (rule_id, pattern, decision, reason, created_at),
    )
    await tx.execute(
        "INSERT INTO domain_rule_events (rule_id, pattern, event, reason, source_type, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (rule_id, pattern, decision, reason, source_type, created_at),
    )


async def clear_rules(tx: Transaction, pattern: str, *, reason: str, source_type: SourceType, created_at: str) -> int:
    """Deactivate every rule with exactly this pattern; returns how many there were."""
    cursor = await tx.execute("UPDATE domain_rules SET is_active = 0 WHERE pattern = ? AND is_active = 1", (pattern,))
    await tx.execute(
        "INSERT INTO domain_rule_events (rule_id, pattern, event, reason, source_type, created_at)"
        " VALUES (NULL, ?, 'clear', ?, ?, ?)",
        (pattern, reason, source_type, created_at),
    )
    return cursor.rowcount
