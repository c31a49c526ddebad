"""What becomes of a training, whoever watches: a registered version, or a state that says what to do."""

import asyncio

import pytest

from lyra_mcp.errors import Conflict, NotFound, WorkerGone
from lyra_mcp.operations import finetuning, watching
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.storage import job_folders
from schema.jobs import JobProblem


def kill_the_worker(machine):
    machine.problem = WorkerGone("no worker is running")


async def test_a_finished_job_is_registered_with_the_gates_verdict(lyra, services, machine, settings, ready, start):
    job = await start()
    report = machine.finish(job.job_id)

    watched = await watching.watch(services, job.job_id)

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
    [watched] = await watching.watch_all(next_server, limit=9)
    await next_server.database.close()

    assert (watched.job.state, watched.version.version) == ("candidate", 1)


async def test_servers_that_register_at_once_make_one_version(
    lyra, settings, build_services, services, machine, ready, start
):
    job = await start()
    machine.finish(job.job_id)
    others = [build_services(settings) for _ in range(3)]

    seen = await asyncio.gather(*(watching.watch(one, job.job_id) for one in [services, *others, services]))
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

    watched = await watching.watch(services, job.job_id)
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


async def test_a_failed_job_is_given_up_by_cancelling_it(services, machine, ready, start, state):
    job = await start()
    machine.write(job.job_id, "failed", problem=JobProblem(code="failed", message="no luck"))
    await reconcile(services)

    assert (await finetuning.cancel(services, job.job_id)).job.state == "cancelled"
    assert ("cancel", job.job_id) in machine.asked, "the worker deletes its checkpoints"
    assert await state(job) == ("cancelled", None)


async def test_a_job_that_no_worker_has_heard_of_is_cancelled_at_once_and_blocks_nobody(
    services, machine, settings, ready, start
):
    """A server died, or has not come so far, between the folder and the order."""
    job = await start()
    folder = settings.jobs_root / job.job_id
    (folder / "state.json").unlink()

    cancelled = await finetuning.cancel(services, job.job_id)

    assert (cancelled.job.state, "cancel" in [verb for verb, _ in machine.asked]) == ("cancelled", False)
    assert (folder / "cancel").exists(), "an order that is on its way ends by it"
    assert (await start()).state == "preparing"


async def test_what_is_left_of_a_job_says_whether_it_can_be_resumed(services, machine, settings, ready, start, state):
    gone = await start()
    job_folders.remove_folder(settings.jobs_root, gone.job_id)
    await reconcile(services)
    damaged = await start()
    kill_the_worker(machine)
    (settings.jobs_root / damaged.job_id / "state.json").write_text("{")

    for job in (gone, damaged):
        watched = await watching.watch(services, job.job_id)
        assert (watched.job.state, watched.is_left) == ("failed", False)
        with pytest.raises(Conflict, match=r"nothing is left of job .* finetune\(action='start'\) begins anew"):
            await finetuning.resume(services, job.job_id)
        assert (await finetuning.cancel(services, job.job_id)).job.state == "cancelled"


@pytest.mark.parametrize("act", [watching.watch, finetuning.cancel, finetuning.resume])
async def test_an_unknown_job_is_an_error(services, act):
    with pytest.raises(NotFound, match=r"no job 'job_x'; finetune_status\(\) lists jobs"):
        await act(services, "job_x")


async def _tell_nobody(_run):
    pass


async def test_a_state_that_cannot_be_read_now_changes_nothing(services, machine, settings, ready, start, state):
    job = await start()
    await reconcile(services)
    kill_the_worker(machine)
    path = settings.jobs_root / job.job_id / "state.json"
    good = path.read_bytes()
    path.unlink()
    path.mkdir()
    meanwhile = await state(job)
    path.rmdir()
    path.write_bytes(good)

    with machine.living(job.job_id):
        again = await state(job)

    assert meanwhile == (
        "training",
        "the data folder cannot be used (Is a directory); set LYRA_HOME to a folder you own",
    )
    assert again == ("training", None)


async def test_a_state_that_cannot_be_read_is_a_failed_job(services, machine, settings, ready, start, state):
    job = await start()
    kill_the_worker(machine)
    (settings.jobs_root / job.job_id / "state.json").write_text("{")

    became, problem = await state(job)
    assert (became, problem) == (
        "failed",
        f"the state of job '{job.job_id}' cannot be read; finetune(action='start') begins anew",
    )


async def test_a_job_whose_folder_is_gone_has_failed(services, machine, settings, ready, start, state):
    job = await start()
    job_folders.remove_folder(settings.jobs_root, job.job_id)

    assert await state(job) == ("failed", "its folder is gone; finetune(action='start') begins anew")


# Waiting


async def test_waiting_tells_the_progress_and_ends_with_the_job(services, machine, ready, start):
    job = await start()
    told = []

    async def tell(run):
        told.append((run.step, run.steps, run.state))
        if len(told) == 1:
            machine.finish(job.job_id)

    async with asyncio.timeout(20):
        watched = await watching.wait(services, job.job_id, wait_s=45, progress=tell)

    assert (watched.job.state, told[0], told[-1][2]) == ("candidate", (5, 50, "training"), "evaluated")


async def test_waiting_ends_in_time(services, machine, ready, start):
    async with asyncio.timeout(20):
        watched = await watching.wait(services, (await start()).job_id, wait_s=0.05, progress=_tell_nobody)
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

    watched = await watching.watch(services, job.job_id)

    gate = watched.version.gate
    assert ([condition.name for condition in gate.conditions if not condition.met], gate.passed) == (
        failed,
        not failed,
    )
    assert watched.job.state == "candidate"


async def test_the_gate_tells_how_many_pairs_of_the_agreement_are_the_users_own(services, machine, ready, start):
    job = await start()
    machine.finish(job.job_id, agreement=0.95)

    gate = (await watching.watch(services, job.job_id)).version.gate

    assert gate.conditions[-1].detail == (
        "19 of 20 pairs the base is sure of; 5 of them your own unreviewed ones, the rest built from held-out texts"
    )
