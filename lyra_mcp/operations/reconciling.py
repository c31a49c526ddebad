"""Bring the records in line with what became of the jobs, whoever watched them end, and register what was made."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

import anyio

from lyra_mcp.domain.versions import UNDER_WAY, WATCHED, Job
from lyra_mcp.errors import DiskFull, LyraError, NotFound, StorageFailed, Unavailable
from lyra_mcp.operations import adapters, checkpoints, sealing
from lyra_mcp.operations.gating import judge_report
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import job_folders, jobs, model_versions
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.sealed_jobs import Damaged
from schema.jobs import JobStatus
from schema.reports import NliReport
from schema.vocabulary import FINAL_RUN_STATES, JobState, RunState, SplitPart

log = logging.getLogger(__name__)

#: Of the newest jobs, the files of so many are tidied up.
TIDIED_MAX = 20
#: Nobody waits longer for a training that has ended to count.
LOOK_S = 30.0
#: Between the writing of a job's folder and the worker's first word on it lies at most the start of a worker.
ORDER_GRACE = timedelta(minutes=3)

#: What the server calls a state of the worker's.
STATES: dict[RunState, JobState] = {
    "waiting": "preparing",
    "preparing": "preparing",
    "training": "training",
    "evaluating": "evaluating",
    "evaluated": "gated",
    "cancelled": "cancelled",
    "failed": "failed",
    "interrupted": "interrupted",
}


async def keep_reconciling(services: Services) -> None:
    """For as long as a server runs: what a training made becomes a version, and may serve, without anybody asking."""
    while True:
        await anyio.sleep(LOOK_S)
        try:
            if services.database.path.exists() and await _is_anything_under_way(services):
                await reconcile(services)
        except LyraError as error:
            log.warning("the training under way is looked at again in %g s: %s", LOOK_S, error)


async def _is_anything_under_way(services: Services) -> bool:
    async with services.database.reading() as tx:
        return await jobs.find_job_under_way(tx, "nli_lora") is not None


async def reconcile(services: Services) -> None:
    """Also an interrupted job is looked at: its child may have outlived the worker, or another server resumed it."""
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs_in(tx, WATCHED)
    for job in found:
        await _reconcile_job(services, job)
    await checkpoints.remove_spent(services, limit=TIDIED_MAX)
    try:
        await sealing.seal_ended(services, limit=TIDIED_MAX)
    except LyraError as error:
        log.warning("what a training left is not sealed yet: %s", error)


async def move(services: Services, job: Job, state: JobState, *, problem: str | None = None) -> None:
    """Record a job's next state, unless it moved since it was read: then another server knows more."""
    async with services.database.transaction() as tx:
        if await _may_move(tx, job, state):
            await jobs.update_state(tx, job.job_id, state, problem=problem, updated_at=services.now())


async def _may_move(tx: Transaction, job: Job, state: JobState) -> bool:
    now, other = await jobs.find_job(tx, job.job_id), await jobs.find_job_under_way(tx, job.kind)
    is_second = state in UNDER_WAY and other is not None and other.job_id != job.job_id
    return now is not None and now.state == job.state and not is_second


def read_run(services: Services, job_id: str) -> JobStatus | None:
    """What the worker last wrote of a job; None where it wrote nothing, or nothing that can be read."""
    try:
        return job_folders.read_state(services.settings.jobs_root, job_id)
    except StorageFailed:
        return None


async def _reconcile_job(services: Services, job: Job) -> None:
    try:
        run = await _observe(services, job.job_id)
    except StorageFailed as error:
        await _tell(services, job, error)
        return
    if run is not None and run.waits_for_key:
        try:
            run = await _hand_over_key(services, run)
        except StorageFailed as error:
            await move(services, job, "failed", problem=error.message)
            return
    if run is None:
        await _reconcile_unheard(services, job)
    elif run.state == "evaluated":
        try:
            await register(services, job)
        except (DiskFull, StorageFailed) as error:
            await _tell(services, job, error)
    else:
        await _follow(services, job, run)


async def _follow(services: Services, job: Job, run: JobStatus) -> None:
    state, problem = STATES[run.state], run.problem.message if run.problem else None
    if (state, problem) != (job.state, job.problem):
        await move(services, job, state, problem=problem)


