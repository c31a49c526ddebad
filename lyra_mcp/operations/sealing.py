"""With `encrypt_files`, what ended trainings leave to read is sealed: see decision 0013."""

import anyio

from lyra_mcp.domain.versions import RESUMABLE, UNDER_WAY, Job
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs, sealed_jobs
from lyra_mcp.storage.keys import UserKeys
from schema.vocabulary import FINAL_RUN_STATES


async def seal_ended(services: Services, *, limit: int) -> int:
    """Seal the texts of the newest jobs, where they have ended; returns how many files that were.

    Raises:
        DiskFull, StorageFailed: some are still there in plain, and are tried again.
    """
    if not services.settings.encrypt_files:
        return 0
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
    keys = await services.database.unlocked()
    return await anyio.to_thread.run_sync(lambda: sum(_seal(services, job, keys) for job in found))


async def unseal(services: Services, job_id: str) -> None:
    """Before a job goes on: the worker knows no keys. Raises DiskFull, StorageFailed."""
    keys = await services.database.unlocked()
    await anyio.to_thread.run_sync(sealed_jobs.unseal_job, services.settings.jobs_root, job_id, keys.files)


def _seal(services: Services, job: Job, keys: UserKeys) -> int:
    root = services.settings.jobs_root
    run = job_folders.read_state(root, job.job_id)
    is_going_on = run is not None and run.state not in FINAL_RUN_STATES
    if job.state in UNDER_WAY or is_going_on or job_folders.is_training(root, job.job_id):
        return 0
    if job.state not in RESUMABLE:
        sealed_jobs.remove_checkpoints(root, job.job_id)
    return sealed_jobs.seal_job(root, job.job_id, keys.files)
