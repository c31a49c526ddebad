"""What every operation works with, built once when the server starts, and once more for each user over HTTP."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from secrets import token_hex

from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.worker_client.client import WorkerClient
from lyra_mcp.worker_client.jobs import JobsClient
from lyra_mcp.worker_client.process import WorkerProcess

#: The folder of the other users' adapters, inside the adapters root.
TENANTS = "users"


@dataclass(slots=True)
class ByHand:
    """What somebody loaded or unloaded by hand, for as long as this server lives; None: nothing."""

    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    worker: WorkerClient
    jobs: JobsClient
    by_hand: ByHand
    clock: Callable[[], datetime]
    new_id: Callable[[str], str]
    chance: random.Random
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

    def now(self) -> str:
        return as_text(self.clock())


def as_text(moment: datetime) -> str:
    """An aware moment in UTC, in a form that sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def new_id(prefix: str) -> str:
    return f"{prefix}_{token_hex(6)}"


def build_services(settings: Settings) -> Services:
    worker = WorkerClient(WorkerProcess(settings))
    return Services(
        settings=settings,
        database=Database(settings.user_dir),
        worker=worker,
        jobs=JobsClient(worker),
        by_hand=ByHand(),
        clock=lambda: datetime.now(UTC),
        new_id=new_id,
        chance=random.SystemRandom(),
    )


def tenant_services(local: Services, tenant: str) -> Services:
    """The same worker, and a database, adapters and choices of the tenant's own.

    `default_adapter` is the local user's, and may have been trained on their corrections.
    """
    settings = local.settings.model_copy(update={"user": tenant, "default_adapter": None})
    return replace(local, settings=settings, database=Database(settings.user_dir), by_hand=ByHand(), tenant=tenant)
