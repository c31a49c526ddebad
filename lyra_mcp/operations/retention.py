"""Retention: memories of a kind are forgotten at an age, at the start of a server and then every day."""

import logging
from dataclasses import replace
from datetime import timedelta

import anyio

from lyra_mcp.errors import LyraError
from lyra_mcp.operations import checkpoints, forgetting, sealing
from lyra_mcp.operations.services import Services, as_text
from lyra_mcp.storage import audit_log, memories, retention_rules
from schema.vocabulary import MEMORY_KINDS, MemoryKind

log = logging.getLogger(__name__)

#: A server answers its first calls before it looks for what is too old.
FIRST_S = 5.0
EVERY_S = 24 * 3600.0
ACTOR = "retention"
#: Forgotten in one transaction.
BATCH = 500
JOBS_MAX = 1_000_000


async def read_rules(services: Services) -> dict[MemoryKind, int]:
    """Days by kind; a kind without a rule is kept for ever."""
    async with services.database.transaction() as tx:
        return await retention_rules.list_rules(tx)


async def set_rule(services: Services, kind: MemoryKind, days: int | None) -> dict[MemoryKind, int]:
    """Keep memories of a kind for so many days; None: for ever."""
    async with services.database.transaction() as tx:
        now = services.now()
        await retention_rules.set_rule(tx, kind, days, created_at=now)
        detail = {"kind": kind, "days": days}
        await audit_log.append(tx, "retention_set", services.actor, detail, created_at=now)
        return await retention_rules.list_rules(tx)


async def apply(services: Services) -> dict[str, int]:
    """Forget what is older than its rule allows; returns how many memories of each kind that were."""
    rules = await read_rules(services)
    forgotten: dict[str, int] = {}
    for kind in MEMORY_KINDS:
        if kind in rules and (count := await _forget_older(services, kind, days=rules[kind])):
            forgotten[kind] = count
    if forgotten:
        async with services.database.transaction() as tx:
            await audit_log.append(tx, "retention_applied", ACTOR, forgotten, created_at=services.now())
    return forgotten


async def keep_applying(services: Services) -> None:
    """For as long as a server runs."""
    await anyio.sleep(FIRST_S)
    while True:
        await apply_if_any(services)
        await anyio.sleep(EVERY_S)


async def apply_if_any(services: Services) -> None:
    """What is due every day; what goes wrong is logged."""
    try:
        await apply_due(services)
    except LyraError as error:
        log.warning("what is due every day is tried again tomorrow: %s", error)


async def apply_due(services: Services) -> None:
    """A home without a database has nothing that could be too old.

    Raises:
        LyraError: the database cannot be used, or something is still there in plain.
    """
    if services.database.path.exists():
        await apply(services)
        await checkpoints.remove_spent(services, limit=JOBS_MAX)
        await sealing.seal_ended(services, limit=JOBS_MAX)


async def record_failure(local: Services, user: str, error: LyraError) -> None:
    """In the log, and on the record of the local user, whose server it is: the other's database may not open."""
    log.warning("what is due every day for %s is tried again tomorrow: %s", user, error)
    try:
        async with local.database.transaction() as tx:
            detail = {"user": user, "code": error.code}
            await audit_log.append(tx, "retention_failed", ACTOR, detail, created_at=local.now())
    except LyraError as failure:
        log.warning("that could not be put on the record: %s", failure)


async def _forget_older(services: Services, kind: MemoryKind, *, days: int) -> int:
    until = as_text(services.clock() - timedelta(days=days))
    count, acting = 0, replace(services, actor=ACTOR)
    while True:
        async with services.database.transaction() as tx:
            found = await memories.list_memories(tx, kind=kind, until=until, include_superseded=True, limit=BATCH)
        if not found:
            return count
        count += len((await forgetting.forget(acting, [memory.memory_id for memory in found])).forgotten)
