"""Do a write once for each key, and answer a repetition with the first result."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lyra_mcp.errors import Conflict
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import idempotency_keys
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.idempotency_keys import KeptResult


async def find_kept(tx: Transaction, tool: str, key: str, request: Mapping[str, object]) -> dict[str, Any] | None:
    """The first result of a key.

    Raises:
        Conflict: the key was used for another request.
    """
    kept = await idempotency_keys.find_result(tx, tool, key)
    if kept is None:
        return None
    if kept.request_digest != _digest(request):
        raise Conflict("this idempotency_key was used for another request; choose a new one")
    result: dict[str, Any] = json.loads(kept.result)
    return result


async def keep(
    services: Services, tx: Transaction, tool: str, key: str, request: Mapping[str, object], result: Mapping[str, Any]
) -> None:
    kept = KeptResult(_digest(request), json.dumps(result))
    await idempotency_keys.insert_result(tx, tool, key, kept, created_at=services.now())


@dataclass(frozen=True, slots=True)
class Key:
    """What a caller repeats to be answered with the first result; without a text every call is a write of its own."""

    tool: str
    text: str | None
    request: Mapping[str, object]

    async def find(self, services: Services) -> dict[str, Any] | None:
        """Raises Conflict like `find_kept`."""
        if self.text is None:
            return None
        async with services.database.transaction() as tx:
            return await find_kept(tx, self.tool, self.text, self.request)

    async def keep(self, services: Services, tx: Transaction, result: Mapping[str, Any]) -> None:
        if self.text is not None:
            await keep(services, tx, self.tool, self.text, self.request, result)

    async def forget(self, services: Services) -> None:
        """What was written has failed after all: a repetition is a new try."""
        if self.text is not None:
            async with services.database.transaction() as tx:
                await idempotency_keys.delete_result(tx, self.tool, self.text)


async def once(services: Services, key: Key, act: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """For a write with transactions of its own, which keeps its result in the one that writes.

    Of two at once one writes, and the other, whom the state then refuses, is answered with that result.
    """
    kept = await key.find(services)
    if kept is not None:
        return kept
    try:
        return await act()
    except Conflict:
        kept = await key.find(services)
        if kept is None:
            raise
        return kept


def _digest(request: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
