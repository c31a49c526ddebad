"""With LYRA_ENCRYPT_FILES nobody reads in the files of a training what the person said, or what was learned from it."""

import hashlib
import json
import shutil
import zipfile

import pytest
from pydantic import SecretStr

from lyra_mcp.errors import StorageFailed, WorkerGone
from lyra_mcp.operations import adapters, erasing, exporting, finetuning, keys, retention, watching
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.storage import sealed_jobs
from lyra_mcp.storage.exports import open_sealed
from schema import sealing
from schema.jobs import JobProblem

SECRET = "zebrafish-4711-quartz"
SEALED = {"samples.jsonl.sealed", "report.json.sealed", "report.html.sealed", "log.sealed"}
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"encrypt_files": True, "passphrase": SecretStr("a long passphrase")})


@pytest.fixture
async def plain(build_services, settings):
    """The same home, served without the setting."""
    services = build_services(settings.model_copy(update={"encrypt_files": False}))
    yield services
    await services.index.close()
    await services.database.close()


@pytest.fixture
async def planted(lyra, ready):
    edge = await lyra.add_edge(f"A claim of {SECRET}.", f"evidence of {SECRET}")
    await lyra.correct(edge.edge_id, "refutes")


@pytest.fixture
def file_key(services):
    async def file_key():
        return (await services.database.unlocked()).files

    return file_key


def readable(folder):
    """Files that show what was said, or the weights that the scripted machine writes."""
    shown = (SECRET.encode(), b"weights of job")
    return {p.name for p in folder.rglob("*") if p.is_file() and any(one in p.read_bytes() for one in shown)}


def names(folder):
    return {path.name for path in folder.iterdir()}


async def test_an_ended_training_leaves_nothing_readable_and_everything_can_still_be_read(
    planted, services, machine, settings, start
):
    job = await start()
    folder = settings.jobs_root / job.job_id
    while_it_runs = readable(settings.home)
    samples = sealing.read(folder / "samples.jsonl", machine.keys[job.job_id], f"{job.job_id}/samples.jsonl")
    (folder / "checkpoints").mkdir()
    machine.finish(job.job_id)
    machine.put(job.job_id, "log", f"failed at {SECRET}".encode())

    await reconcile(services)
    sealed_names = names(folder)
    page, log = [await read(services, job.job_id) for read in (watching.read_page, watching.read_log)]
    done = await exporting.export(services, name=None)
    open_sealed(done.path, settings.home / "open.zip", "a long passphrase")

    assert (while_it_runs, readable(settings.home / "jobs"), readable(settings.adapters_root)) == (set(), set(), set())
    assert sealed_names >= SEALED
    assert sealed_names.isdisjoint({"samples.jsonl", "report.json", "report.html", "log", "checkpoints"})
    assert (page[:15], log) == ("<!doctype html>", f"failed at {SECRET}")
    with zipfile.ZipFile(settings.home / "open.zip") as archive:
        inside = f"model_repo/{job.job_id}"
        assert archive.read(f"model_repo/jobs/{job.job_id}/samples.jsonl") == samples
        report = json.loads(archive.read(f"model_repo/jobs/{job.job_id}/report.json"))
        assert report["adapter_sha256"] == hashlib.sha256(archive.read(f"{inside}/{WEIGHTS}")).hexdigest()
        assert [name for name in archive.namelist() if name.endswith(".sealed")] == []


async def test_an_interrupted_job_is_sealed_with_its_checkpoints_and_resumed_with_the_key(
    planted, services, plain, machine, settings, start, file_key
):
    """It was started before the setting was turned on."""
    job = await start(plain)
    folder = settings.jobs_root / job.job_id
    checkpoint = folder / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    for name in ("tensors.safetensors", "state.pt"):
        (checkpoint / name).write_bytes(SECRET.encode())
    (checkpoint / "manifest.json").write_text("{}")
    with machine.living(job.job_id):
        await reconcile(services)
        while_its_child_lives = names(folder)
    machine.write(job.job_id, "interrupted")
    await reconcile(services)
    key = await file_key()
    interrupted, place = readable(folder), f"{job.job_id}/checkpoints/step-00000001/state.pt"
    await finetuning.resume(services, job.job_id)
    machine.write(job.job_id, "failed", problem=JobProblem(code="failed", message="no luck"))
    await reconcile(services)

    assert "samples.jsonl" in while_its_child_lives
    assert (interrupted, machine.keys) == (set(), {job.job_id: key})
    assert names(checkpoint) == {"tensors.safetensors.sealed", "state.pt.sealed", "manifest.json"}
    assert sealing.read(checkpoint / "state.pt", key, place) == SECRET.encode()
    assert "samples.jsonl.sealed" in names(folder)


