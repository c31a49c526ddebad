"""What every operation works with, built once when the server starts, and once more for each user over HTTP."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from secrets import token_hex

from lyra_mcp.operations.indexing import Indexer
from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.keys import KeyStore
from lyra_mcp.worker_client.client import WorkerClient
from lyra_mcp.worker_client.jobs import JobsClient
from lyra_mcp.worker_client.process import WorkerProcess

#: The folder of the other users' adapters, inside the adapters root.
TENANTS = "users"


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
    #: Who acts, as the audit says it: `mcp` (a host on this machine), `cli`, `python`, or the user that a token names.
    actor: str = "mcp"
    last_conversations: LastConversations = field(default_factory=LastConversations)
    #: The user over HTTP, named like their folder; None: the local user, to whom the home belongs.
    tenant: str | None = None

    @property
    def adapters_place(self) -> str:
        """Where this user's adapters lie inside the adapters root, with a slash at the end; the local user: empty."""
        return f"{TENANTS}/{self.tenant}/" if self.tenant else ""

    def owns_adapter(self, path: str) -> bool:
        """Whether a path inside the adapters root is this user's; another user's is as good as none."""
        named = PurePosixPath(path)
        root = self.settings.adapters_root.expanduser().absolute()
        parts = (named.relative_to(root) if named.is_relative_to(root) else named).parts
        if ".." in parts:
            return False
        if self.tenant is not None:
            return not named.is_absolute() and parts[:2] == (TENANTS, self.tenant)
        # Some file systems do not tell upper case from lower case.
        return not parts or parts[0].casefold() != TENANTS

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


def tenant_services(local: Services, tenant: str) -> Services:
    """The same worker, and whatever else holds something of a user's anew: a field added above belongs here too.

    `default_adapter` is the local user's, and may have been trained on their corrections.
    """
    settings = local.settings.model_copy(update={"user": tenant, "default_adapter": None})
    database = Database(settings.user_dir, key_store(settings))
    return replace(
        local,
        settings=settings,
        database=database,
        index=Indexer(database, local.worker),
        by_hand=ByHand(),
        last_conversations=LastConversations(),
        actor=tenant,
        tenant=tenant,
    )
