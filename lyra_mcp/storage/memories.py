"""Memories of all kinds as they are kept: one row each for what they share, and one in the table of their kind."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lyra_mcp.storage.database import Row, Transaction
from schema.vocabulary import MemoryKind


@dataclass(frozen=True, slots=True)
class Memory:
    seq: int
    memory_id: str
    kind: MemoryKind
    #: What is searched and previewed; `open_memory` has the whole.
    text: str
    topic: str | None
    superseded_by: str | None
    created_at: str
    #: Of a conversation.
    rating: int | None


@dataclass(frozen=True, slots=True)
class Conversation:
    memory_id: str
    #: [{role, content}]
    messages: list[dict[str, str]]
    response: str
    model: str | None
    rating: int | None
    comment: str | None
    metadata: dict[str, Any]
    created_at: str
    used_for_training: bool


@dataclass(frozen=True, slots=True)
class Fact:
    memory_id: str
    category: str
    key: str
    value: Any
    confidence: float
    source: str | None
    valid_from: str
    #: None: it holds.
    valid_until: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Episode:
    memory_id: str
    event_type: str
    description: str
    context: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Workflow:
    memory_id: str
    name: str
    version: int
    steps: list[str]
    #: How often it was carried out, over all versions.
    use_count: int
    created_at: str


Details = Conversation | Fact | Episode | Workflow

_MEMORY = "SELECT m.*, c.rating FROM memories m LEFT JOIN conversations c USING (memory_id)"
_CONVERSATION = "SELECT c.*, m.created_at FROM conversations c JOIN memories m USING (memory_id)"
_FACT = "SELECT f.*, m.created_at FROM facts f JOIN memories m USING (memory_id)"
_EPISODE = "SELECT e.*, m.created_at FROM episodes e JOIN memories m USING (memory_id)"
_WORKFLOW = (
    "SELECT w.*, coalesce(u.use_count, 0) AS use_count, m.created_at"
    " FROM workflows w JOIN memories m USING (memory_id) LEFT JOIN workflow_uses u USING (name)"
)


def _memory(row: Row) -> Memory:
    return Memory(
        row["seq"],
        row["memory_id"],
        row["kind"],
        row["text"],
        row["topic"],
        row["superseded_by"],
        row["created_at"],
        row["rating"],
    )


def _conversation(row: Row) -> Conversation:
    return Conversation(
        memory_id=row["memory_id"],
        messages=json.loads(row["messages"]),
        response=row["response"],
        model=row["model"],
        rating=row["rating"],
        comment=row["comment"],
        metadata=json.loads(row["metadata"]),
        created_at=row["created_at"],
        used_for_training=bool(row["used_for_training"]),
    )


def _fact(row: Row) -> Fact:
    return Fact(
        memory_id=row["memory_id"],
        category=row["category"],
        key=row["key"],
        value=json.loads(row["value"]),
        confidence=row["confidence"],
        source=row["source"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        created_at=row["created_at"],
    )


def _episode(row: Row) -> Episode:
    return Episode(
        row["memory_id"], row["event_type"], row["description"], json.loads(row["context"]), row["created_at"]
    )


def _workflow(row: Row) -> Workflow:
    return Workflow(
        row["memory_id"],
        row["name"],
        row["version"],
        json.loads(row["steps"]),
        row["use_count"],
        row["created_at"],
    )


_READERS: dict[MemoryKind, tuple[str, Callable[[Row], Details]]] = {
    "conversation": (_CONVERSATION, _conversation),
    "fact": (_FACT, _fact),
    "episode": (_EPISODE, _episode),
    "workflow": (_WORKFLOW, _workflow),
}


async def get(tx: Transaction, memory_id: str) -> Memory | None:
    row = await (await tx.execute(f"{_MEMORY} WHERE m.memory_id = ?", (memory_id,))).fetchone()
    return _memory(row) if row else None


async def get_many(tx: Transaction, seqs: Iterable[int]) -> list[Memory]:
    """In the order asked for; those that are gone are left out."""
    wanted = list(seqs)
    statement = f"{_MEMORY} WHERE m.seq IN (SELECT value FROM json_each(?))"  # noqa: S608 - only our own text
    cursor = await tx.execute(statement, (json.dumps(wanted),))
    found = {row["seq"]: _memory(row) for row in await cursor.fetchall()}
    return [found[seq] for seq in wanted if seq in found]


async def find_all(tx: Transaction, memory_ids: Iterable[str]) -> list[Memory]:
    """Those that exist, oldest first."""
    wanted = "m.memory_id IN (SELECT value FROM json_each(?))"
    statement = f"{_MEMORY} WHERE {wanted} ORDER BY m.seq"
    cursor = await tx.execute(statement, (json.dumps(list(memory_ids)),))
    return [_memory(row) for row in await cursor.fetchall()]


async def list_memories(
    tx: Transaction,
    *,
    kind: MemoryKind | None = None,
    topic: str | None = None,
    since: str | None = None,
    until: str | None = None,
    before_seq: int | None = None,
    include_superseded: bool = False,
    limit: int | None = None,
) -> list[Memory]:
    """Newest first; `since` and `until` as `Services.now` writes times, both inclusive."""
    asked: list[tuple[str, object]] = [
        ("m.kind = ?", kind),
        ("m.topic = ?", topic),
        ("m.created_at >= ?", since),
        ("m.created_at <= ?", until),
        ("m.seq < ?", before_seq),
    ]
    conditions = ["1"] if include_superseded else ["m.superseded_by IS NULL"]
    conditions += [condition for condition, value in asked if value is not None]
    values = [value for _, value in asked if value is not None]
    cursor = await tx.execute(
        f"{_MEMORY} WHERE {' AND '.join(conditions)} ORDER BY m.seq DESC LIMIT ?", (*values, _limit(limit))
    )
    return [_memory(row) for row in await cursor.fetchall()]


async def open_memory(tx: Transaction, memory: Memory) -> Details:
    """The whole of a memory."""
    statement, read = _READERS[memory.kind]
    row = await (await tx.execute(f"{statement} WHERE memory_id = ?", (memory.memory_id,))).fetchone()
    assert row is not None, "every memory has a row in the table of its kind"
    return read(row)


async def conversations(
    tx: Transaction, *, min_rating: int | None = None, limit: int | None = None, unused_only: bool = False
) -> list[Conversation]:
    """Newest first; with `min_rating` only those that were rated."""
    conditions = ["1"]
    if min_rating is not None:
        conditions.append("c.rating >= :min_rating")
    if unused_only:
        conditions.append("c.used_for_training = 0")
    cursor = await tx.execute(
        f"{_CONVERSATION} WHERE {' AND '.join(conditions)} ORDER BY m.seq DESC LIMIT :limit",
        {"min_rating": min_rating, "limit": _limit(limit)},
    )
    return [_conversation(row) for row in await cursor.fetchall()]


async def facts(tx: Transaction, category: str, key: str) -> list[Fact]:
    """All values that were ever said, the one that holds first."""
    cursor = await tx.execute(f"{_FACT} WHERE category = ? AND key = ? ORDER BY m.seq DESC", (category, key))
    return [_fact(row) for row in await cursor.fetchall()]


async def fact(tx: Transaction, category: str, key: str) -> Fact | None:
    """The value that holds; `facts` has its history."""
    cursor = await tx.execute(f"{_FACT} WHERE category = ? AND key = ? AND valid_until IS NULL", (category, key))
    row = await cursor.fetchone()
    return _fact(row) if row else None


async def episodes(tx: Transaction, event_type: str | None = None, limit: int | None = None) -> list[Episode]:
    """Newest first."""
    where = "" if event_type is None else "WHERE e.event_type = :event_type"
    cursor = await tx.execute(
        f"{_EPISODE} {where} ORDER BY m.seq DESC LIMIT :limit",
        {"event_type": event_type, "limit": _limit(limit)},
    )
    return [_episode(row) for row in await cursor.fetchall()]


async def workflow(tx: Transaction, name: str, version: int | None = None) -> Workflow | None:
    """The newest version, or the one asked for."""
    which = "" if version is None else "AND w.version = :version"
    cursor = await tx.execute(
        f"{_WORKFLOW} WHERE w.name = :name {which} ORDER BY w.version DESC LIMIT 1",
        {"name": name, "version": version},
    )
    row = await cursor.fetchone()
    return _workflow(row) if row else None


async def find_superseded(tx: Transaction, *, by: str) -> list[Memory]:
    cursor = await tx.execute(f"{_MEMORY} WHERE m.superseded_by = ? ORDER BY m.seq", (by,))
    return [_memory(row) for row in await cursor.fetchall()]


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit
