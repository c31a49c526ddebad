"""Whose turn it is when something goes wrong; the child is a shell script, for what it trains does not matter here."""

import asyncio
import shutil
from datetime import UTC, datetime

import pytest

from ml_worker import job_folders
from ml_worker.job_folders import JobRefused, reconciled
from ml_worker.jobs import JobMachine, JobOptions
from schema.jobs import JobStatus

WAIT_S = 30.0


@pytest.fixture
async def machine(tmp_path):
    machine = JobMachine(JobOptions(tmp_path / "jobs", tmp_path / "jobs"))
    yield machine
    await machine.stop()


@pytest.fixture
def fill_disk(monkeypatch):
    """Leave no room for what holds these words; returns what was not written."""
    refused, write = [], job_folders.write_atomically

    def fill(*words):
        def write_or_refuse(path, content):
            if path.parent.name == "one" and any(word in content for word in words):
                refused.append(content)
                raise OSError(28, "No space left on device")
            write(path, content)

        monkeypatch.setattr(job_folders, "write_atomically", write_or_refuse)
        return refused

    return fill


def begin(folder, state):
    status = JobStatus(job_id=folder.path.name, kind="nli_lora", state=state, created_at=datetime.now(UTC))
    folder.write_status(status)
    return status


async def reach(machine, job_id, state):
    async with asyncio.timeout(WAIT_S):
        while (status := machine.status(job_id)).state != state:  # noqa: ASYNC110 - the machine has no event for it
            await asyncio.sleep(0.01)
    return status


async def test_a_job_whose_folder_is_deleted_while_it_trains_holds_up_nobody(machine, make_job, child_does):
    child_does('case "$4" in */one) rm -r "$4" ;; esac')
    for job_id in ("one", "two"):
        make_job(job_id)
        machine.start(job_id)

    await reach(machine, "two", "interrupted")  # had its turn: its child wrote nothing and left
    assert not machine.is_busy


async def test_nor_does_one_that_an_earlier_worker_began(machine, make_job, child_does):
    child_does("exit 0")
    one, two = make_job("one"), make_job("two")
    begin(one, "training")
    begin(two, "waiting")
    with one.held():
        machine.reconcile()
        await asyncio.sleep(0)  # the watch has seen that it runs
        assert machine.status("two").state == "waiting"
        shutil.rmtree(one.path)

        await reach(machine, "two", "interrupted")


async def test_one_that_cannot_be_started_has_failed_and_the_next_has_its_turn(
    machine, make_job, child_does, fill_disk
):
    child_does("exit 0")
    refused = fill_disk(b'"preparing"')
    for job_id in ("one", "two"):
        make_job(job_id)
        machine.start(job_id)

    await reach(machine, "two", "interrupted")
    problem = machine.status("one").problem
    assert (problem.code, len(refused)) == ("insufficient_disk", 1)
    assert "free some space, then resume the job" in problem.message


async def test_where_not_even_its_failure_can_be_written_it_is_not_tried_again_until_it_is_resumed(
    machine, make_job, child_does, fill_disk
):
    child_does("exit 0")
    refused = fill_disk(b'"preparing"', b'"failed"')
    one, _ = make_job("one"), make_job("two")
    machine.start("one")
    machine.start("two")

    await reach(machine, "two", "interrupted")
    assert (machine.status("one").state, machine.is_busy) == ("failed", False)
    assert sum(b'"preparing"' in content for content in refused) == 1
    assert one.read_status().state == "waiting"

    fill_disk()
    told = machine.status("one")
    assert one.read_status() == told, "written as soon as there is room"
    machine.resume("one")
    assert (await reach(machine, "one", "interrupted")).problem is None


async def test_one_that_was_cancelled_before_it_could_fail_to_start_is_cancelled(
    machine, make_job, child_does, fill_disk
):
    child_does("exit 0")
    fill_disk(b'"preparing"')
    make_job("one")
    machine.start("one")
    machine.cancel("one")

    await reach(machine, "one", "cancelled")


async def test_one_that_has_failed_is_cancelled_also_while_its_process_is_still_leaving(machine, make_job, child_does):
    child_does("""sed -i 's/"preparing"/"failed"/' "$4/state.json"; exec sleep 60""")
    folder = make_job("one")
    machine.start("one")
    await reach(machine, "one", "failed")

    assert folder.is_running()
    assert machine.cancel("one").state == "cancelled"


async def test_one_that_is_trained_by_hand_is_waited_for(machine, make_job, child_does):
    child_does("exit 0")
    folder = make_job("one")
    with folder.held():
        machine.start("one")
        await asyncio.sleep(0)  # it was tried
        assert machine.status("one").state == "waiting"

    await reach(machine, "one", "interrupted")


@pytest.mark.parametrize("state", ["preparing", "training", "evaluating"])
def test_a_cancelled_job_whose_child_was_killed_keeps_no_checkpoints(make_job, state):
    folder = make_job("one")
    status = begin(folder, state)
    (folder.checkpoints / "step-00000001").mkdir(parents=True)
    folder.cancel.touch()

    assert reconciled(folder, status).state == "cancelled"
    assert not folder.checkpoints.exists()


@pytest.mark.parametrize("action", ["start", "resume", "cancel", "status"])
async def test_a_job_whose_state_is_damaged_is_refused_with_what_to_do(machine, make_job, action):
    folder = make_job("one")
    folder.state.write_bytes(b'{"job_id": "on')

    with pytest.raises(JobRefused, match=r"cannot be read; finetune\(action='start'\) begins anew") as refused:
        getattr(machine, action)("one")
    assert refused.value.problem.code == "failed"


async def test_an_unknown_job_is_refused_in_words_an_agent_can_use(machine, make_job):
    make_job("prepared")

    for job_id, said in (("nobody", r"finetune_status\(\) lists them"), ("prepared", r"finetune\(action='start'\)")):
        with pytest.raises(JobRefused, match=said):
            machine.status(job_id)
