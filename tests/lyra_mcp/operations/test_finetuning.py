"""A training from its plan to its start, and what may stand in the way."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lyra_mcp.errors import Conflict, DiskFull, Invalid, TooFewReviews, Unavailable, WorkerGone
from lyra_mcp.operations import calibration, finetuning, reconciling, watching
from lyra_mcp.operations.idempotency import Key, once
from lyra_mcp.operations.reconciling import ORDER_GRACE
from lyra_mcp.storage import job_folders
from schema.jobs import JobProblem, NliLoraRequest


def files(settings):
    return sorted(path.relative_to(settings.home).as_posix() for path in settings.jobs_root.rglob("*"))


# Planning and starting


async def test_a_plan_says_what_would_be_trained_and_starts_nothing(lyra, services, machine, settings, ready):
    await lyra.review(confirmed=2)

    plan = await finetuning.plan(services, recipe_name="default")

    assert (plan.data.counts, plan.data.reviewed, plan.obstacle) == ({"correction": 10, "confirmed": 2}, 12, "")
    assert (plan.preflight.estimate_s, plan.preflight.warnings, plan.triggers.ready) == (90, ["slow"], True)
    assert (machine.order.samples, machine.order.limits.samples_min) == (12, 10)
    assert machine.asked == [("preflight", "")]
    assert not settings.jobs_root.exists()


async def test_an_unknown_recipe_is_refused_with_the_known_ones(services):
    with pytest.raises(Invalid, match="no recipe 'x'; there are default, seed"):
        await finetuning.plan(services, recipe_name="x")


async def test_with_too_few_reviews_nothing_starts_and_nothing_is_written(lyra, services, settings, start):
    await lyra.review(corrected=9)

    with pytest.raises(TooFewReviews, match=r"9 reviews .* at least 10 are needed; review_queue\(\) offers edges"):
        await start(force=True)

    assert not settings.jobs_root.exists()
    assert await lyra.count("jobs") == 0


async def test_what_the_machine_refuses_is_an_obstacle(lyra, services, machine, settings, ready, start):
    machine.obstacle = JobProblem(code="insufficient_disk", message="0.9 GB are free, 1.0 are needed")

    assert (await finetuning.plan(services, recipe_name="seed")).obstacle == "0.9 GB are free, 1.0 are needed"
    with pytest.raises(DiskFull, match=r"0\.9 GB are free"):
        await start(force=True)
    machine.obstacle = JobProblem(code="insufficient_gpu_memory", message="the GPU has 3.9 GB free")
    with pytest.raises(Unavailable, match=r"3\.9 GB free"):
        await start(force=True)
    assert not settings.jobs_root.exists()


async def test_what_a_person_set_reaches_the_order(lyra, services, settings, machine, ready, start):
    set_ = {
        "training_sampling": "domain_balanced",
        "training_batch": 4,
        "training_device": "cpu",
        "training_time_s": 600,
        "training_steps_max": 50,
    }
    job = await start(replace(services, settings=settings.model_copy(update=set_)))

    order = NliLoraRequest.model_validate_json((settings.jobs_root / job.job_id / "request.json").read_bytes())
    limits = order.limits
    assert (order.recipe.sampling, machine.order.recipe.sampling) == ("domain_balanced", "domain_balanced")
    assert (limits.batch, limits.device, limits.time_s, limits.steps_max) == (4, "cpu", 600, 50)
    assert machine.order.limits == limits


async def test_triggers_that_are_not_met_need_force(lyra, services, build_services, settings, ready, start):
    strict = replace(services, settings=settings.model_copy(update={"trigger_corrections": 11}))

    with pytest.raises(Conflict, match=r"the triggers are not all met; .*force=true trains anyway"):
        await start(strict)
    assert (await start(strict, force=True)).state == "preparing"


async def test_a_start_leaves_the_order_the_worker_needs(services, settings, machine, ready, start):
    job = await start()

    assert files(settings) == [
        f"jobs/{job.job_id}",
        *(f"jobs/{job.job_id}/{name}" for name in ("request.json", "samples.jsonl", "state.json")),
    ]
    order = NliLoraRequest.model_validate_json((settings.jobs_root / job.job_id / "request.json").read_bytes())
    assert (order.fingerprint, order.base_model, order.champion) == ("first", "keywords", None)
    assert (order.samples_sha256, order.recipe_name, order.limits.samples_min) == (job.samples_sha256, "seed", 10)


async def test_one_job_at_a_time(services, machine, ready, start):
    job = await start()

    said = rf"job '{job.job_id}' is training; finetune_status\(job_id='{job.job_id}', wait_s=45\) waits for it"
    with pytest.raises(Conflict, match=said):
        await start(force=True)


async def test_two_servers_that_start_at_once_start_one_job(lyra, settings, build_services, services, ready, start):
    other = build_services(settings)
    results = await asyncio.gather(start(), start(other), return_exceptions=True)
    await other.database.close()

    assert sorted(type(result).__name__ for result in results) == ["Conflict", "Job"]
    assert await lyra.count("jobs") == 1


@pytest.fixture
def start_once(services):
    async def start_once(services=services, recipe="seed"):
        key = Key("finetune", "key", {"recipe": recipe})

        async def act():
            job = await finetuning.start(services, recipe_name=recipe, force=False, key=key)
            return {"job_id": job.job_id, "state": job.state}

        return await once(services, key, act)

    return start_once


async def test_a_key_starts_one_job(lyra, services, machine, ready, start_once):
    first = await start_once()
    machine.finish(first["job_id"])
    await watching.watch(services, first["job_id"])

    assert (await start_once(), await lyra.count("jobs")) == (first, 1)
    with pytest.raises(Conflict, match="this idempotency_key was used for another request"):
        await start_once(recipe="default")


async def test_servers_that_start_at_once_with_one_key_give_one_answer(
    lyra, settings, build_services, services, ready, start_once
):
    others = [build_services(settings) for _ in range(3)]
    answers = await asyncio.gather(*(start_once(one) for one in [services, *others]), return_exceptions=True)
    for one in others:
        await one.database.close()

    assert answers == [answers[0]] * 4
    assert await lyra.count("jobs") == 1


async def test_a_key_whose_order_was_refused_starts_another_job(lyra, machine, ready, start_once):
    machine.refused = Conflict("the GPU is too full")
    with pytest.raises(Conflict, match="the GPU is too full"):
        await start_once()
    machine.refused = None

    await start_once()
    assert [row["state"] for row in await lyra.sql("SELECT state FROM jobs ORDER BY seq")] == ["failed", "preparing"]


async def test_a_full_disk_leaves_neither_folder_nor_job(lyra, settings, services, ready, start, monkeypatch):
    def fail(_path, _content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_folders, "_write", fail)
    with pytest.raises(DiskFull, match="nothing was written"):
        await start()

    assert (await lyra.count("jobs"), files(settings)) == (0, [])


async def test_a_start_the_worker_refuses_is_a_failed_job_with_its_problem_and_can_be_resumed(
    services, machine, ready, start, state
):
    machine.refused = Conflict("the GPU is too full")
    with pytest.raises(Conflict):
        await start()
    [failed] = await watching.watch_all(services, limit=9)

    machine.refused = None
    resumed = await finetuning.resume(services, failed.job.job_id)

    assert (failed.job.state, failed.job.problem) == ("failed", "the GPU is too full")
    assert (resumed.job.state, resumed.job.problem) == ("training", None)


async def test_a_worker_that_took_the_order_and_died_before_it_answered_leaves_an_interrupted_job(
    services, machine, ready, start, state
):
    machine.dies_after_start = True
    job = await start()

    assert await state(job) == ("interrupted", None)


async def test_a_job_that_is_just_being_ordered_is_left_alone(lyra, services, machine, settings, ready, start, clock):
    """A server died, or has not come so far, between the folder and the order."""
    job = await start()
    (settings.jobs_root / job.job_id / "state.json").unlink()

    assert (await watching.watch(services, job.job_id)).job.state == "preparing"
    clock.moment += ORDER_GRACE + timedelta(seconds=1)
    watched = await watching.watch(services, job.job_id)
    assert (watched.job.state, watched.job.problem) == (
        "interrupted",
        "the server ended before it could order the training",
    )
    assert (await finetuning.resume(services, job.job_id)).job.state == "training"


async def test_however_many_jobs_came_after_it_one_that_is_resumed_becomes_a_version(
    services, machine, ready, start, monkeypatch
):
    job = await start()
    machine.write(job.job_id, "interrupted")
    await reconciling.reconcile(services)
    machine.refused = DiskFull("no room")
    for _ in range(reconciling.TIDIED_MAX + 1):
        with pytest.raises(DiskFull):
            await start(force=True)
    machine.refused = None
    await finetuning.resume(services, job.job_id)
    shown = await watching.watch_all(services, limit=3)
    machine.finish(job.job_id)

    assert [watched.job.state for watched in shown] == ["training", "failed", "failed"]
    assert (await watching.watch(services, job.job_id)).job.state == "candidate"


async def test_a_resumed_job_is_watched_although_the_workers_answer_was_lost(services, machine, ready, start, state):
    job = await start()
    machine.write(job.job_id, "failed", problem=JobProblem(code="insufficient_disk", message="no room"))
    await reconciling.reconcile(services)
    resume = machine.resume

    async def unheard(job_id, key=None):
        raise WorkerGone("it ended")

    async def lost(job_id, key=None):
        await resume(job_id, key)
        raise WorkerGone("no answer in time")

    machine.resume = unheard
    with pytest.raises(WorkerGone, match="it ended"):
        await finetuning.resume(services, job.job_id)
    machine.resume = lost
    with machine.living(job.job_id):
        watched = await finetuning.resume(services, job.job_id)

    assert watched.job.state == "training"
    machine.finish(job.job_id)
    assert await state(job) == ("candidate", None)


async def test_base_and_champion_are_measured_with_the_calibrations_in_force(
    lyra, services, train, activate, start, settings
):
    await train()
    await activate(1)
    for number in range(20):
        edge = await lyra.add_edge(f"Claim {number}.", f"text number {number} margin=4")
        await lyra.correct(edge.edge_id, "supports" if number % 5 < 3 else "refutes")
    fitted, *_ = await calibration.fit(services, adapter=None)
    job = await start(force=True)

    order = NliLoraRequest.model_validate_json((settings.jobs_root / job.job_id / "request.json").read_bytes())
    assert fitted.is_kept
    assert (order.base_temperature, order.champion_temperature) == (None, pytest.approx(fitted.temperature))
