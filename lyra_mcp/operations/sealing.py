"""With `encrypt_files`, what trainings write is sealed: who gets the key, and what is sealed later. Decision 0014."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from lyra_mcp.domain.versions import UNDER_WAY, Job
from lyra_mcp.errors import DiskFull, LyraError, StorageFailed
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs, sealed_jobs
from schema.sealing import SAMPLES, WEIGHTS, is_sealed
from schema.vocabulary import FINAL_RUN_STATES


async def key_of_new_files(services: Services) -> bytes | None:
    """What a new job is sealed with; None where it stays in plain."""
    return (await services.database.unlocked()).files if services.settings.encrypt_files else None


async def key_of_adapter(services: Services, adapter: str | None) -> bytes | None:
    """What the worker needs to open an adapter; None where it is not sealed. Raises StorageFailed."""
    if adapter is None:
        return None
    # With the setting the key is always handed over: the adapter may be sealed just now.
    if services.settings.encrypt_files or _is_sealed(services.settings.adapters_root / adapter / WEIGHTS):
        return (await services.database.unlocked()).files
    return None


async def key_of_job(services: Services, job_id: str) -> bytes | None:
    """What the worker needs to train it: its files are sealed, or the adapter it is compared with."""
    settings = services.settings
    if is_sealed(settings.jobs_root / job_id / SAMPLES):
        return (await services.database.unlocked()).files
    return await key_of_adapter(services, job_folders.read_champion(settings.jobs_root, job_id))


async def seal_ended(services: Services, *, limit: int) -> int:
    """Seal what the newest jobs left in plain, where they have ended; returns how many files that were.

    Raises:
        DiskFull, StorageFailed: some are still there in plain, and are tried again; the other jobs are sealed.
    """
    if not services.settings.encrypt_files:
        return 0
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
    keys = await services.database.unlocked()
    return await anyio.to_thread.run_sync(lambda: _seal_all(services, found, keys.files))


def _seal_all(services: Services, found: Sequence[Job], key: bytes) -> int:
    root, adapters_root = services.settings.jobs_root, services.settings.adapters_root
    going_on = {job.job_id for job in found if _is_going_on(root, job)}
    # A training that began before the setting has no key, and will compare itself with these.
    champions = {job_folders.read_champion(root, job_id) for job_id in going_on}
    count, problems = 0, list[LyraError]()
    for job in found:
        if job.job_id in going_on:
            continue
        served = f"{services.adapters_place}{job.job_id}"
        try:
            count += sealed_jobs.seal_job(root, job.job_id, key)
            if served not in champions:
                count += sealed_jobs.seal_adapter(adapters_root / served, key)
        except (DiskFull, StorageFailed) as error:
            problems.append(error)
    if problems:
        raise problems[0]
    return count


def _is_going_on(root: Path, job: Job) -> bool:
    """Where the state cannot be read, the lock alone says it: one damaged job must not keep the others in plain."""
    try:
        if job.state in UNDER_WAY or job_folders.is_training(root, job.job_id):
            return True
    except StorageFailed:
        return True  # nobody can tell, so it is left alone
    try:
        run = job_folders.read_state(root, job.job_id)
    except StorageFailed:
        return False
    return run is not None and run.state not in FINAL_RUN_STATES


def _is_sealed(path: Path) -> bool:
    """A path that a person wrote may be none; the worker says what is wrong with it."""
    try:
        return is_sealed(path)
    except (OSError, ValueError):
        return False
