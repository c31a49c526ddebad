"""Do a write once for each key, and answer a repetition with the first result."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
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


async def once(
    services: Services,
    tool: str,
    key: str | None,
    *,
    request: Mapping[str, object],
    act: Callable[[], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """For a write with transactions of its own: a repetition that comes before it has ended is a second write."""
    if key is None:
        return await act()
    async with services.database.transaction() as tx:
        kept = await find_kept(tx, tool, key, request)
    if kept is not None:
        return kept
    result = await act()
    async with services.database.transaction() as tx:
        await keep(services, tx, tool, key, request, result)
    return result


def _digest(request: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
