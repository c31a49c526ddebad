"""A sealed job: trained like any other, with nothing to read on the disk and its key nowhere but in memory."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_worker.estimates import measured_s_per_char
from ml_worker.job_folders import JobFolder, JobRefused
from ml_worker.jobs import JobMachine, JobOptions
from ml_worker.training import checkpoints, run
from ml_worker.training.progress import Progress, StopFlag
from ml_worker.training.sealed_log import SealedLog
from schema import sealing
from schema.jobs import JobStatus, Limits, Preflight
from schema.reports import NliReport

KEY, OTHER = bytes(range(1, 33)), bytes(32)
WAIT_S = 120.0
#: Stand in every sample that `make_samples` writes.
TEXT, SOURCE = b"is near", b"example.org"


@pytest.fixture
def make_sealed(make_job):
    def make(*arguments, **changes):
        """As the server leaves a job's folder with the setting on."""
        folder = make_job(*arguments, **changes)
        folder.key = KEY
        content = folder.samples.read_bytes()
        sealing.sealed_path(folder.samples).write_bytes(folder.seal(content, folder.place(folder.samples)))
        folder.samples.unlink()
        return folder

    return make


def begin(folder):
    if folder.read_status() is None:
        folder.write_status(
            JobStatus(job_id=folder.path.name, kind="nli_lora", state="waiting", created_at=datetime.now(UTC))
        )


def train(folder):
    """In this process, without signals."""
    begin(folder)
    progress = Progress(folder, folder.read_status())
    return run.run_to_an_end(run.Run(folder, folder.path.parent, progress, StopFlag()), progress)


def readable(folder):
    """Files that show a text, a tensor's name or the key."""
    shown = (TEXT, SOURCE, b".lora_A.", KEY, KEY.hex().encode())
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    return {path.name for path in files if any(one in path.read_bytes() for one in shown)}


def weights(folder):
    path = folder.adapter / sealing.WEIGHTS
    return sealing.read(path, folder.key, sealing.place_of_weights(folder.adapter))


def test_killed_and_resumed_it_ends_like_an_undisturbed_plain_job_and_leaves_nothing_to_read(
    make_job, make_sealed, child, recipe, wait_until
):
    changes = {"recipe": recipe.model_copy(update={"epochs": 6, "patience": 6}), "limits": Limits(checkpoint_s=0.2)}
    plain, folder = make_job("plain", **changes), make_sealed("sealed", **changes)
    train(plain)
    process = child(folder, KEY)
    wait_until(process, lambda: any(folder.checkpoints.glob("step-*")))
    words = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    process.send_signal(signal.SIGKILL)
    process.wait(WAIT_S)
    torn = sealing.sealed_path(max(folder.checkpoints.glob("step-*")) / checkpoints.STATE)
    while_it_ran = readable(folder)
    torn.write_bytes(torn.read_bytes()[:-1])

    assert child(folder, KEY).wait(WAIT_S) == 0

    found = NliReport.model_validate_json(folder.read(folder.report))
    expected = NliReport.model_validate_json(plain.report.read_bytes())
    assert weights(folder) == weights(plain)
    assert (found.adapter_sha256, found.predictions) == (expected.adapter_sha256, expected.predictions)
    assert (while_it_ran, readable(folder)) == (set(), set())
    assert TEXT in folder.read(folder.page) or not found.changes
    log = folder.read(folder.log).decode()
    assert (log.count(" preparing"), log.count(" evaluated")) == (2, 1)
    assert not any(KEY in one or KEY.hex().encode() in one for one in words)
    assert not any(path.exists() for path in (folder.samples, folder.log, folder.report, folder.page))


def test_a_sealed_champion_answers_the_same_samples(make_sealed):
    first, second = make_sealed("first"), make_sealed("second", champion="first/adapter")
    assert [train(first), train(second)] == [0, 0]

    found = NliReport.model_validate_json(second.read(second.report))
    assert found.champion == found.candidate


def test_a_child_with_another_key_says_so_and_touches_nothing(make_sealed, child):
    folder = make_sealed()
    assert child(folder, OTHER).wait(WAIT_S) == 1

    status = folder.read_status()
    assert (status.state, status.problem.code) == ("failed", "sealed")
    assert "restore lyra.key from a backup, or train again" in status.problem.message
    assert not sealing.is_sealed(folder.log)


def test_a_child_whose_worker_died_before_it_gave_the_key_is_an_interrupted_job(make_sealed, child):
    folder = make_sealed()
    assert child(folder, KEY[:7]).wait(WAIT_S) == 1

    assert (folder.read_status().state, folder.read_status().problem) == ("interrupted", None)


