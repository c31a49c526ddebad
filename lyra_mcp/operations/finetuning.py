"""From enough corrections to a candidate: plan, start, watch, and register what passed or failed the gate."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

import anyio

from lyra_mcp.domain.triggers import Thresholds, Triggers, read_triggers
from lyra_mcp.domain.versions import UNDER_WAY, Job, ModelVersion
from lyra_mcp.errors import Conflict, Invalid, LyraError, NotFound, Refused, TooFewReviews, Unavailable
from lyra_mcp.operations import adapters
from lyra_mcp.operations.gating import judge_report
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import find_serving
from lyra_mcp.operations.training_data import TrainingData, collect
from lyra_mcp.storage import corrections, job_folders, jobs, model_versions
from lyra_mcp.storage.database import Transaction
from schema.jobs import NLI_LORA_RECIPES, JobStatus, Limits, NliLoraRecipe, NliLoraRequest, Preflight, PreflightReply
from schema.reports import NliReport
from schema.vocabulary import FINAL_RUN_STATES, JobState, RunState, SplitPart

POLL_S = 0.5

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


@dataclass(frozen=True, slots=True)
class Plan:
    data: TrainingData
    triggers: Triggers
    recipe_name: str
    recipe: NliLoraRecipe
    preflight: PreflightReply
    #: Why it cannot start; empty when it can.
    obstacle: str


@dataclass(frozen=True, slots=True)
class WatchedJob:
    job: Job
    #: What the worker last said; None before it began.
    run: JobStatus | None
    version: ModelVersion | None


async def plan(services: Services, *, recipe_name: str) -> Plan:
    """Say what would be trained, on what, how long it takes, and what stands in the way. Starts no job."""
    recipe = find_recipe(recipe_name)
    await reconcile(services)
    async with services.database.transaction() as tx:
        data = await collect(tx)
        triggers = await _triggers(services, tx)
        under_way = await jobs.find_job_under_way(tx, "nli_lora")
    preflight = await services.jobs.preflight(
        Preflight(recipe=recipe, samples=data.reviewed, chars_mean=data.chars_mean, limits=_limits(services))
    )
    obstacle = preflight.problem.message if preflight.problem else ""
    if under_way:
        obstacle = f"job {under_way.job_id} is {under_way.state}; finetune_status(job_id=...) shows it"
    return Plan(data, triggers, recipe_name, recipe, preflight, obstacle)


async def start(services: Services, *, recipe_name: str, force: bool) -> Job:
    """Freeze the data, write the job's folder and order the training.

    Raises:
        TooFewReviews, DiskFull, Invalid: nothing was written.
        Conflict: another job is under way, or the triggers are not met and `force` is not set.
    """
    planned = await plan(services, recipe_name=recipe_name)
    _refuse_obstacles(services, planned, force=force)
    health = await services.worker.health()
    samples = job_folders.dump_samples(planned.data.samples)
    async with services.database.transaction() as tx:
        serving = await find_serving(services, tx)
        job = Job(
            job_id=services.new_id("job"),
            kind="nli_lora",
            state="preparing",
            base_model=health.nli_model,
            fingerprint=health.fingerprint or "",
            recipe_name=recipe_name,
            samples_sha256=hashlib.sha256(samples).hexdigest(),
            samples=planned.data.reviewed,
            champion_version=serving.version,
            problem=None,
            created_at=services.now(),
            updated_at=services.now(),
        )
        champion = await _champion_path(tx, job)
        request = NliLoraRequest(
            job_id=job.job_id,
            base_model=job.base_model,
            fingerprint=job.fingerprint,
            champion=champion,
            recipe_name=recipe_name,
            recipe=planned.recipe,
            samples_sha256=job.samples_sha256,
            limits=_limits(services),
        )
        await jobs.insert_job(tx, job)
        # Inside the transaction: if the folder cannot be written, there is no job either.
        await anyio.to_thread.run_sync(job_folders.prepare_folder, services.settings.jobs_root, request, samples)
    try:
        await services.jobs.start(job.job_id)
    except LyraError as error:
        await _set_state(services, job.job_id, "failed", problem=str(error))
        raise
    return job


async def cancel(services: Services, job_id: str) -> WatchedJob:
    await _known(services, job_id)
    try:
        await services.jobs.cancel(job_id)
    except Unavailable as error:
        if job_folders.is_training(services.settings.jobs_root, job_id):
            raise
        raise Conflict(f"job {job_id!r} is not running; finetune_status(job_id=...) shows how it ended") from error
    return await watch(services, job_id)


async def resume(services: Services, job_id: str) -> WatchedJob:
    """Go on with an interrupted job from its newest whole checkpoint."""
    job = await _known(services, job_id)
    if job.state not in ("interrupted", "failed"):
        raise Conflict(f"job {job_id!r} is {job.state}; only an interrupted or failed job can be resumed")
    async with services.database.transaction() as tx:
        under_way = await jobs.find_job_under_way(tx, job.kind)
    if under_way:
        raise Conflict(f"job {under_way.job_id!r} is {under_way.state}; cancel it first, or wait")
    await services.jobs.resume(job_id)
    await _set_state(services, job_id, "preparing")
    return await watch(services, job_id)


async def watch(services: Services, job_id: str) -> WatchedJob:
    await _known(services, job_id)
    await reconcile(services)
    async with services.database.transaction() as tx:
        job = await jobs.find_job(tx, job_id)
        assert job is not None
        version = await model_versions.find_version_of_job(tx, job_id)
    return WatchedJob(job, job_folders.read_state(services.settings.jobs_root, job_id), version)


async def watch_all(services: Services, *, limit: int) -> list[WatchedJob]:
    """Newest first."""
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=limit)
    return [await watch(services, job.job_id) for job in found]


async def wait(
    services: Services, job_id: str, *, wait_s: float, progress: Callable[[JobStatus], Awaitable[None]]
) -> WatchedJob:
    """Return when the job needs somebody, or after `wait_s`; tells the progress in between."""
    end = monotonic() + wait_s
    while True:
        watched = await watch(services, job_id)
        if watched.run:
            await progress(watched.run)
        if watched.job.state not in UNDER_WAY or monotonic() >= end:
            return watched
        await anyio.sleep(min(POLL_S, max(0.0, end - monotonic())))


async def read_current_triggers(services: Services) -> Triggers:
    async with services.database.transaction() as tx:
        return await _triggers(services, tx)


async def reconcile(services: Services) -> None:
    """Bring the records in line with what became of the jobs, whoever watched them end."""
    async with services.database.transaction() as tx:
        found = await jobs.list_jobs(tx, limit=20)
    for job in found:
        if job.state in UNDER_WAY:
            await _reconcile_job(services, job)


async def _reconcile_job(services: Services, job: Job) -> None:
    run = await _observe(services, job.job_id)
    if run is None:
        await _set_state(services, job.job_id, "failed", problem="its folder is gone; start again")
    elif run.state == "evaluated":
        await _register(services, job)
    elif STATES[run.state] != job.state:
        await _set_state(services, job.job_id, STATES[run.state], problem=run.problem.message if run.problem else None)


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


async def _register(services: Services, job: Job) -> None:
    """Make a version of a finished job, with the gate's verdict; the reviews it used are marked with it."""
    root = services.settings.jobs_root
    try:
        report = await anyio.to_thread.run_sync(job_folders.read_report, root, job.job_id)
        path = await anyio.to_thread.run_sync(
            lambda: job_folders.publish_adapter(
                root, services.settings.adapters_root, job.job_id, sha256=report.adapter_sha256
            )
        )
    except Refused as error:
        await _set_state(services, job.job_id, "failed", problem=str(error))
        return
    async with services.database.transaction() as tx:
        if await model_versions.find_version_of_job(tx, job.job_id):
            return  # another server was faster
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
        await adapters.activate(services, number, reason="passed the gate; LYRA_AUTO_ACTIVATE is on", force=False)


