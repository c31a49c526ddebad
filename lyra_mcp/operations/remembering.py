"""Remember what an agent was told: one transaction, no model; what is similar is named, nothing is dropped."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio

from lyra_mcp.domain.memories import NewConversation, NewEpisode, NewFact, NewMemory, NewWorkflow, canonical, searchable
from lyra_mcp.domain.redaction import texts_of
from lyra_mcp.domain.screening import Screen
from lyra_mcp.domain.similar_memories import NEAR_MIN, SIMILAR_MAX, Similar, similarity, sketch, text_digest, word_pairs
from lyra_mcp.errors import NotScanned
from lyra_mcp.operations import consent, preferring
from lyra_mcp.operations.idempotency import find_kept, keep
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memories, memory_index, memory_writes, privacy_patterns, similar_memories
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import MemoryKind

NOT_SCANNED = "not_scanned"
SCANNED_AT_ONCE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Remembered:
    id: str
    kind: MemoryKind
    #: False: the very same fact holds already, and nothing was written.
    is_new: bool = True
    similar: tuple[Similar, ...] = ()
    #: The memory that this one hides from now on.
    supersedes: str | None = None
    #: Kinds of private data in it, which are masked before a training reads it or it leaves the machine;
    #: `not_scanned` alone: a detector failed, so nothing of it may be used.
    redacted: tuple[str, ...] = ()
    #: Of the workflow that was remembered, or that an episode says was carried out; None: no such workflow.
    use_count: int | None = None


async def remember(
    lyra: Services,
    memory: NewMemory,
    *,
    idempotency_key: str | None = None,
    connection: str | None = None,
    created_at: str | None = None,
) -> Remembered:
    """Keep a memory; when this returns it is on the disk.

    `connection`: who may rate a conversation as its last one. `created_at`: when it was said, for an import, as
    `Services.now` writes it.

    Raises:
        ConsentMissing: the person withdrew their consent to storing.
    """
    async with lyra.database.transaction() as tx:
        await consent.require(tx, "store")
        remembered = await _once(lyra, tx, memory, idempotency_key, created_at or lyra.now())
    lyra.index.note_write()
    if connection is not None and memory.kind == "conversation":
        lyra.last_conversations.note(connection, remembered.id)
    return remembered


async def _once(
    lyra: Services, tx: Transaction, memory: NewMemory, idempotency_key: str | None, created_at: str
) -> Remembered:
    if idempotency_key is None:
        return await _write(lyra, tx, memory, created_at)
    request = {"memory": asdict(memory), "kind": memory.kind}
    if kept := await find_kept(tx, "remember", idempotency_key, request):
        return _remembered(kept)
    remembered = await _write(lyra, tx, memory, created_at)
    await keep(lyra, tx, "remember", idempotency_key, request, asdict(remembered))
    return remembered


def _remembered(kept: dict[str, Any]) -> Remembered:
    similar = tuple(Similar(**one) for one in kept.pop("similar"))
    return Remembered(**{**kept, "similar": similar, "redacted": tuple(kept["redacted"])})


async def _write(lyra: Services, tx: Transaction, memory: NewMemory, created_at: str) -> Remembered:
    redacted = await _find_private(lyra, tx, memory)
    return replace(await write_memory(lyra, tx, memory, created_at), redacted=redacted)


async def write_memory(lyra: Services, tx: Transaction, memory: NewMemory, created_at: str) -> Remembered:
    """Inside a transaction of the caller's own, who may have several to write; `redacted` stays empty."""
    if isinstance(memory, NewFact):
        holding = await memories.fact(tx, memory.category, memory.key)
        if holding is not None and canonical(holding.value) == canonical(memory.value):
            same = (Similar(holding.memory_id, "same", 1.0),)
            return Remembered(holding.memory_id, "fact", is_new=False, similar=same)
    whole = memory.text
    digest, text, pairs = text_digest(memory.kind, whole), searchable(whole), word_pairs(whole)
    hashes = sketch(pairs)
    similar = await _find_similar(tx, memory.kind, digest, pairs, hashes)
    memory_id = lyra.new_id("mem")
    seq = await memory_writes.insert_memory(tx, memory_id, memory, text=text, text_digest=digest, created_at=created_at)
    await memory_index.add_words(tx, seq, text)
    await similar_memories.insert_sketch(tx, seq, hashes)
    remembered = Remembered(memory_id, memory.kind, similar=tuple(similar))
    match memory:
        case NewConversation():
            await memory_writes.insert_conversation(tx, memory_id, memory)
            await preferring.learn_wishes(lyra, tx, memory_id, memory, created_at=created_at)
            return remembered
        case NewFact():
            return await _write_fact(tx, memory, remembered, created_at)
        case NewEpisode():
            return await _write_episode(tx, memory, remembered)
        case NewWorkflow():
            return await _write_workflow(tx, memory, remembered)


