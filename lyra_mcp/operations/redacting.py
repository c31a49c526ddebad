"""What may be kept of a text: the person's own patterns, and the detectors' word on it."""

from dataclasses import dataclass

import anyio

from lyra_mcp.domain.detectors.names import NAME_TYPES
from lyra_mcp.domain.detectors.user_patterns import PATTERNS_MAX, check_pattern
from lyra_mcp.domain.redaction import TYPES, Finding, UserPattern, redact
from lyra_mcp.domain.screening import Screen
from lyra_mcp.errors import Conflict, NotFound
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, privacy_patterns
from lyra_mcp.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class Redacted:
    text: str
    findings: tuple[Finding, ...]


async def findings(lyra: Services, text: str) -> tuple[Finding, ...]:
    """Where private data stands in a text, the person's own patterns included.

    Raises:
        NotScanned: a detector failed; the text must be treated as private.
    """
    return await anyio.to_thread.run_sync((await screen_of(lyra)).findings, text)


async def redacted(lyra: Services, text: str) -> Redacted:
    """The text with tags in the place of private data, whatever the mode is.

    Raises:
        NotScanned: a detector failed; no text is given back.
    """
    found = await findings(lyra, text)
    return Redacted(redact(text, found), found)


async def screen_of(lyra: Services) -> Screen:
    """The detectors with this person's patterns.

    Raises:
        NotScanned: names are asked for, and what finds them is not installed.
    """
    async with lyra.database.transaction() as tx:
        return await read_screen(lyra, tx)


async def read_screen(lyra: Services, tx: Transaction) -> Screen:
    """Raises as `screen_of`."""
    patterns = await privacy_patterns.list_patterns(tx)
    settings = lyra.settings
    return Screen.build(settings.redaction_mode, patterns, names_model=settings.redaction_names_model)


async def list_patterns(lyra: Services) -> list[UserPattern]:
    async with lyra.database.transaction() as tx:
        return await privacy_patterns.list_patterns(tx)


async def put_pattern(lyra: Services, *, name: str, pattern: str) -> UserPattern:
    """Keep a pattern; one of the same name is replaced.

    Raises:
        Invalid: the name or the pattern cannot be used.
        Conflict: there are as many as there may be.
    """
    checked = check_pattern(name, pattern, taken=frozenset({*TYPES, *NAME_TYPES.values()}))
    async with lyra.database.transaction() as tx:
        known = {one.name for one in await privacy_patterns.list_patterns(tx)}
        if name not in known and len(known) >= PATTERNS_MAX:
            raise Conflict(f"there are {PATTERNS_MAX} patterns already; remove one first: {', '.join(sorted(known))}")
        now = lyra.now()
        await privacy_patterns.put_pattern(tx, checked, created_at=now)
        await audit_log.append(tx, "pattern_set", lyra.actor, {"name": name}, created_at=now)
    return checked


async def remove_pattern(lyra: Services, name: str) -> None:
    """Raises NotFound."""
    async with lyra.database.transaction() as tx:
        if not await privacy_patterns.delete_pattern(tx, name):
            known = ", ".join(one.name for one in await privacy_patterns.list_patterns(tx)) or "none"
            raise NotFound(f"no pattern {name[:80]!r}; there are: {known}")
        await audit_log.append(tx, "pattern_removed", lyra.actor, {"name": name}, created_at=lyra.now())