def test_a_full_disk_is_a_failed_job_that_can_be_resumed(make_sealed, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    folder = make_sealed()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_write_manifest", full)
        train(folder)
    assert folder.read_status().problem.code == "insufficient_disk"
    assert list(folder.checkpoints.iterdir()) == []

    assert train(folder) == 0


def test_the_state_of_a_sealed_job_quotes_no_text(make_sealed, monkeypatch):
    def fail(*_, **__):
        raise ValueError(f"cannot read: the lamp {TEXT.decode()} 7")

    folder = make_sealed()
    monkeypatch.setattr(run, "prepare_data", fail)
    train(folder)

    assert folder.read_status().problem.message == "ValueError; the job's log has the rest"
    assert readable(folder) == set()


# The machine


def new_machine(tmp_path):
    return JobMachine(JobOptions(tmp_path / "jobs", tmp_path / "jobs"))


@pytest.fixture
async def machine(tmp_path):
    machine = new_machine(tmp_path)
    yield machine
    await machine.stop()


async def reach(machine, job_id, state):
    async with asyncio.timeout(WAIT_S):
        while (status := machine.status(job_id)).state != state:
            assert not status.is_final, status
            await asyncio.sleep(0.02)
    return status


async def test_it_starts_with_its_key_alone(machine, make_sealed, recipe, base, tmp_path):
    folder = make_sealed("one")
    for key, said in ((None, "no key was given; ask through the server"), (OTHER, "belongs to another key")):
        with pytest.raises(JobRefused, match=said) as refused:
            machine.start("one", key)
        assert refused.value.problem.code == "sealed"
    assert not folder.state.exists()

    machine.start("one", KEY)
    await reach(machine, "one", "evaluated")
    assert readable(folder) == set()
    assert machine._keys == {}
    order = Preflight(recipe=recipe, samples=120, chars_mean=60, key=KEY.hex())
    conditions = (tmp_path / "jobs", folder.read_status().device, base.fingerprint)
    assert measured_s_per_char(order, *conditions) > 0, "from the pace of the sealed job"
    assert measured_s_per_char(order.model_copy(update={"key": None}), *conditions) is None


async def test_a_worker_that_finds_it_waiting_leaves_it_waiting_until_the_key_comes_again(
    machine, make_sealed, make_job, may_end
):
    sealed, plain = make_sealed("sealed"), make_job("plain")
    may_end(sealed)
    may_end(plain)
    begin(sealed)  # an earlier worker took both orders and died
    begin(plain)
    machine.reconcile()
    await reach(machine, "plain", "evaluated")
    found = machine.status("sealed")

    assert (found.state, found.waits_for_key, machine.is_busy) == ("waiting", True, False)
    assert machine.start("sealed") == found
    with pytest.raises(JobRefused, match="belongs to another key"):
        machine.start("sealed", OTHER)
    assert not machine.start("sealed", KEY).waits_for_key
    assert machine.is_busy
    assert not (await reach(machine, "sealed", "evaluated")).waits_for_key


async def test_one_that_waits_for_its_key_can_be_cancelled_without_it(machine, make_sealed):
    begin(make_sealed("one"))
    machine.reconcile()

    cancelled = machine.cancel("one")
    assert (cancelled.state, cancelled.waits_for_key) == ("cancelled", False)


async def test_an_interrupted_one_is_resumed_with_its_key(machine, make_sealed, may_end):
    folder = make_sealed("one")
    machine.start("one", KEY)
    os.kill((await reach(machine, "one", "training")).pid, signal.SIGKILL)
    await reach(machine, "one", "interrupted")
    async with asyncio.timeout(WAIT_S):
        while machine._starting:  # noqa: ASYNC110 - the machine has no event for it
            await asyncio.sleep(0.02)
    with pytest.raises(JobRefused, match="no key was given"):
        machine.resume("one")

    machine.resume("one", KEY)
    may_end(folder)
    await reach(machine, "one", "evaluated")


async def test_a_child_that_outlives_its_worker_needs_no_second_key(tmp_path, machine, make_sealed, may_end):
    folder = make_sealed("one")
    machine.start("one", KEY)
    await reach(machine, "one", "training")
    for watch in machine._watches:  # from here on the first worker is as good as dead
        watch.cancel()
    second = new_machine(tmp_path)
    second.reconcile()

    may_end(folder)
    await reach(second, "one", "evaluated")
    await second.stop()


async def test_a_plain_job_that_is_compared_with_a_sealed_adapter_needs_the_key_too(machine, make_sealed, make_job):
    first = make_sealed("first")
    train(first)
    plain = make_job("plain", champion="first/adapter")
    with pytest.raises(JobRefused, match="compared with a sealed adapter and came without a key"):
        machine.start("plain")

    machine.start("plain", KEY)
    await reach(machine, "plain", "evaluated")
    assert plain.report.is_file()


# The log


def test_a_log_goes_on_where_it_ended_also_behind_a_torn_frame_and_a_plain_beginning(make_sealed):
    folder = make_sealed()
    folder.log.write_bytes(b"from before the setting\n")
    with SealedLog(folder) as log:
        print("first", file=log)
    path = sealing.sealed_path(folder.log)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x40torn")
    with SealedLog(folder) as log:
        print("second", end="", file=log)

    assert folder.read(folder.log) == b"from before the setting\nfirst\nsecond"
    assert not folder.log.exists()
    assert JobFolder(folder.path, KEY).read(folder.log).endswith(b"second")


def test_frames_of_a_log_cannot_change_places(make_sealed):
    folder = make_sealed()
    with SealedLog(folder) as log:
        print("first", file=log)
        print("other", file=log)
    path = sealing.sealed_path(folder.log)
    content = path.read_bytes()
    size = 4 + 12 + len(b"first\n") + 16
    path.write_bytes(content[: -2 * size] + content[-size:] + content[-2 * size : -size])

    with pytest.raises(JobRefused, match="was changed"):
        folder.read(folder.log)


def test_a_write_that_the_disk_cuts_leaves_the_log_whole(make_sealed):
    folder = make_sealed()
    log = SealedLog(folder)
    print("first", file=log)

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, content):
            self.file.write(content[:7])
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.file, name)

    log._file, kept = Full(log._file), log._file
    with pytest.raises(OSError, match="No space"):
        print("lost", file=log)
    log._file = kept
    print("second", file=log)
    log.close()

    assert folder.read(folder.log) == b"first\nsecond\n"
