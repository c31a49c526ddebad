"""Take in conversations that other programs wrote to a file: each once, the good ones also beside broken ones."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from lyra_mcp.domain.exchanges import Exchange
from lyra_mcp.domain.exported_chats import form_of, read_record
from lyra_mcp.domain.similar_memories import text_digest
from lyra_mcp.errors import Invalid
from lyra_mcp.operations import consent, preferring
from lyra_mcp.operations.remembering import write_memory
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import conversations, exchanges
from lyra_mcp.storage.conversation_files import ConversationFile, Found
from lyra_mcp.storage.database import Transaction

#: Written together: few enough that another server's write does not wait for long.
BATCH_EXCHANGES = 50


@dataclass(frozen=True, slots=True)
class Skipped:
    #: Such as `line 7`.
    place: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    #: Which programs wrote the records, and how many each.
    forms: dict[str, int] = field(default_factory=dict)
    imported: int = 0
    already_there: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    #: Places where characters were replaced that no database can hold: NUL, and halves of characters.
    mended: list[str] = field(default_factory=list)


async def import_conversations(
    services: Services,
    file: ConversationFile,
    *,
    on_progress: Callable[[int, ImportReport], object],
    report: ImportReport | None = None,
) -> ImportReport:
    """Store what is not there yet, in the order of the file; after an interruption, run it again.

    It needs no model: what was stored is found by its words at once, and gets its vectors when a server runs.
    `on_progress` hears how many bytes are read. `report` is filled as it goes, so that an interrupted caller has it.

    Raises:
        ConsentMissing: the person withdrew their consent to storing.
        Invalid, NotFound: the file as a whole cannot be read; what came before is stored.
        DiskFull, StorageFailed: likewise, of the database.
    """
    report = report or ImportReport()
    waiting: list[tuple[str, Exchange]] = []
    for found in file:
        waiting += [(found.place, exchange) for exchange in _read(found, report)]
        while len(waiting) >= BATCH_EXCHANGES:
            await _store(services, waiting[:BATCH_EXCHANGES], report)
            del waiting[:BATCH_EXCHANGES]
            on_progress(found.done_bytes, report)
    await _store(services, waiting, report)
    on_progress(file.total_bytes, report)
    return report


def _read(found: Found, report: ImportReport) -> list[Exchange]:
    if found.problem is not None:
        report.skipped.append(Skipped(found.place, found.problem))
        return []
    try:
        read, is_mended = read_record(found.record)
    except Invalid as error:
        report.skipped.append(Skipped(found.place, error.args[0]))
        return []
    except RecursionError:
        report.skipped.append(Skipped(found.place, "it is nested too deeply"))
        return []
    form = form_of(found.record)
    report.forms[form] = report.forms.get(form, 0) + 1
    if is_mended:
        report.mended.append(found.place)
    return read


async def _store(services: Services, waiting: Iterable[tuple[str, Exchange]], report: ImportReport) -> None:
    """One transaction; the report counts what it holds when it is on the disk."""
    imported, already_there, skipped = 0, 0, []
    async with services.database.transaction() as tx:
        await consent.require(tx, "store")
        for place, exchange in waiting:
            try:
                conversation = exchange.conversation()
            except Invalid as error:
                skipped.append(Skipped(place, error.args[0]))
                continue
            if await _is_there(tx, exchange, text_digest("conversation", conversation.text)):
                already_there += 1
                continue
            created_at = exchange.created_at or services.now()
            remembered = await write_memory(services, tx, conversation, created_at)
            imported += 1
            if exchange.rating is not None:
                await conversations.insert_rating(
                    tx, remembered.id, exchange.rating, comment=exchange.comment, created_at=created_at
                )
                await preferring.learn_from(services, tx, remembered.id)
    report.imported += imported
    report.already_there += already_there
    report.skipped += skipped


async def _is_there(tx: Transaction, exchange: Exchange, digest: str) -> bool:
    """The same words of the same conversation; a file without times does not say when."""
    return any(
        (other.messages, other.response, other.model, other.metadata)
        == (exchange.messages, exchange.response, exchange.model, exchange.metadata)
        and exchange.created_at in {None, other.created_at}
        for other in await exchanges.find_by_digest(tx, digest)
    )