async def test_an_interrupted_sealing_is_finished(planted, services, machine, settings, start, file_key):
    job = await start()
    folder = settings.jobs_root / job.job_id
    machine.finish(job.job_id)
    await reconcile(services)
    # As if the power had failed while the plain files were overwritten, or before they were gone.
    (folder / "samples.jsonl").write_bytes(bytes(8))
    (settings.adapters_root / job.job_id / WEIGHTS).write_bytes(f"weights of {job.job_id}".encode())

    await reconcile(services)

    assert readable(settings.home) == set()
    assert "samples.jsonl" not in names(folder)
    place = f"{job.job_id}/samples.jsonl"
    assert SECRET.encode() in sealing.read(folder / "samples.jsonl", await file_key(), place)


async def test_a_disk_too_full_to_seal_leaves_the_plain_file_and_it_is_tried_again(
    planted, services, plain, machine, settings, start, monkeypatch
):
    job = await start(plain)
    machine.finish(job.job_id)
    await reconcile(plain)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(sealed_jobs, "write_private", fail)
        await reconcile(services)
        still = readable(settings.home)
    await reconcile(services)

    assert (still, readable(settings.home)) == ({"samples.jsonl", WEIGHTS}, set())


@pytest.mark.parametrize("damaged", ["state.json", "lock", "log.sealed"])
async def test_a_job_that_cannot_be_read_keeps_no_other_in_plain(
    planted, lyra, services, plain, machine, settings, start, damaged
):
    jobs = []
    for _ in range(3):
        jobs.append(await start(plain, force=True))
        machine.finish(jobs[-1].job_id)
        await reconcile(plain)
        await lyra.review(corrected=1)
    path = settings.jobs_root / jobs[1].job_id / damaged
    path.unlink(missing_ok=True)
    path.mkdir()
    await reconcile(services)

    others = [root / job.job_id for root in (settings.jobs_root, settings.adapters_root) for job in jobs[::2]]
    assert [readable(folder) for folder in others] == [set()] * 4


async def test_a_training_whose_state_cannot_be_read_is_not_sealed_while_its_process_lives(
    planted, services, plain, machine, settings, start
):
    job = await start(plain)
    samples = settings.jobs_root / job.job_id / "samples.jsonl"
    machine.write(job.job_id, "failed")
    await reconcile(plain)
    samples.with_name("state.json").write_text("{")
    with machine.living(job.job_id):
        await reconcile(services)
        assert samples.exists()


async def test_a_sealed_file_that_is_damaged_gives_way_to_a_plain_one(planted, services, machine, settings, start):
    job = await start()
    machine.finish(job.job_id)
    await reconcile(services)
    folder = settings.jobs_root / job.job_id
    (folder / "log.sealed").write_bytes(b"LYRA JOB 1\ncut")
    (folder / "log").write_bytes(b"all of it\n")

    await reconcile(services)
    assert await watching.read_log(services, job.job_id) == "all of it\n"


async def test_jobs_from_before_the_setting_are_sealed_by_the_daily_round_and_serve_on(
    planted, lyra, services, plain, machine, worker, settings, start, activate, file_key
):
    job = await start(plain)
    machine.finish(job.job_id)
    await reconcile(plain)
    before = readable(settings.home)
    await activate(1)
    await retention.apply_if_any(services)
    key = await file_key()
    served = (await lyra.judge("new", "a claim")).served_by.adapter

    assert before == {"samples.jsonl", WEIGHTS}
    assert readable(settings.home) == set()
    assert (served, worker.keys[-1]) == (job.job_id, (job.job_id, key))


async def test_without_the_setting_files_stay_as_they_are_and_no_key_is_handed_out(
    planted, lyra, plain, machine, worker, settings, start
):
    job = await start(plain)
    machine.finish(job.job_id)
    await reconcile(plain)
    await adapters.activate(plain, 1, reason=None, force=False)
    lyra.services = plain
    await lyra.judge("new", "a claim")

    assert "samples.jsonl" in names(settings.jobs_root / job.job_id)
    assert (settings.adapters_root / job.job_id / WEIGHTS).is_file()
    assert (machine.keys, {key for _, key in worker.keys}) == ({}, {None})