def _parts(report: NliReport) -> list[tuple[str, SplitPart]]:
    return [(sample.sample_id, sample.part) for sample in report.assigned if sample.source != "unreviewed"]


async def _triggers(services: Services, tx: Transaction) -> Triggers:
    words = [review for review in await corrections.list_last_words(tx) if review.source_type == "human"]
    used = await jobs.find_earlier_parts(tx)
    corrected = [review for review in words if review.is_correction]
    last = await jobs.find_last_trained_at(tx, "nli_lora")
    settings = services.settings
    return read_triggers(
        new_corrections=sum(review.review_id not in used for review in corrected),
        reviewed=len(words),
        corrected=len(corrected),
        last_trained_at=datetime.fromisoformat(last) if last else None,
        now=services.clock(),
        thresholds=Thresholds(settings.trigger_corrections, settings.trigger_correction_rate, settings.trigger_days),
    )


def find_recipe(name: str) -> NliLoraRecipe:
    if name not in NLI_LORA_RECIPES:
        raise Invalid(f"no recipe {name!r}; there are {', '.join(sorted(NLI_LORA_RECIPES))}")
    return NLI_LORA_RECIPES[name]


def _limits(services: Services) -> Limits:
    return Limits(samples_min=services.settings.training_samples_min)


def _refuse_obstacles(services: Services, planned: Plan, *, force: bool) -> None:
    needed = services.settings.training_samples_min
    if planned.data.reviewed < needed:
        raise TooFewReviews(
            f"{planned.data.reviewed} reviews by people can be trained on, and at least {needed} are needed;"
            " review_queue() offers edges"
        )
    if planned.obstacle:
        raise Conflict(planned.obstacle)
    if not planned.triggers.ready and not force:
        raise Conflict("the triggers are not all met; finetune_status() shows them, force=true trains anyway")


async def _champion_path(tx: Transaction, job: Job) -> str | None:
    """The champion's adapter, where it belongs to the base that serves now."""
    if job.champion_version is None:
        return None
    version = await model_versions.find_version(tx, job.kind, job.champion_version)
    assert version is not None
    return version.adapter_path if version.fingerprint == job.fingerprint else None


async def _known(services: Services, job_id: str) -> Job:
    async with services.database.transaction() as tx:
        job = await jobs.find_job(tx, job_id)
    if job is None:
        raise NotFound(f"no job {job_id!r}; finetune_status() lists jobs")
    return job


async def _set_state(services: Services, job_id: str, state: JobState, *, problem: str | None = None) -> None:
    async with services.database.transaction() as tx:
        await jobs.update_state(tx, job_id, state, problem=problem, updated_at=services.now())
