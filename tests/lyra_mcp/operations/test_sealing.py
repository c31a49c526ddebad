"""With LYRA_ENCRYPT_FILES nobody reads in the folder of an ended training what the person said."""

import json
import shutil
import zipfile

import pytest
from pydantic import SecretStr

from lyra_mcp.errors import StorageFailed
from lyra_mcp.operations import exporting, finetuning, retention
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.storage.exports import open_sealed
from schema.jobs import JobProblem

SECRET = "zebrafish-4711-quartz"
SEALED = {"samples.jsonl.sealed", "report.json.sealed", "report.html.sealed", "log.sealed"}


@pytest.fixture
def settings(settings):
    wanted = {"training_samples_min": 10, "trigger_corrections": 5, "encrypt_files": True}
    return settings.model_copy(update=wanted | {"passphrase": SecretStr("a long passphrase")})


@pytest.fixture
async def planted(lyra, ready):
    edge = await lyra.add_edge(f"A claim of {SECRET}.", f"evidence of {SECRET}")
    await lyra.correct(edge.edge_id, "refutes")


def readable(folder):
    return {path.name for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()}


def names(folder):
    return {path.name for path in folder.iterdir()}


async def test_an_ended_training_leaves_nothing_readable_and_everything_can_still_be_read(
    planted, services, machine, settings, start
):
    job = await start()
    folder = settings.jobs_root / job.job_id
    samples = (folder / "samples.jsonl").read_bytes()
    (folder / "checkpoints").mkdir()
    assert readable(folder) == {"samples.jsonl"}
    machine.finish(job.job_id)
    (folder / "log").write_text(f"failed at {SECRET}")

    await reconcile(services)
    sealed_names = names(folder)
    page, log = [await read(services, job.job_id) for read in (finetuning.read_page, finetuning.read_log)]
    done = await exporting.export(services, name=None)
    open_sealed(done.path, settings.home / "open.zip", "a long passphrase")

    assert readable(settings.home / "jobs") == set()
    assert sealed_names >= SEALED
    assert sealed_names.isdisjoint({"samples.jsonl", "report.json", "report.html", "log", "checkpoints"})
    assert (page[:15], log) == ("<!doctype html>", f"failed at {SECRET}")
    with zipfile.ZipFile(settings.home / "open.zip") as archive:
        assert archive.read(f"model_repo/jobs/{job.job_id}/samples.jsonl") == samples
        assert json.loads(archive.read(f"model_repo/jobs/{job.job_id}/report.json"))["adapter_sha256"]


async def test_while_a_job_goes_on_the_worker_reads_it_in_plain(planted, services, machine, settings, start):
    job = await start()
    folder = settings.jobs_root / job.job_id
    machine.write(job.job_id, "interrupted")
    with machine.living(job.job_id):
        await reconcile(services)
        while_its_child_lives = names(folder)
    (folder / "checkpoints").mkdir()
    await reconcile(services)
    interrupted = names(folder)
    await finetuning.resume(services, job.job_id)
    resumed = names(folder)
    machine.write(job.job_id, "failed", problem=JobProblem(code="failed", message="no luck"))
    await reconcile(services)

    assert "samples.jsonl" in while_its_child_lives
    assert (interrupted & {"samples.jsonl", "samples.jsonl.sealed"}, readable(folder)) == (
        {"samples.jsonl.sealed"},
        set(),
    )
    assert resumed & {"samples.jsonl", "samples.jsonl.sealed"} == {"samples.jsonl"}
    assert (folder / "checkpoints").is_dir(), "it can be resumed again"


async def test_an_interrupted_sealing_is_finished(planted, services, machine, settings, start):
    job = await start()
    folder = settings.jobs_root / job.job_id
    samples = (folder / "samples.jsonl").read_bytes()
    machine.finish(job.job_id)
    await reconcile(services)
    (folder / "samples.jsonl").write_bytes(samples)  # as if the power had failed before the plain file was gone

    await reconcile(services)

    assert readable(folder) == set()
    assert "samples.jsonl.sealed" in names(folder)


async def test_jobs_from_before_the_setting_are_sealed_by_the_daily_round(planted, services, machine, settings, start):
    job = await start()
    machine.finish(job.job_id)
    await reconcile(services)
    folder = settings.jobs_root / job.job_id
    (folder / "samples.jsonl").write_text(SECRET)

    await retention.apply_if_any(services)

    assert readable(folder) == set()


async def test_without_the_setting_files_stay_as_they_are(planted, services, build_services, machine, settings, start):
    plain = build_services(settings.model_copy(update={"encrypt_files": False}))
    job = await start(plain)
    machine.finish(job.job_id)
    await reconcile(plain)
    await plain.database.close()
    await plain.index.close()

    assert "samples.jsonl" in names(settings.jobs_root / job.job_id)


async def test_a_sealed_file_that_was_changed_or_put_elsewhere_is_refused(planted, services, machine, settings, start):
    job = await start()
    machine.finish(job.job_id)
    await reconcile(services)
    folder = settings.jobs_root / job.job_id
    good = (folder / "log.sealed").read_bytes()
    shutil.copy(folder / "samples.jsonl.sealed", folder / "log.sealed")
    with pytest.raises(StorageFailed, match=r"log\.sealed was changed"):
        await finetuning.read_log(services, job.job_id)
    (folder / "log.sealed").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(StorageFailed, match=r"log\.sealed was changed"):
        await finetuning.read_log(services, job.job_id)
