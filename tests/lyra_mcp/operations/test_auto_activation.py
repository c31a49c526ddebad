"""LYRA_AUTO_ACTIVATE: what passes the gate serves without asking, and nothing else does."""

import asyncio
from dataclasses import replace

import pytest

from lyra_mcp.operations import adapters, reconciling, watching


@pytest.fixture
def willing(services, settings):
    """With the setting on."""
    return replace(services, settings=settings.model_copy(update={"auto_activate": True}))


async def test_an_adapter_that_passes_serves_without_asking_where_the_person_set_it_so(
    lyra, willing, machine, ready, start
):
    job = await start(willing)
    machine.finish(job.job_id)
    passed = await watching.watch(willing, job.job_id)
    await lyra.review(corrected=5)
    second = await start(willing, force=True)
    machine.finish(second.job_id, candidate_right=0.5)
    failed = await watching.watch(willing, second.job_id)

    assert (passed.job.state, failed.job.state) == ("champion", "candidate")


async def test_a_server_that_nobody_asks_finds_a_training_that_has_ended(
    lyra, willing, machine, ready, start, monkeypatch
):
    monkeypatch.setattr(reconciling, "LOOK_S", 0.01)
    job = await start(willing)
    machine.finish(job.job_id)

    task = asyncio.create_task(reconciling.keep_reconciling(willing))
    async with asyncio.timeout(5):
        while await lyra.sql("SELECT state FROM jobs WHERE state <> 'champion'"):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    task.cancel()


async def test_nothing_replaces_by_itself_what_it_was_not_compared_with(
    lyra, willing, machine, ready, start, train, activate
):
    """While it trained, the person chose another version than the one it was compared with."""
    await train()
    await train()
    await activate(1)
    await lyra.review(corrected=5)
    job = await start(willing, force=True)
    await activate(2, force=True)
    machine.finish(job.job_id)

    watched = await watching.watch(willing, job.job_id)

    assert watched.job.state == "candidate"
    assert "version 3 was compared with version 1, and version 2 serves now" in watched.job.problem


async def test_an_automatic_activation_that_does_not_work_leaves_a_candidate_and_its_reason(
    willing, machine, worker, ready, start
):
    job = await start(willing)
    machine.finish(job.job_id)
    worker.refused[job.job_id] = "another base"

    watched = await watching.watch(willing, job.job_id)

    assert watched.job.state == "candidate"
    assert watched.job.problem.startswith("passed the gate, and could not be activated: the worker refuses")


async def test_whom_somebody_else_activates_meanwhile_is_the_champion(services, willing, machine, worker, ready, start):
    job = await start(willing)
    machine.finish(job.job_id)
    load = worker.load_adapter

    async def slow(path=None, *, key=None):
        worker.load_adapter = load
        await adapters.activate(services, 1, reason="an agent was faster", force=False)
        return await load(path, key=key)

    worker.load_adapter = slow
    watched = await watching.watch(willing, job.job_id)

    assert (watched.job.state, watched.job.problem) == ("champion", None)
