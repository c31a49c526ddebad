"""Read memories whole: what a preview, a hit or an id stands for."""

from dataclasses import dataclass

from lyra_mcp.errors import NotFound
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memories
from lyra_mcp.storage.memories import Details, Fact, Memory


@dataclass(frozen=True, slots=True)
class OpenedMemory:
    memory: Memory
    details: Details
    #: Of a fact: every value that was ever said, the newest first.
    history: tuple[Fact, ...] = ()


async def open_memory(lyra: Services, memory_id: str) -> OpenedMemory:
    """Raises NotFound for an id that is not, or no longer, there."""
    async with lyra.database.reading() as tx:
        memory = await memories.get(tx, memory_id)
        if memory is None:
            raise NotFound(f"no memory {memory_id!r}; recall(query=...) finds memories")
        details = await memories.open_memory(tx, memory)
        if not isinstance(details, Fact):
            return OpenedMemory(memory, details)
        return OpenedMemory(memory, details, tuple(await memories.facts(tx, details.category, details.key)))
