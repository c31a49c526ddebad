"""With `encrypt_files`, what trainings write is sealed: who gets the key, and what is sealed later. Decision 0013."""

from pathlib import Path

import anyio

from lyra_mcp.domain.versions import RESUMABLE, UNDER_WAY, Job
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs, sealed_jobs
from lyra_mcp.storage.keys import UserKeys
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
        DiskFull, StorageFailed: some are still there in plain, and are tried again.
    """
    if not services.settings.encrypt_files:
        return 0
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
    keys = await services.database.unlocked()
    return await anyio.to_thread.run_sync(lambda: sum(_seal(services, job, keys) for job in found))


def _seal(services: Services, job: Job, keys: UserKeys) -> int:
    settings = services.settings
    root = settings.jobs_root
    run = job_folders.read_state(root, job.job_id)
    is_going_on = run is not None and run.state not in FINAL_RUN_STATES
    if job.state in UNDER_WAY or is_going_on or job_folders.is_training(root, job.job_id):
        return 0
    if job.state not in RESUMABLE:
        sealed_jobs.remove_checkpoints(root, job.job_id)
    served = settings.adapters_root / f"{services.adapters_place}{job.job_id}"
    return sealed_jobs.seal_job(root, job.job_id, keys.files) + sealed_jobs.seal_adapter(served, keys.files)


def _is_sealed(path: Path) -> bool:
    """A path that a person wrote may be none; the worker says what is wrong with it."""
    try:
        return is_sealed(path)
    except (OSError, ValueError):
        return False
