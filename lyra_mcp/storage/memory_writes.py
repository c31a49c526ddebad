"""Writing memories: what all kinds share, what only one has, what hides another, and deletion."""

import json
from collections.abc import Iterable

from lyra_mcp.domain.memories import NewConversation, NewEpisode, NewFact, NewMemory, NewWorkflow, canonical
from lyra_mcp.storage.database import Transaction


async def insert_memory(
    tx: Transaction, memory_id: str, memory: NewMemory, *, text: str, text_digest: str, created_at: str
) -> int:
    """The row that all kinds share; returns its seq."""
    cursor = await tx.execute(
        "INSERT INTO memories (memory_id, kind, text, text_digest, topic, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (memory_id, memory.kind, text, text_digest, memory.topic, created_at),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


async def insert_conversation(tx: Transaction, memory_id: str, conversation: NewConversation) -> None:
    messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
    await tx.execute(
        "INSERT INTO conversations (memory_id, messages, response, model, metadata) VALUES (?, ?, ?, ?, ?)",
        (memory_id, _dump(messages), conversation.response, conversation.model, _dump(conversation.metadata)),
    )


async def insert_fact(tx: Transaction, memory_id: str, fact: NewFact, *, valid_from: str) -> None:
    await tx.execute(
        "INSERT INTO facts (memory_id, category, key, value, confidence, source, valid_from)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (memory_id, fact.category, fact.key, canonical(fact.value), fact.confidence, fact.source, valid_from),
    )


async def end_fact(tx: Transaction, memory_id: str, *, valid_until: str | None) -> None:
    """None: it holds again."""
    await tx.execute("UPDATE facts SET valid_until = ? WHERE memory_id = ?", (valid_until, memory_id))


async def insert_episode(tx: Transaction, memory_id: str, episode: NewEpisode) -> None:
    await tx.execute(
        "INSERT INTO episodes (memory_id, event_type, description, context) VALUES (?, ?, ?, ?)",
        (memory_id, episode.event_type, episode.description, _dump(episode.context)),
    )


async def insert_workflow(tx: Transaction, memory_id: str, workflow: NewWorkflow, *, version: int) -> None:
    await tx.execute(
        "INSERT INTO workflows (memory_id, name, version, steps) VALUES (?, ?, ?, ?)",
        (memory_id, workflow.name, version, _dump(list(workflow.steps))),
    )


async def count_use(tx: Transaction, name: str) -> bool:
    """Count that a workflow was carried out; whether there is one of this name."""
    cursor = await tx.execute(
        "INSERT INTO workflow_uses (name, use_count) SELECT :name, 1"
        " WHERE EXISTS (SELECT 1 FROM workflows WHERE name = :name)"
        " ON CONFLICT (name) DO UPDATE SET use_count = use_count + 1",
        {"name": name},
    )
    return cursor.rowcount > 0


async def supersede(tx: Transaction, memory_id: str, *, by: str | None) -> None:
    """Hide a memory behind a newer one; None: it is the newest again."""
    await tx.execute("UPDATE memories SET superseded_by = ? WHERE memory_id = ?", (by, memory_id))


async def delete(tx: Transaction, memory_id: str) -> None:
    """With everything that belongs to it, but for the words of the index."""
    await tx.execute("DELETE FROM memories WHERE memory_id = ?", (memory_id,))


async def delete_uses_without_workflow(tx: Transaction) -> None:
    await tx.execute("DELETE FROM workflow_uses WHERE name NOT IN (SELECT name FROM workflows)")


async def insert_forgotten(tx: Transaction, memory_ids: Iterable[str], *, reason: str | None, created_at: str) -> None:
    await tx.executemany(
        "INSERT INTO forget_events (memory_id, reason, created_at) VALUES (?, ?, ?)",
        [(memory_id, reason, created_at) for memory_id in memory_ids],
    )


def _dump(value: object) -> str:
    """As it was written: Japanese is not escaped, and the order of keys is kept."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
