"""What every operation works with, built once when the server starts."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

from lyra_mcp.operations.indexing import Indexer
from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.keys import KeyStore
from lyra_mcp.worker_client.client import WorkerClient
from lyra_mcp.worker_client.jobs import JobsClient
from lyra_mcp.worker_client.process import WorkerProcess


@dataclass(slots=True)
class ByHand:
    """What somebody loaded or unloaded by hand, for as long as this server lives; None: nothing."""

    adapter: str | None = None


@dataclass(slots=True)
class LastConversations:
    """What each connection remembered last: that is what a rating without an id means."""

    by_connection: dict[str, str] = field(default_factory=dict)
    #: A server over HTTP sees connections come and never go; the longest silent is dropped first.
    connections_max: int = 1_000

    def of(self, connection: str | None) -> str | None:
        return None if connection is None else self.by_connection.get(connection)

    def clear(self) -> None:
        """What they remembered was erased."""
        self.by_connection.clear()

    def note(self, connection: str, memory_id: str) -> None:
        self.by_connection.pop(connection, None)
        self.by_connection[connection] = memory_id
        while len(self.by_connection) > self.connections_max:
            del self.by_connection[next(iter(self.by_connection))]


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    worker: WorkerClient
    jobs: JobsClient
    index: Indexer
    by_hand: ByHand
    clock: Callable[[], datetime]
    new_id: Callable[[str], str]
    chance: random.Random
    #: Who acts, as the audit says it: `mcp` (through a host on this machine), `cli`, `python`, or a token's subject.
    actor: str = "mcp"
    last_conversations: LastConversations = field(default_factory=LastConversations)

    async def close(self) -> None:
        await self.index.close()
        await self.worker.close()
        await self.database.close()

    def now(self) -> str:
        return as_text(self.clock())


def as_text(moment: datetime) -> str:
    """An aware moment in UTC, in a form that sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def new_id(prefix: str) -> str:
    return f"{prefix}_{token_hex(6)}"


def key_store(settings: Settings) -> KeyStore:
    secret = settings.passphrase.get_secret_value() if settings.passphrase else None
    return KeyStore(settings.home, settings.user, source=settings.key_source, passphrase=secret)


def build_services(settings: Settings) -> Services:
    worker = WorkerClient(WorkerProcess(settings))
    database = Database(settings.user_dir, key_store(settings))
    return Services(
        settings=settings,
        database=database,
        worker=worker,
        jobs=JobsClient(worker),
        index=Indexer(database, worker),
        by_hand=ByHand(),
        clock=lambda: datetime.now(UTC),
        new_id=new_id,
        chance=random.SystemRandom(),
    )
