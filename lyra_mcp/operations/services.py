"""What every operation works with, built once when the server starts."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.worker_client.client import WorkerClient
from lyra_mcp.worker_client.jobs import JobsClient
from lyra_mcp.worker_client.process import WorkerProcess


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

    async def close(self) -> None:
        await self.worker.close()
        await self.database.close()

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
