"""From enough corrections to a training: plan, start, cancel, resume."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import anyio

from lyra_mcp.domain.triggers import Thresholds, Triggers, read_triggers
from lyra_mcp.domain.versions import RESUMABLE, WATCHED, Job, ModelVersion
from lyra_mcp.errors import Conflict, ConsentMissing, Invalid, LyraError, TooFewReviews
from lyra_mcp.operations import consent, sealing
from lyra_mcp.operations.adapters import verify_files
from lyra_mcp.operations.idempotency import Key
from lyra_mcp.operations.reconciling import move, read_run, reconcile, register
from lyra_mcp.operations.redacting import read_screen
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.training_data import TrainingData, collect
from lyra_mcp.operations.watching import WatchedJob, watch
from lyra_mcp.storage import audit_log, calibrations, corrections, job_folders, jobs, model_versions
from lyra_mcp.storage.database import Transaction
from lyra_mcp.worker_client.connection import job_error
from schema.jobs import NLI_LORA_RECIPES, Limits, NliLoraRecipe, NliLoraRequest, Preflight, PreflightReply
from schema.sealing import as_file_key

#: Of a start that nobody repeats by its key.
NO_KEY = Key("finetune", None, {})


@dataclass(frozen=True, slots=True)
class Plan:
    data: TrainingData
    triggers: Triggers
    recipe_name: str
    recipe: NliLoraRecipe
    preflight: PreflightReply
    #: Why it cannot start; None when it can.
    refusal: LyraError | None

    @property
    def obstacle(self) -> str:
        """In words; empty when it can start."""
        return self.refusal.message if self.refusal else ""


async def plan(services: Services, *, recipe_name: str) -> Plan:
    """Say what would be trained, on what, how long it takes, and what stands in the way. Starts no job."""
    recipe = _as_set(find_recipe(recipe_name), services)
    await reconcile(services)
    async with services.database.transaction() as tx:
        may_learn = await consent.may_learn(tx)
        only_new = services.settings.training_reviews == "new"
        data = await collect(tx, await read_screen(services, tx), only_new=only_new)
        triggers = await _triggers(services, tx)
        under_way = await jobs.find_job_under_way(tx, "nli_lora")
    preflight = await services.jobs.preflight(
        Preflight(
            recipe=recipe,
            samples=data.reviewed,
            chars_mean=data.chars_mean,
            limits=_limits(services),
            key=as_file_key(await sealing.key_of_new_files(services)),
        )
    )
    refusal = _too_few(services, data) or (job_error(preflight.problem) if preflight.problem else None)
    if under_way:
        refusal = Conflict(_says_under_way(under_way))
    if not may_learn:
        refusal = ConsentMissing(consent.explain("learn_locally", "revoked"))
    return Plan(data, triggers, recipe_name, recipe, preflight, refusal)


async def start(services: Services, *, recipe_name: str, force: bool, key: Key = NO_KEY) -> Job:
    """Freeze the data, write the job's folder and order the training.

    Raises:
        TooFewReviews, DiskFull, Unavailable, Invalid: nothing was written.
        ConsentMissing: the person withdrew their consent to learning.
        Conflict: another job is under way, or the triggers are not met and `force` is not set.
        StorageFailed: the files of what serves today, which it is to be compared with, are missing or were changed.
    """
    planned = await plan(services, recipe_name=recipe_name)
    if planned.refusal:
        raise planned.refusal
    if not planned.triggers.ready and not force:
        raise Conflict("the triggers are not all met; finetune_status() shows them, force=true trains anyway")
    health = await services.worker.health()
    samples = job_folders.dump_samples(planned.data.samples)
    job_id, root = services.new_id("job"), services.settings.jobs_root
    file_key, keys = await sealing.key_of_new_files(services), await services.database.unlocked()
    try:
        async with services.database.transaction() as tx:
            await _refuse_second(tx)
            champion = await _find_champion(tx, fingerprint=health.fingerprint or "")
            if champion:  # else the training would end with nothing to compare with
                await verify_files(services, champion, keys.files)
            job = Job(
                job_id=job_id,
                kind="nli_lora",
                state="preparing",
                base_model=health.nli_model,
                fingerprint=health.fingerprint or "",
                recipe_name=recipe_name,
                samples_sha256=hashlib.sha256(samples).hexdigest(),
                samples=planned.data.reviewed,
                champion_version=champion.version if champion else None,
                problem=None,
                created_at=services.now(),
                updated_at=services.now(),
            )
            request = await _request(tx, job, planned, champion, _limits(services))
            await consent.agree_to_learning(services, tx)
            await jobs.insert_job(tx, job)
            detail = {"job": job_id, "kind": job.kind, "samples": job.samples, "forced": force}
            await audit_log.append(tx, "training_started", services.actor, detail, created_at=job.created_at)
            await key.keep(services, tx, {"job_id": job_id, "state": job.state})
            # Inside the transaction: if the folder cannot be written, there is no job either.
            await anyio.to_thread.run_sync(lambda: job_folders.prepare_folder(root, request, samples, key=file_key))
    except LyraError:
        job_folders.remove_folder(root, job_id)  # and the other way round
        raise
    try:
        await services.jobs.start(job.job_id, await sealing.key_of_job(services, job.job_id))
    except LyraError as error:
        # A worker that took the order and died before it answered leaves a job that can be resumed.
        if read_run(services, job.job_id) is None:
            await move(services, job, "failed", problem=error.message)
            await key.forget(services)
            raise
    return job


async def _request(
    tx: Transaction, job: Job, planned: Plan, champion: ModelVersion | None, limits: Limits
) -> NliLoraRequest:
    of_base = await calibrations.find_active_calibration(tx, job.fingerprint, "")
    of_champion = champion and await calibrations.find_active_calibration(tx, job.fingerprint, champion.adapter_path)
    return NliLoraRequest(
        job_id=job.job_id,
        base_model=job.base_model,
        fingerprint=job.fingerprint,
        champion=champion.adapter_path if champion else None,
        base_temperature=of_base.temperature if of_base else None,
        champion_temperature=of_champion.temperature if of_champion else None,
        recipe_name=job.recipe_name,
        recipe=planned.recipe,
        samples_sha256=job.samples_sha256,
        limits=limits,
    )


async def cancel(services: Services, job_id: str) -> WatchedJob:
    """Stop a job for good; its checkpoints are deleted.

    Raises:
        Conflict: it has ended.
    """
    watched = await watch(services, job_id)
    job, run = watched.job, watched.run
    if job.state not in WATCHED | RESUMABLE:
        raise Conflict(f"job {job_id!r} is {job.state}; there is nothing to cancel; finetune_status() lists jobs")
    if run is None and not job_folders.is_training(services.settings.jobs_root, job_id):
        # No worker has heard of it, or what it wrote is gone; an order may be on its way.
        job_folders.mark_cancelled(services.settings.jobs_root, job_id)
        is_cancelled = True
    elif run is not None and run.state == "evaluated":
        is_cancelled = True  # for the worker it has ended well
    else:
        is_cancelled = (await services.jobs.cancel(job_id)).state == "cancelled"
    if is_cancelled:
        await move(services, job, "cancelled")
    watched = await watch(services, job_id)
    if watched.job.state == "cancelled" and watched.version is None:  # published, and could not be registered
        path = f"{services.adapters_place}{job_id}"
        await anyio.to_thread.run_sync(job_folders.remove_adapter, services.settings.adapters_root, path)
    return watched


async def resume(services: Services, job_id: str) -> WatchedJob:
    """Go on with an interrupted or failed job from its newest whole checkpoint, or register what it has made.

    Raises:
        Conflict: it is in no such state, or another job is under way.
        ConsentMissing: the person withdrew their consent to learning, and it has not learned yet.
        Damaged: it has ended well, and its adapter or its report is still not what it wrote.
    """
    watched = await watch(services, job_id)
    if watched.job.state not in RESUMABLE:
        raise Conflict(
            f"job {job_id!r} is {watched.job.state}; only an interrupted or failed job can be resumed,"
            " and finetune(action='start') begins anew"
        )
    if not watched.is_left:
        raise Conflict(f"nothing is left of job {job_id!r} to go on from; finetune(action='start') begins anew")
    has_learned = watched.run is not None and watched.run.state == "evaluated"
    async with services.database.transaction() as tx:
        await _refuse_second(tx)
        if not has_learned:
            await consent.require_learning(tx)
    if has_learned:
        await register(services, watched.job)
    else:
        await _order_again(services, watched)
        await move(services, watched.job, "preparing")
    return await watch(services, job_id)


async def _order_again(services: Services, watched: WatchedJob) -> None:
    job_id = watched.job.job_id
    order = services.jobs.start if watched.run is None else services.jobs.resume
    try:
        await order(job_id, await sealing.key_of_job(services, job_id))
    except LyraError:
        # A worker that took the order, and died or was not heard before it answered, leaves a job that goes on.
        run = read_run(services, job_id)
        is_taken = run is not None and run.state in ("waiting", "evaluated")
        if not is_taken and not job_folders.is_training(services.settings.jobs_root, job_id):
            raise


async def read_current_triggers(services: Services) -> Triggers:
    async with services.database.transaction() as tx:
        return await _triggers(services, tx)


async def _triggers(services: Services, tx: Transaction) -> Triggers:
    words = await corrections.list_last_words(tx, source_type="human")
    used = await jobs.find_used_reviews(tx)
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


def _as_set(recipe: NliLoraRecipe, services: Services) -> NliLoraRecipe:
    sampling = services.settings.training_sampling
    return recipe.model_copy(update={"sampling": sampling}) if sampling else recipe


def _limits(services: Services) -> Limits:
    settings = services.settings
    # One thread unless somebody said otherwise: a training in the background leaves the other cores to the person.
    return Limits(
        time_s=settings.training_time_s,
        steps_max=settings.training_steps_max,
        batch=settings.training_batch,
        samples_min=settings.training_samples_min,
        threads=settings.threads or 1,
        device=settings.training_device,
    )


def _too_few(services: Services, data: TrainingData) -> TooFewReviews | None:
    needed = services.settings.training_samples_min
    if data.reviewed >= needed:
        return None
    return TooFewReviews(
        f"{data.reviewed} reviews by people can be trained on, and at least {needed} are needed;"
        " review_queue() offers edges"
    )


async def _refuse_second(tx: Transaction) -> None:
    under_way = await jobs.find_job_under_way(tx, "nli_lora")
    if under_way:
        raise Conflict(_says_under_way(under_way))


def _says_under_way(job: Job) -> str:
    return f"job {job.job_id!r} is {job.state}; finetune_status(job_id='{job.job_id}', wait_s=45) waits for it"


async def _find_champion(tx: Transaction, *, fingerprint: str) -> ModelVersion | None:
    """The version to be compared with: what serves by the registry, where it belongs to the present base."""
    number = (await model_versions.find_aliases(tx, "nli_lora")).get("champion")
    version = number and await model_versions.find_version(tx, "nli_lora", number)
    return version if version and version.fingerprint == fingerprint else None
