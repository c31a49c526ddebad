"""What becomes of trainings: where each stands, what it printed, what it reports."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

import anyio

from lyra_mcp.domain.versions import UNDER_WAY, Job, ModelVersion
from lyra_mcp.errors import NotFound
from lyra_mcp.operations.reconciling import read_run, reconcile
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs, model_versions
from lyra_mcp.storage.database import Transaction
from schema.jobs import JobStatus

POLL_S = 0.5
LOG_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class WatchedJob:
    job: Job
    #: What the worker last said; None before it began.
    run: JobStatus | None
    #: Whether its folder is there with a state that can be read, or none yet: what a resumed job goes on from.
    is_left: bool
    version: ModelVersion | None


async def watch(services: Services, job_id: str) -> WatchedJob:
    """Raises NotFound."""
    await reconcile(services)
    async with services.database.transaction() as tx:
        return await _watched(services, tx, await _find_job(tx, job_id))


async def watch_all(services: Services, *, limit: int) -> list[WatchedJob]:
    """Newest first, but an older one that is under way before them."""
    await reconcile(services)
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
        under_way = await jobs.find_job_under_way(tx, "nli_lora")
        if under_way is not None and under_way not in found:
            found = [under_way, *found[:-1]]
        return [await _watched(services, tx, job) for job in found]


async def wait(
    services: Services, job_id: str, *, wait_s: float, progress: Callable[[JobStatus], Awaitable[None]]
) -> WatchedJob:
    """Return when the job needs somebody, or after `wait_s`; tells the progress in between."""
    end = monotonic() + wait_s
    while True:
        watched = await watch(services, job_id)
        if watched.run:
            await progress(watched.run)
        if watched.job.state not in UNDER_WAY or watched.job.problem or monotonic() >= end:
            return watched
        await anyio.sleep(min(POLL_S, max(0.0, end - monotonic())))


async def read_log(services: Services, job_id: str) -> str:
    """The last `LOG_BYTES_MAX` of what a training wrote, for people. Raises NotFound."""
    await _known(services, job_id)
    keys = await services.database.unlocked()
    return job_folders.read_log_tail(services.settings.jobs_root, job_id, keys.files, bytes_max=LOG_BYTES_MAX)


async def read_page(services: Services, job_id: str) -> str:
    """A finished training's report, for people. Raises NotFound."""
    await _known(services, job_id)
    keys = await services.database.unlocked()
    return job_folders.read_page(services.settings.jobs_root, job_id, keys.files)


async def _known(services: Services, job_id: str) -> Job:
    async with services.database.transaction() as tx:
        return await _find_job(tx, job_id)


async def _find_job(tx: Transaction, job_id: str) -> Job:
    job = await jobs.find_job(tx, job_id)
    if job is None:
        raise NotFound(f"no job {job_id!r}; finetune_status() lists jobs")
    return job


async def _watched(services: Services, tx: Transaction, job: Job) -> WatchedJob:
    return WatchedJob(
        job,
        read_run(services, job.job_id),
        job_folders.is_left(services.settings.jobs_root, job.job_id),
        await model_versions.find_version_of_job(tx, job.job_id),
    )
