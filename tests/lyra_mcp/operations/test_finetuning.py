"""A training from its plan to a registered version, and whatever can happen to it in between."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from lyra_mcp.errors import Conflict, DiskFull, Invalid, NotFound, TooFewReviews, WorkerGone
from lyra_mcp.operations import finetuning
from lyra_mcp.operations.idempotency import once
from lyra_mcp.operations.reconciling import ORDER_GRACE, reconcile
from lyra_mcp.storage import job_folders
from schema.jobs import JobProblem, NliLoraRequest


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 5})


@pytest.fixture
async def ready(lyra):
    """Ten corrections: enough for every trigger and for a training."""
    await lyra.review(corrected=10)


@pytest.fixture
def start(services):
    async def start(services=services, *, force=False):
        return await finetuning.start(services, recipe_name="seed", force=force)

    return start


@pytest.fixture
def state(services):
    async def state(job):
        watched = await finetuning.watch(services, job.job_id)
        return watched.job.state, watched.job.problem

    return state


def kill_the_worker(machine):
    machine.problem = WorkerGone("no worker is running")


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
    with pytest.raises(Conflict, match=r"0\.9 GB are free"):
        await start(force=True)
    assert not settings.jobs_root.exists()


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


async def test_a_key_starts_one_job(lyra, services, ready):
    async def act():
        return {"job_id": (await finetuning.start(services, recipe_name="seed", force=False)).job_id}

    first = await once(services, "finetune", "key", request={"recipe": "seed"}, act=act)
    again = await once(services, "finetune", "key", request={"recipe": "seed"}, act=act)

    assert (first, await lyra.count("jobs")) == (again, 1)
    with pytest.raises(Conflict, match="this idempotency_key was used for another request"):
        await once(services, "finetune", "key", request={"recipe": "default"}, act=act)


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
    [failed] = await finetuning.watch_all(services, limit=9)

    machine.refused = None
    resumed = await finetuning.resume(services, failed.job.job_id)

    assert (failed.job.state, failed.job.problem) == ("failed", "E_CONFLICT: the GPU is too full")
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

    assert (await finetuning.watch(services, job.job_id)).job.state == "preparing"
    clock.moment += ORDER_GRACE + timedelta(seconds=1)
    watched = await finetuning.watch(services, job.job_id)
    assert (watched.job.state, watched.job.problem) == (
        "interrupted",
        "the server ended before it could order the training",
    )
    assert (await finetuning.resume(services, job.job_id)).job.state == "training"


# What becomes of it


async def test_a_finished_job_is_registered_with_the_gates_verdict(lyra, services, machine, settings, ready, start):
    job = await start()
    report = machine.finish(job.job_id)

    watched = await finetuning.watch(services, job.job_id)

    version = watched.version
    assert (watched.job.state, version.version, version.gate.passed) == ("candidate", 1, True)
    assert (version.samples_sha256, version.adapter_sha256) == (job.samples_sha256, report.adapter_sha256)
    assert (version.parent_version, version.base.accuracy, version.candidate.accuracy) == (None, 0.5, 1.0)
    assert (settings.adapters_root / version.adapter_path / "adapter_model.safetensors").is_file()
    parts = await lyra.sql("SELECT review_id, part FROM job_samples ORDER BY review_id")
    assert sorted((row["review_id"], row["part"]) for row in parts) == sorted(
        (sample.sample_id, sample.part) for sample in report.assigned
    )
    events = await lyra.sql("SELECT state FROM job_events ORDER BY seq")
    assert [event["state"] for event in events] == ["preparing", "gated", "candidate"]


async def test_reviews_are_marked_only_when_the_adapter_is_kept(lyra, services, machine, ready, start, state):
    job = await start()
    machine.write(job.job_id, "failed", problem=JobProblem(code="failed", message="no luck"))

    assert await state(job) == ("failed", "no luck")
    assert (await lyra.count("job_samples"), await lyra.count("model_versions")) == (0, 0)
    assert (await finetuning.read_current_triggers(services)).samples.value == 10


async def test_what_a_version_learned_from_is_no_new_correction(lyra, services, machine, ready, start):
    machine.finish((await start()).job_id)
    await reconcile(services)
    triggers = await finetuning.read_current_triggers(services)
    await lyra.review(corrected=1)

    assert (triggers.samples.value, triggers.samples.met, triggers.days_since_last.met) == (0, False, False)
    assert (await finetuning.read_current_triggers(services)).samples.value == 1


async def test_a_job_that_ended_while_no_server_lived_is_registered_by_the_next(
    settings, build_services, services, machine, ready, start
):
    job = await start()
    machine.finish(job.job_id)
    kill_the_worker(machine)

    next_server = build_services(settings)
    [watched] = await finetuning.watch_all(next_server, limit=9)
    await next_server.database.close()

    assert (watched.job.state, watched.version.version) == ("candidate", 1)


async def test_servers_that_register_at_once_make_one_version(
    lyra, settings, build_services, services, machine, ready, start
):
    job = await start()
    machine.finish(job.job_id)
    others = [build_services(settings) for _ in range(3)]

    seen = await asyncio.gather(*(finetuning.watch(one, job.job_id) for one in [services, *others, services]))
    for one in others:
        await one.database.close()

    assert {(watched.job.state, watched.version.version) for watched in seen} == {("candidate", 1)}
    assert (await lyra.count("model_versions"), await lyra.count("job_samples")) == (1, 10)


async def test_a_look_that_is_out_of_date_changes_nothing(services, machine, ready, start):
    """A server sees the job evaluating, and while it thinks, another one registers it."""
    job = await start()
    machine.write(job.job_id, "evaluating")

    async def another_server_is_faster():
        machine.finish(job.job_id)
        await reconcile(services)

    machine.after_status = another_server_is_faster
    await reconcile(services)

    watched = await finetuning.watch(services, job.job_id)
    assert (watched.job.state, watched.version.version) == ("candidate", 1)


async def test_without_a_worker_a_job_is_interrupted_unless_its_process_lives(services, machine, ready, start, state):
    job = await start()
    kill_the_worker(machine)

    with machine.living(job.job_id):
        assert await state(job) == ("training", None)
    assert await state(job) == ("interrupted", None)


async def test_an_interrupted_job_goes_on_when_it_is_resumed_and_ends_like_any(services, machine, ready, start, state):
    job = await start()
    machine.write(job.job_id, "interrupted")

    resumed = await finetuning.resume(services, job.job_id)
    machine.finish(job.job_id)

    assert (resumed.job.state, ("resume", job.job_id) in machine.asked) == ("training", True)
    assert await state(job) == ("candidate", None)


async def test_an_interrupted_job_that_turns_out_to_live_is_seen_again(services, machine, ready, start, state):
    job = await start()
    machine.write(job.job_id, "interrupted")
    assert await state(job) == ("interrupted", None)

    machine.write(job.job_id, "training")
    assert await state(job) == ("training", None)


async def test_only_an_interrupted_or_failed_job_is_resumed_and_only_alone(services, machine, ready, start):
    first = await start()
    with pytest.raises(Conflict, match="is training; only an interrupted or failed job can be resumed"):
        await finetuning.resume(services, first.job_id)
    machine.write(first.job_id, "interrupted")
    await reconcile(services)
    second = await start()

    with pytest.raises(Conflict, match=rf"job '{second.job_id}' is training"):
        await finetuning.resume(services, first.job_id)


async def test_a_cancelled_job_has_ended_for_good(services, machine, ready, start):
    job = await start()

    assert (await finetuning.cancel(services, job.job_id)).job.state == "cancelled"
    with pytest.raises(Conflict, match="is cancelled; there is nothing to cancel"):
        await finetuning.cancel(services, job.job_id)
    with pytest.raises(Conflict, match="is cancelled; only an interrupted or failed job"):
        await finetuning.resume(services, job.job_id)
    assert (await start()).state == "preparing"


@pytest.mark.parametrize("act", [finetuning.watch, finetuning.cancel, finetuning.resume])
async def test_an_unknown_job_is_an_error(services, act):
    with pytest.raises(NotFound, match=r"no job 'job_x'; finetune_status\(\) lists jobs"):
        await act(services, "job_x")


@pytest.mark.parametrize("damage", ["report.json", "adapter/adapter_model.safetensors"])
async def test_a_finished_job_whose_files_are_damaged_has_failed_and_blocks_nobody(
    lyra, services, machine, settings, ready, start, state, damage
):
    job = await start()
    machine.finish(job.job_id)
    (settings.jobs_root / job.job_id / damage).write_text("{")

    became, problem = await state(job)
    assert (became, problem.split(";")[0][:11], await lyra.count("model_versions")) == ("failed", "E_STORAGE: ", 0)
    assert (await start()).state == "preparing"


async def test_a_disk_too_full_for_the_adapter_fails_nothing_and_is_tried_again(
    services, machine, ready, start, monkeypatch, settings, state
):
    job = await start()
    machine.finish(job.job_id)

    def fail(_path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(job_folders, "_sync", fail)
        with pytest.raises(DiskFull):
            await state(job)
        assert list(settings.adapters_root.iterdir()) == []
    assert await state(job) == ("candidate", None)


async def test_a_state_that_cannot_be_read_is_a_failed_job(services, machine, settings, ready, start, state):
    job = await start()
    kill_the_worker(machine)
    (settings.jobs_root / job.job_id / "state.json").write_text("{")

    became, problem = await state(job)
    assert (became, problem[:40]) == ("failed", f"E_STORAGE: the state of job '{job.job_id}'"[:40])


async def test_a_job_whose_folder_is_gone_has_failed(services, machine, settings, ready, start, state):
    job = await start()
    job_folders.remove_folder(settings.jobs_root, job.job_id)

    assert await state(job) == ("failed", "its folder is gone; finetune(action='start') begins anew")


async def test_waiting_tells_the_progress_and_ends_with_the_job(services, machine, ready, start):
    job = await start()
    told = []

    async def tell(run):
        told.append((run.step, run.steps, run.state))
        if len(told) == 1:
            machine.finish(job.job_id)

    async with asyncio.timeout(20):
        watched = await finetuning.wait(services, job.job_id, wait_s=45, progress=tell)

    assert (watched.job.state, told[0], told[-1][2]) == ("candidate", (5, 50, "training"), "evaluated")


async def test_waiting_ends_in_time(services, machine, ready, start):
    async def tell(_run):
        pass

    async with asyncio.timeout(20):
        watched = await finetuning.wait(services, (await start()).job_id, wait_s=0.05, progress=tell)
    assert watched.job.state == "training"


# The gate


@pytest.mark.parametrize(
    ("scores", "failed"),
    [
        ({"candidate_right": 0.5, "base_right": 0.5}, ["holdout_accuracy"]),
        (
            {"candidate_right": 0.5, "base_right": 1.0},
            ["holdout_accuracy", "accuracy_gain_over_champion", "brier_gain_over_champion"],
        ),
        ({"agreement": 0.9}, ["agreement_with_base"]),
        ({"agreement": None}, ["agreement_with_base"]),
        ({}, []),
    ],
)
async def test_every_condition_of_the_gate_is_read_from_the_report(services, machine, ready, start, scores, failed):
    job = await start()
    machine.finish(job.job_id, **scores)

    watched = await finetuning.watch(services, job.job_id)

    gate = watched.version.gate
    assert ([condition.name for condition in gate.conditions if not condition.met], gate.passed) == (
        failed,
        not failed,
    )
    assert watched.job.state == "candidate"


async def test_an_adapter_that_passes_serves_without_asking_where_the_person_set_it_so(
    lyra, settings, services, machine, ready, start
):
    willing = replace(services, settings=settings.model_copy(update={"auto_activate": True}))
    job = await start(willing)
    machine.finish(job.job_id)
    passed = await finetuning.watch(willing, job.job_id)
    await lyra.review(corrected=5)
    second = await start(willing, force=True)
    machine.finish(second.job_id, candidate_right=0.5)
    failed = await finetuning.watch(willing, second.job_id)

    assert (passed.job.state, failed.job.state) == ("champion", "candidate")


async def test_an_automatic_activation_that_does_not_work_leaves_a_candidate_and_its_reason(
    settings, services, machine, worker, ready, start
):
    willing = replace(services, settings=settings.model_copy(update={"auto_activate": True}))
    job = await start(willing)
    machine.finish(job.job_id)
    worker.refused[job.job_id] = "another base"

    watched = await finetuning.watch(willing, job.job_id)

    assert watched.job.state == "candidate"
    assert watched.job.problem.startswith("passed the gate, and could not be activated: E_CONFLICT: the worker refuses")
