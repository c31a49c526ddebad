"""Checkpoints are kept for as long as a training can go on from them, and no longer."""

import pytest

from lyra_mcp.operations import reconciling, retention
from lyra_mcp.operations.reconciling import reconcile


@pytest.fixture
def save_checkpoint(settings):
    """As a training saves it; returns the folder of the job's checkpoints."""

    def save_checkpoint(job):
        step = settings.jobs_root / job.job_id / "checkpoints" / "step-00000001"
        step.mkdir(parents=True)
        (step / "state.pt").write_bytes(b"what the training was doing")
        return step.parent

    return save_checkpoint


async def test_checkpoints_are_deleted_once_the_version_is_registered(services, machine, ready, start, save_checkpoint):
    job = await start()
    folder = save_checkpoint(job)
    await reconcile(services)
    while_it_trains = folder.exists()
    machine.finish(job.job_id)
    await reconcile(services)

    assert (while_it_trains, folder.exists()) == (True, False)


@pytest.mark.parametrize("state", ["interrupted", "failed"])
async def test_checkpoints_of_a_job_that_can_be_resumed_are_kept(
    services, machine, ready, start, save_checkpoint, state
):
    job = await start()
    folder = save_checkpoint(job)
    machine.write(job.job_id, state)
    await reconcile(services)
    await retention.apply_if_any(services)

    assert folder.exists()


async def test_checkpoints_of_jobs_registered_long_ago_are_deleted_by_the_daily_round(
    services, machine, ready, start, save_checkpoint, monkeypatch
):
    job = await start()
    machine.finish(job.job_id)
    await reconcile(services)
    folder = save_checkpoint(job)
    monkeypatch.setattr(reconciling, "TIDIED_MAX", 0)
    await reconcile(services)
    unseen = folder.exists()
    await retention.apply_if_any(services)

    assert (unseen, folder.exists()) == (True, False)