async def test_turned_off_again_what_is_sealed_is_still_read_and_new_files_are_plain(
    planted, lyra, plain, machine, worker, settings, train, activate, file_key
):
    first = await train()
    await activate(1)
    lyra.services, key = plain, await file_key()
    served = (await lyra.judge("new", "a claim")).served_by.adapter
    asked = worker.keys[-1]
    await lyra.review(corrected=5)
    second = await finetuning.start(plain, recipe_name="seed", force=True)
    in_plain = "samples.jsonl" in names(settings.jobs_root / second.job_id)
    ordered = machine.keys[second.job_id]
    machine.finish(second.job_id)
    await reconcile(plain)
    loaded = await adapters.load(plain, first)
    report = await watching.read_page(plain, first)

    assert (served, asked, worker.keys[-1]) == (first, (first, key), (first, key))
    assert (in_plain, ordered) == (True, key), "it is compared with a sealed champion"
    assert (loaded, report[:15]) == (first, "<!doctype html>")
    assert (settings.adapters_root / second.job_id / WEIGHTS).is_file()


async def test_the_champion_of_a_training_without_a_key_is_sealed_when_that_has_ended(
    planted, lyra, services, plain, machine, settings, start, activate
):
    first = await start(plain)
    machine.finish(first.job_id)
    await reconcile(plain)
    await activate(1)
    await lyra.review(corrected=5)
    second = await start(plain, force=True)
    served = settings.adapters_root / first.job_id
    await reconcile(services)
    while_it_trains = names(served)
    machine.finish(second.job_id)
    await reconcile(services)

    assert (WEIGHTS in while_it_trains, WEIGHTS in names(served)) == (True, False)


async def test_new_keys_make_nothing_unreadable(planted, services, settings, train, activate):
    job_id = await train()
    await keys.rotate(services)

    assert await watching.read_log(services, job_id) == "trained\n"
    assert await activate(1) == (None, 1)


async def test_a_sealed_adapter_is_activated_rolled_back_pruned_and_erased_like_any(
    planted, lyra, services, settings, train, activate, serving
):
    jobs = [await train() for _ in range(5)]
    assert await activate(5) == (None, 5)
    assert (await serving()) == (5, jobs[4])
    assert await adapters.roll_back(services, reason=None) == (5, None)
    pruned = await adapters.prune(services)
    left = names(settings.adapters_root)
    await erasing.erase(services)

    assert (sorted(pruned), left) == ([1, 2], set(jobs[2:]))
    assert not settings.adapters_root.exists() or names(settings.adapters_root) == set()


async def test_a_sealed_adapter_that_was_changed_is_refused_and_what_served_goes_on(
    planted, services, settings, train, activate, serving
):
    first = await train()
    await activate(1)
    second = await train()
    path = settings.adapters_root / second / f"{WEIGHTS}.sealed"
    good = path.read_bytes()
    for content in (good[:-1] + bytes([good[-1] ^ 1]), (settings.adapters_root / first / path.name).read_bytes()):
        path.write_bytes(content)
        with pytest.raises(StorageFailed, match=rf"{second}/{WEIGHTS}\.sealed was changed, .* or activate another"):
            await activate(2)
    assert await serving() == (1, first)


async def test_a_worker_that_was_started_anew_gets_the_key_in_the_next_look_at_the_job(
    planted, services, machine, start, state, file_key
):
    job = await start()
    machine.keys.clear()
    machine.write(job.job_id, "waiting", waits_for_key=True)

    assert (await state(job), machine.keys) == (("training", None), {job.job_id: await file_key()})


async def test_a_job_whose_key_the_worker_cannot_take_waits_on(planted, services, machine, start, state):
    job = await start()
    machine.write(job.job_id, "waiting", waits_for_key=True)
    machine.refused = WorkerGone("no worker is running")

    assert await state(job) == ("preparing", None)


async def test_a_key_that_does_not_open_a_waiting_job_is_told(planted, services, machine, start, state):
    job = await start()
    machine.write(job.job_id, "waiting", waits_for_key=True)
    machine.refused = StorageFailed("it belongs to another key; restore lyra.key from a backup, or train again")

    assert await state(job) == ("failed", machine.refused.message)
    assert (await finetuning.cancel(services, job.job_id)).job.state == "cancelled"


async def test_a_sealed_file_that_was_changed_or_put_elsewhere_is_refused(planted, services, machine, settings, start):
    job = await start()
    machine.finish(job.job_id)
    await reconcile(services)
    folder = settings.jobs_root / job.job_id
    good = (folder / "log.sealed").read_bytes()
    shutil.copy(folder / "samples.jsonl.sealed", folder / "log.sealed")
    with pytest.raises(StorageFailed, match=r"log\.sealed was changed"):
        await watching.read_log(services, job.job_id)
    (folder / "log.sealed").write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(StorageFailed, match=r"log\.sealed was changed"):
        await watching.read_log(services, job.job_id)
