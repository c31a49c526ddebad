"""Forget memories by their ids, with everything that belongs to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, memories, memory_index, memory_writes
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.memories import Memory


@dataclass(frozen=True, slots=True)
class Forgotten:
    forgotten: tuple[str, ...]
    not_found: tuple[str, ...]
    #: Earlier values and versions that these had hidden, and that count again.
    restored: tuple[str, ...] = ()


async def find_memories(lyra: Services, memory_ids: Sequence[str]) -> list[Memory]:
    """Those that exist, oldest first."""
    async with lyra.database.reading() as tx:
        return await memories.find_all(tx, memory_ids)


async def forget(lyra: Services, memory_ids: Sequence[str], *, reason: str | None = None) -> Forgotten:
    """Delete memories with their words, vectors and ratings; this cannot be undone. Their ids stay on record."""
    async with lyra.database.transaction() as tx:
        found = await memories.find_all(tx, memory_ids)
        hidden = [one for memory in reversed(found) for one in await _delete(tx, memory)]
        gone = dict.fromkeys(memory.memory_id for memory in found)
        restored = [one for one in dict.fromkeys(hidden) if one not in gone and await _restore(tx, one)]
        await memory_writes.delete_uses_without_workflow(tx)
        if found:
            await memory_index.purge(tx)
        await memory_writes.insert_forgotten(tx, gone, reason=reason, created_at=lyra.now())
        if gone:
            detail = {"memories": len(gone)}
            await audit_log.append(tx, "forgotten", lyra.actor, detail, created_at=lyra.now())
    if gone:
        await lyra.database.scrub()
    if restored:
        lyra.index.note_write()
    return Forgotten(
        forgotten=tuple(gone),
        not_found=tuple(one for one in dict.fromkeys(memory_ids) if one not in gone),
        restored=tuple(restored),
    )


async def _delete(tx: Transaction, memory: Memory) -> list[str]:
    """Delete one memory; the memories it had hidden are hidden by what hid it. Returns them."""
    now = await memories.get(tx, memory.memory_id)  # it may be hidden by another one since a newer one was deleted
    assert now is not None, "every id stands once"
    hidden = await memories.find_superseded(tx, by=memory.memory_id)
    for one in hidden:
        await memory_writes.supersede(tx, one.memory_id, by=now.superseded_by)
    await memory_index.remove(tx, [memory.seq])
    await memory_writes.delete(tx, memory.memory_id)
    return [one.memory_id for one in hidden]


async def _restore(tx: Transaction, memory_id: str) -> bool:
    """Let a memory count again if nothing hides it any more."""
    memory = await memories.get(tx, memory_id)
    if memory is None or memory.superseded_by is not None:
        return False
    await memory_index.add_words(tx, memory.seq, memory.text)
    if memory.kind == "fact":
        await memory_writes.end_fact(tx, memory_id, valid_until=None)
    return True
