"""A training's checkpoints, which are worth their room, some ten megabytes each, only while it can be resumed."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from lyra_mcp.domain.versions import RESUMABLE, UNDER_WAY, Job
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs


async def remove_spent(services: Services, *, limit: int) -> None:
    """Delete those of the newest jobs that have ended for good; also of jobs that ended before this was done."""
    async with services.database.reading() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
    ended = [job for job in found if job.state not in UNDER_WAY | RESUMABLE]
    await anyio.to_thread.run_sync(_remove, services.settings.jobs_root, ended)


def _remove(jobs_root: Path, ended: Sequence[Job]) -> None:
    for job in ended:
        job_folders.remove_checkpoints(jobs_root, job.job_id)
