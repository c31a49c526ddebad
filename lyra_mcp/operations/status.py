"""What works, what does not, and why."""

from dataclasses import dataclass, replace
from typing import Literal

from lyra_mcp.errors import LyraError, StorageFailed
from lyra_mcp.operations.adapters import find_version, verify_files
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import find_serving
from lyra_mcp.storage import claims, corrections, edges, memory_index
from lyra_mcp.storage.database import schema_version
from lyra_mcp.worker_client import WorkerStatus


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """The numbers are null where the database cannot be read."""

    state: Literal["open", "unavailable"]
    schema_version: int | None = None
    size_bytes: int | None = None
    claims: int | None = None
    reviews: int | None = None
    corrections: int | None = None
    unreviewed: int | None = None
    #: What recall finds, and how much of it still waits for its vectors.
    memories: int | None = None
    memories_waiting: int | None = None
    #: Where the master key lies; a file protects a copied database, and not against who reads all files.
    key_source: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    worker: WorkerStatus
    database: DatabaseStatus
    problems: list[str]


async def read_status(services: Services) -> Status:
    worker = await services.worker.status()
    if worker.adapter is not None and not services.owns_adapter(worker.adapter):
        worker = replace(worker, adapter=None)
    problems = [f"worker: {worker.problem}"] if worker.problem else []
    try:
        database = await _read_database(services)
        problems += await _champion_problems(services)
    except LyraError as error:
        problems.append(str(error))
        database = DatabaseStatus("unavailable")
    return Status(worker, database, problems)


async def _champion_problems(services: Services) -> list[str]:
    """Why the version that should serve cannot: the base alone answers in its place."""
    async with services.database.transaction() as tx:
        number = (await find_serving(services, tx)).version
        version = None if number is None else await find_version(tx, number)
    try:
        if version is not None:
            await verify_files(services, version, (await services.database.unlocked()).files)
    except StorageFailed as error:
        return [f"version {number} does not serve: {error.message}"]
    return []


async def _read_database(services: Services) -> DatabaseStatus:
    async with services.database.transaction() as tx:
        reviews_total, corrections_total = await corrections.count_reviews(tx)
        return DatabaseStatus(
            state="open",
            schema_version=await schema_version(tx),
            size_bytes=services.database.path.stat().st_size,
            claims=await claims.count_claims(tx),
            reviews=reviews_total,
            corrections=corrections_total,
            key_source=services.database.keys.source(),
            unreviewed=await edges.count_unreviewed(tx, claim_id=None),
            memories=await memory_index.count_findable(tx),
            memories_waiting=await memory_index.count_waiting(tx),
        )
