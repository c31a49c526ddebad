"""Write conversations to a file that can be imported again, or read; personal data are left out by default."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lyra_mcp.domain.exchange_pages import write_page
from lyra_mcp.domain.exchanges import Exchange, write_plain
from lyra_mcp.domain.memories import Message
from lyra_mcp.domain.redaction import redact
from lyra_mcp.operations.redacting import screen_of
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, exchanges
from lyra_mcp.storage.conversation_files import write_whole

#: Read in one transaction, so that other writers wait for little.
PAGE_EXCHANGES = 200

ExportForm = Literal["jsonl", "markdown"]
Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Exported:
    exported: int
    #: How many had personal data, now tags.
    redacted: int


async def export_conversations(
    services: Services, path: Path, *, form: ExportForm = "jsonl", is_verbatim: bool = False, overwrite: bool = False
) -> Exported:
    """All conversations, oldest first; the file appears when all of it is on the disk.

    Raises:
        Conflict: there is such a file.
        NotScanned: a text could not be searched for personal data; nothing was written.
        DiskFull, StorageFailed: the file cannot be written, or the database not read.
    """
    write = _as_line if form == "jsonl" else write_page
    mask = None if is_verbatim else await _mask(services)
    exported = redacted = after_seq = 0
    with write_whole(path, overwrite=overwrite) as file:
        if form == "markdown":
            file.write("# Conversations\n\n")
        while page := await _read_page(services, after_seq):
            for after_seq, exchange in page:  # noqa: B007 - the last one is where the next page begins
                shown = exchange if mask is None else mask_exchange(exchange, mask)
                file.write(write(shown))
                exported += 1
                redacted += shown != exchange
    async with services.database.transaction() as tx:
        detail = {"conversations": exported, "verbatim": is_verbatim, "form": form}
        await audit_log.append(tx, "exported", services.actor, detail, created_at=services.now())
    return Exported(exported, redacted)


async def _mask(services: Services) -> Mask:
    screen = await screen_of(services)
    return lambda text: redact(text, screen.findings(text))


async def _read_page(services: Services, after_seq: int) -> list[tuple[int, Exchange]]:
    async with services.database.transaction() as tx:
        return await exchanges.list_exchanges(tx, after_seq=after_seq, limit=PAGE_EXCHANGES)


def _as_line(exchange: Exchange) -> str:
    return json.dumps(write_plain(exchange), ensure_ascii=False) + "\n"


def mask_exchange(exchange: Exchange, mask: Mask) -> Exchange:
    """Every text in it, those of the metadata and its names too."""
    return replace(
        exchange,
        messages=tuple(Message(message.role, mask(message.content)) for message in exchange.messages),
        response=mask(exchange.response),
        comment=exchange.comment and mask(exchange.comment),
        metadata=_masked(exchange.metadata, mask),
    )


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(name): _masked(each, mask) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, mask) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = mask(str(value))
        return value if shown == str(value) else shown  # a number can be somebody's telephone
    return value