async def _write_fact(tx: Transaction, fact: NewFact, remembered: Remembered, created_at: str) -> Remembered:
    """Another value of the same key ends the one that held; a clock that went backwards must not turn them round."""
    before = await memories.fact(tx, fact.category, fact.key)
    if before is None:
        await memory_writes.insert_fact(tx, remembered.id, fact, valid_from=created_at)
        return remembered
    valid_from = max(created_at, before.valid_from)
    await memory_writes.end_fact(tx, before.memory_id, valid_until=valid_from)
    await memory_writes.insert_fact(tx, remembered.id, fact, valid_from=valid_from)
    await _supersede(tx, before.memory_id, by=remembered.id)
    others = tuple(one for one in remembered.similar if one.id != before.memory_id)
    similar = (Similar(before.memory_id, "contradicts"), *others)
    return replace(remembered, supersedes=before.memory_id, similar=similar)


async def _write_episode(tx: Transaction, episode: NewEpisode, remembered: Remembered) -> Remembered:
    await memory_writes.insert_episode(tx, remembered.id, episode)
    name = episode.uses_workflow
    if name is None or not await memory_writes.count_use(tx, name):
        return remembered
    used = await memories.workflow(tx, name)
    assert used is not None, "only a use of a workflow that exists is counted"
    return replace(remembered, use_count=used.use_count)


async def _write_workflow(tx: Transaction, workflow: NewWorkflow, remembered: Remembered) -> Remembered:
    before = await memories.workflow(tx, workflow.name)
    version = before.version + 1 if before else 1
    await memory_writes.insert_workflow(tx, remembered.id, workflow, version=version)
    if before is None:
        return replace(remembered, use_count=0)
    await _supersede(tx, before.memory_id, by=remembered.id)
    return replace(remembered, supersedes=before.memory_id, use_count=before.use_count)


async def _supersede(tx: Transaction, memory_id: str, *, by: str) -> None:
    """Hide a memory from recall; it stays, and so does its history."""
    await memory_writes.supersede(tx, memory_id, by=by)
    hidden = await memories.get(tx, memory_id)
    assert hidden is not None, "what is superseded exists"
    await memory_index.remove(tx, [hidden.seq])


async def _find_private(lyra: Services, tx: Transaction, memory: NewMemory) -> tuple[str, ...]:
    """Kinds of private data in any text of a memory; names and addresses, which need a model, are found later."""
    screen = Screen(lyra.settings.redaction_mode, await privacy_patterns.list_patterns(tx))
    texts = list(texts_of(asdict(memory)))

    def scan() -> tuple[str, ...]:
        try:
            return tuple(sorted({found.type for text in texts for found in screen.findings(text)}))
        except NotScanned:  # it is kept all the same, and used for nothing
            return (NOT_SCANNED,)

    # A megabyte takes a second, and a sentence less than the way to another thread.
    is_short = sum(map(len, texts)) <= SCANNED_AT_ONCE_CHARS
    return scan() if is_short else await anyio.to_thread.run_sync(scan)


async def _find_similar(
    tx: Transaction, kind: MemoryKind, digest: str, pairs: frozenset[tuple[str, ...]], hashes: Sequence[int]
) -> list[Similar]:
    same = await similar_memories.find_same(tx, digest, limit=SIMILAR_MAX)
    candidates = await similar_memories.find_near(tx, kind, hashes, limit=2 * SIMILAR_MAX)
    scored = [(memory_id, similarity(pairs, word_pairs(text))) for memory_id, text in candidates]
    near = [
        Similar(found, "near", round(score, 3)) for found, score in scored if score >= NEAR_MIN and found not in same
    ]
    near.sort(key=lambda one: one.similarity or 0.0, reverse=True)
    return [*(Similar(found, "same", 1.0) for found in same), *near][:SIMILAR_MAX]