async def _tell(services: Services, job: Job, error: LyraError) -> None:
    """A job whose files are damaged has failed; what may pass leaves it where it is, and the next look tries again."""
    if isinstance(error, Damaged):
        await move(services, job, "failed", problem=error.message)
    elif error.message != job.problem:
        await move(services, job, job.state, problem=error.message)


async def _observe(services: Services, job_id: str) -> JobStatus | None:
    """Ask the worker; where none runs, read what it left: a job without a living process is interrupted."""
    try:
        return await services.jobs.status(job_id)
    except (Unavailable, NotFound):
        root = services.settings.jobs_root
        run = job_folders.read_state(root, job_id)
        if run is None or run.state in FINAL_RUN_STATES or job_folders.is_training(root, job_id):
            return run
        return run.model_copy(update={"state": "interrupted"})


async def _hand_over_key(services: Services, run: JobStatus) -> JobStatus:
    """A worker that was started anew has found a sealed job waiting, and knows no keys.

    Raises:
        StorageFailed: the key does not open it.
    """
    key = await sealing.key_of_job(services, run.job_id)
    try:
        return await services.jobs.start(run.job_id, key)
    except StorageFailed:
        raise
    except LyraError as error:
        log.warning("job %s still waits for its key: %s", run.job_id, error)
        return run


async def _reconcile_unheard(services: Services, job: Job) -> None:
    """No worker has heard of the job: it is just being ordered, or the server that wrote it died before."""
    if not job_folders.exists(services.settings.jobs_root, job.job_id):
        await move(services, job, "failed", problem="its folder is gone; finetune(action='start') begins anew")
    elif job.state != "interrupted" and services.clock() - datetime.fromisoformat(job.updated_at) > ORDER_GRACE:
        await move(services, job, "interrupted", problem="the server ended before it could order the training")


async def register(services: Services, job: Job) -> None:
    """Make a version of a finished job, with the gate's verdict; the reviews it used are marked with it.

    Raises:
        Damaged: its adapter or its report is not what the training wrote.
        DiskFull, StorageFailed: nothing was registered; the same may work later.
    """
    root, place = services.settings.jobs_root, services.adapters_place
    keys = await services.database.unlocked()
    report = await anyio.to_thread.run_sync(job_folders.read_report, root, job.job_id, keys.files)
    path = await anyio.to_thread.run_sync(
        lambda: job_folders.publish_adapter(
            root,
            services.settings.adapters_root,
            job.job_id,
            sha256=report.adapter_sha256,
            key=keys.files,
            place=place,
        )
    )
    async with services.database.transaction() as tx:
        if not await _may_move(tx, job, "gated"):
            return  # another server was faster, or another job is under way and this one's turn comes
        number = await model_versions.next_version(tx, job.kind)
        version = judge_report(
            report,
            job=job,
            number=number,
            adapter_path=path,
            accuracy_min=services.settings.gate_accuracy_min,
            agreement_min=services.settings.gate_agreement_min,
            created_at=services.now(),
        )
        await model_versions.insert_version(tx, version)
        await jobs.insert_samples(tx, job.job_id, _parts(report))
        await jobs.update_state(tx, job.job_id, "gated", updated_at=services.now())
        await jobs.update_state(tx, job.job_id, "candidate", updated_at=services.now())
        await model_versions.set_alias(tx, job.kind, "candidate", number)
    if services.settings.auto_activate and version.gate.passed:
        await _activate(services, job, number)


async def _activate(services: Services, job: Job, number: int) -> None:
    """What stands in the way is kept with the job: nobody asked for an activation who could be told."""
    try:
        await adapters.activate(services, number, reason="passed the gate; LYRA_AUTO_ACTIVATE is on", force=False)
    except LyraError as error:
        problem = f"passed the gate, and could not be activated: {error.message}"
        await move(services, replace(job, state="candidate"), "candidate", problem=problem)


def _parts(report: NliReport) -> list[tuple[str, SplitPart]]:
    return [(sample.sample_id, sample.part) for sample in report.assigned if sample.source != "unreviewed"]
