"""What the person said of preferences, as a history, and the evidence for what is learned of them."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from lyra_mcp.domain.preference_learning import Evidence
from lyra_mcp.domain.preferences import Event
from lyra_mcp.storage.database import Transaction

#: Newest observations of a key that are read; with decay, older ones would hardly count.
EVIDENCE_MAX = 200
#: Sorts after every moment.
EVER = "~"


@dataclass(frozen=True, slots=True)
class Interaction:
    """What a conversation can teach from: what was asked, in which settings, and how the answer was rated."""

    memory_id: str
    messages: list[dict[str, str]]
    metadata: dict[str, Any]
    topic: str | None
    created_at: str
    rating: int | None
    rated_at: str | None


async def list_events(tx: Transaction, *, before: str = EVER) -> list[Event]:
    cursor = await tx.execute(
        "SELECT key, value, change, created_at FROM preference_events WHERE created_at < ? ORDER BY seq", (before,)
    )
    rows = await cursor.fetchall()
    return [Event(row[0], None if row[1] is None else json.loads(row[1]), row[2], row[3]) for row in rows]


async def insert_event(tx: Transaction, event: Event) -> None:
    value = None if event.value is None else json.dumps(event.value)
    await tx.execute(
        "INSERT INTO preference_events (key, value, change, created_at) VALUES (?, ?, ?, ?)",
        (event.key, value, event.change, event.created_at),
    )


async def list_evidence(
    tx: Transaction, *, keys: Collection[str] | None = None, before: str = EVER
) -> dict[str, list[Evidence]]:
    """The newest observations of each key, newest first; of some keys, or of all that have any."""
    if keys is None:
        keys = [row[0] for row in await (await tx.execute("SELECT DISTINCT key FROM preference_evidence")).fetchall()]
    found: dict[str, list[Evidence]] = {}
    for key in keys:
        cursor = await tx.execute(
            "SELECT key, value, weight, origin, memory_id, created_at FROM preference_evidence"
            " WHERE key = ? AND created_at < ? ORDER BY created_at DESC, seq DESC LIMIT ?",
            (key, before, EVIDENCE_MAX),
        )
        if observed := [Evidence(*row) for row in await cursor.fetchall()]:
            found[key] = observed
    return found


async def replace_evidence(tx: Transaction, memory_id: str, evidence: Iterable[Evidence]) -> None:
    """What a conversation teaches, in place of what it taught before."""
    await tx.execute("DELETE FROM preference_evidence WHERE memory_id = ?", (memory_id,))
    await tx.executemany(
        "INSERT INTO preference_evidence (key, value, weight, origin, memory_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        [(one.key, one.value, one.weight, one.origin, one.memory_id, one.created_at) for one in evidence],
    )


async def find_interaction(tx: Transaction, memory_id: str) -> Interaction | None:
    cursor = await tx.execute(
        "SELECT messages, metadata, topic, created_at, rating, rated_at"
        " FROM conversations JOIN memories USING (memory_id) WHERE memory_id = ?",
        (memory_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Interaction(memory_id, json.loads(row[0]), json.loads(row[1]), row[2], row[3], row[4], row[5])
