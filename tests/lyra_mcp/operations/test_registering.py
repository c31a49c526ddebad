"""A training that has ended well is not lost: what may pass is tried again, and what was mended is registered."""

import asyncio
import hashlib

import pytest

from lyra_mcp.errors import Conflict
from lyra_mcp.operations import finetuning, watching
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.storage import job_folders
from lyra_mcp.storage.sealed_jobs import Damaged


@pytest.mark.parametrize("damage", ["report.json", "adapter/adapter_model.safetensors"])
async def test_a_finished_job_whose_files_are_damaged_has_failed_and_blocks_nobody(
    lyra, services, machine, settings, ready, start, state, damage
):
    job = await start()
    machine.finish(job.job_id)
    (settings.jobs_root / job.job_id / damage).write_text("{")

    said = (
        f"{damage.split('/')[0]} of job '{job.job_id}' is missing or was changed; put it back and call"
        f" finetune(action='resume', job_id='{job.job_id}'), or train again"
    )
    assert await state(job) == ("failed", said)
    assert (await lyra.count("model_versions"), list(settings.adapters_root.glob("*"))) == (0, [])
    assert (await start()).state == "preparing"


@pytest.mark.parametrize("damage", ["report.json", "adapter/adapter_model.safetensors"])
async def test_a_finished_job_whose_files_were_mended_is_registered_by_resuming_it(
    services, machine, settings, ready, start, state, damage
):
    job = await start()
    machine.finish(job.job_id)
    path = settings.jobs_root / job.job_id / damage
    good = path.read_bytes()
    path.unlink()
    became, problem = await state(job)
    with pytest.raises(Damaged, match="is missing or was changed"):
        await finetuning.resume(services, job.job_id)
    still = await state(job)
    path.write_bytes(good)

    resumed = await finetuning.resume(services, job.job_id)

    assert (became, still) == ("failed", ("failed", problem))
    assert (resumed.job.state, resumed.job.problem, resumed.version.version) == ("candidate", None, 1)
    assert "resume" not in [verb for verb, _ in machine.asked], "the worker has nothing left to do"


async def test_a_damaged_copy_in_the_place_of_the_adapter_gives_way_to_a_good_one(
    services, machine, settings, ready, start, state
):
    job = await start()
    report = machine.finish(job.job_id)
    served = settings.adapters_root / job.job_id
    served.mkdir(parents=True)
    (served / "adapter_model.safetensors").write_bytes(b"cut")

    assert await state(job) == ("candidate", None)
    assert hashlib.sha256((served / "adapter_model.safetensors").read_bytes()).hexdigest() == report.adapter_sha256


async def test_a_failed_job_that_ended_well_is_registered_only_when_no_other_is_under_way(
    services, machine, settings, ready, start, state
):
    job = await start()
    machine.finish(job.job_id)
    path = settings.jobs_root / job.job_id / "report.json"
    good = path.read_bytes()
    path.write_text("{")
    await state(job)
    path.write_bytes(good)
    other = await start()

    with pytest.raises(Conflict, match=rf"job '{other.job_id}' is training"):
        await finetuning.resume(services, job.job_id)


async def test_an_interrupted_job_that_turns_out_finished_waits_for_the_one_under_way(
    services, machine, ready, start, state
):
    first = await start()
    machine.write(first.job_id, "interrupted")
    await reconcile(services)
    second = await start()
    machine.finish(first.job_id)

    meanwhile = await state(first)
    await finetuning.cancel(services, second.job_id)

    assert (meanwhile, await state(first)) == (("interrupted", None), ("candidate", None))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "the disk is full and nothing was written; free some space"),
        (PermissionError(13, "Permission denied"), "the data folder cannot be written; set LYRA_HOME"),
        (OSError(5, "Input/output error"), "the data folder cannot be used (Input/output error)"),
    ],
)
async def test_a_disk_that_takes_no_adapter_fails_nothing_and_is_tried_again_at_each_look(
    services, machine, ready, start, monkeypatch, settings, state, error, said
):
    job = await start()
    machine.finish(job.job_id)

    def fail(_path):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(job_folders, "_sync", fail)
        seen = [await state(job), await state(job)]
        assert list(settings.adapters_root.iterdir()) == []

    assert seen == [("preparing", seen[0][1])] * 2
    assert seen[0][1].startswith(said)
    assert await state(job) == ("candidate", None)


async def test_a_file_in_the_place_of_the_adapters_folder_loses_no_training(
    lyra, services, machine, settings, ready, start, state
):
    job = await start()
    machine.finish(job.job_id)
    settings.adapters_root.write_text("in the way")

    async def tell(_run):
        pass

    async with asyncio.timeout(20):
        waited = await watching.wait(services, job.job_id, wait_s=45, progress=tell)
    settings.adapters_root.unlink()

    assert waited.job.problem.startswith("the data folder cannot be used (File exists)")
    assert await state(job) == ("candidate", None)
    events = await lyra.sql("SELECT state FROM job_events ORDER BY seq")
    assert [event["state"] for event in events] == ["preparing", "gated", "candidate"]


async def test_a_training_that_cannot_be_registered_can_be_given_up(services, machine, settings, ready, start, state):
    job = await start()
    machine.finish(job.job_id)
    settings.adapters_root.write_text("in the way")
    became, _ = await state(job)

    assert became == "preparing"
    assert (await finetuning.cancel(services, job.job_id)).job.state == "cancelled"
    settings.adapters_root.unlink()
    assert await state(job) == ("cancelled", None)
