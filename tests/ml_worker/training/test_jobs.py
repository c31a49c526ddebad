"""The job machine behind a real Unix socket; its children train, or stand in where only their turns matter."""

import asyncio
import os
import signal
import statistics
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from ml_worker.job_folders import JobFolder
from ml_worker.job_routes import mount_jobs
from ml_worker.jobs import JobMachine, JobOptions
from ml_worker.training.preconditions import Probes
from schema.jobs import JobList, JobProblem, JobStatus, NliLoraRecipe, Preflight, PreflightReply

WAIT_S = 120.0


class Client:
    def __init__(self, http: httpx2.AsyncClient, machine: JobMachine) -> None:
        self.http, self.machine = http, machine

    async def ask(self, method, path, status=200, **body):
        reply = await self.http.request(method, path, json=body or None)
        assert reply.status_code == status, reply.text
        return reply.content

    async def start(self, job_id, status=200):
        content = await self.ask("POST", "/jobs", status, job_id=job_id)
        return (JobStatus if status == 200 else JobProblem).model_validate_json(content)

    async def read(self, job_id):
        return JobStatus.model_validate_json(await self.ask("GET", f"/jobs/{job_id}"))

    async def act(self, job_id, action, status=200):
        content = await self.ask("POST", f"/jobs/{job_id}/{action}", status)
        return (JobStatus if status == 200 else JobProblem).model_validate_json(content)

    async def events(self, job_id):
        """Every status told, until the stream ends by itself."""
        async with asyncio.timeout(WAIT_S), self.http.stream("GET", f"/jobs/{job_id}/events") as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in reply.aiter_lines()]
        return [JobStatus.model_validate_json(line[6:]) for line in lines if line.startswith("data: ")]

    async def reach(self, job_id, *states):
        async with asyncio.timeout(WAIT_S), self.http.stream("GET", f"/jobs/{job_id}/events") as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: "):
                    status = JobStatus.model_validate_json(line.removeprefix("data: "))
                    if status.state in states:
                        return status
                    assert not status.is_final, status
        raise AssertionError(f"{job_id} never was {states}")


@asynccontextmanager
async def serving(jobs_root: Path, socket: Path, **probes):
    machine = JobMachine(JobOptions(jobs_root, adapters_root=jobs_root.parent, probes=Probes(**probes)))
    app = FastAPI()
    mount_jobs(app, machine)
    machine.reconcile()
    server = uvicorn.Server(uvicorn.Config(app, uds=str(socket), lifespan="off", log_config=None, ws="none"))
    running = asyncio.create_task(server.serve())
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    try:
        async with asyncio.timeout(WAIT_S):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        async with httpx2.AsyncClient(transport=transport, base_url="http://worker", timeout=WAIT_S) as http:
            yield Client(http, machine)
    finally:
        await machine.stop()
        server.should_exit = True
        await running


@pytest.fixture
def jobs_root(tmp_path):
    return tmp_path / "jobs"


@pytest.fixture
def socket(tmp_path_factory):
    return tmp_path_factory.mktemp("s") / "w.sock"


@pytest.fixture
async def client(jobs_root, socket):
    async with serving(jobs_root, socket) as client:
        yield client


@pytest.fixture
def long(recipe) -> NliLoraRecipe:
    """Longer than any test waits."""
    return recipe.model_copy(update={"epochs": 50, "patience": 50, "learning_rate": 1e-5, "batch": 1})


async def test_a_job_is_told_from_start_to_end_and_then_the_events_end(client, make_job, recipe):
    folder = make_job("one")
    order = Preflight(recipe=recipe, samples=120, chars_mean=60)
    content = await client.ask("POST", "/jobs/preflight", **order.model_dump())
    assert PreflightReply.model_validate_json(content).problem is None
    assert (await client.start("one")).state in ("waiting", "preparing")
    told = await client.events("one")

    states = list(dict.fromkeys(status.state for status in told))
    assert states[-1] == "evaluated"
    assert states == [s for s in ("waiting", "preparing", "training", "evaluating", "evaluated") if s in states]
    assert folder.report.exists()
    assert told[-1] == await client.read("one") == await client.start("one")
    assert await client.events("one") == [told[-1]]
    assert client.machine.is_busy is False


async def test_one_trains_and_the_others_wait_until_it_is_cancelled(client, make_job, may_end):
    folder = make_job("one")
    for job_id in ("two", "three"):
        may_end(make_job(job_id))
    await client.start("one")
    running = await client.reach("one", "training")
    assert (await client.start("one")).pid == running.pid
    assert [(await client.start(job_id)).state for job_id in ("two", "three")] == ["waiting", "waiting"]
    assert client.machine.is_busy
    assert (await client.act("three", "cancel")).state == "cancelled"

    await client.act("one", "cancel")
    assert (await client.events("one"))[-1].state == "cancelled"
    assert (await client.events("two"))[-1].state == "evaluated"
    jobs = JobList.model_validate_json(await client.ask("GET", "/jobs")).jobs
    assert {job.job_id: job.state for job in jobs} == {"one": "cancelled", "two": "evaluated", "three": "cancelled"}
    assert not folder.checkpoints.exists()
    assert not folder.adapter.exists()
    assert (await client.act("one", "resume", status=409)).code == "conflict"


async def test_a_killed_child_is_an_interrupted_job_that_resumes(client, make_job, recipe):
    folder = make_job("one", recipe=recipe.model_copy(update={"epochs": 20, "patience": 20}))
    await client.start("one")
    os.kill((await client.reach("one", "training")).pid, signal.SIGKILL)
    assert (await client.events("one"))[-1].state == "interrupted"
    assert not folder.adapter.exists()

    await client.act("one", "resume")
    assert (await client.events("one"))[-1].state == "evaluated"


async def test_a_worker_that_leaves_interrupts_its_child_and_the_next_goes_on_with_what_waited(
    jobs_root, socket, make_job, may_end
):
    make_job("one")
    may_end(make_job("two"))
    async with serving(jobs_root, socket) as client:
        await client.start("one")
        await client.start("two")
        await client.reach("one", "training")
    assert JobFolder(jobs_root / "one").read_status().state == "interrupted"

    async with serving(jobs_root, socket) as client:
        assert (await client.read("one")).state == "interrupted"
        assert (await client.events("two"))[-1].state == "evaluated"


async def test_a_child_that_outlives_its_worker_is_found_again(jobs_root, socket, tmp_path, make_job, may_end):
    make_job("one")
    may_end(make_job("two"))
    async with serving(jobs_root, socket) as first:
        await first.start("one")
        pid = (await first.reach("one", "training")).pid
        for watch in first.machine._watches:  # from here on the first worker is as good as dead
            watch.cancel()
        async with serving(jobs_root, tmp_path / "second.sock") as second:
            assert (await second.read("one")).pid == pid
            assert second.machine.is_busy
            assert (await second.start("two")).state == "waiting"
            await second.act("one", "cancel")
            assert (await second.events("one"))[-1].state == "cancelled"
            assert (await second.events("two"))[-1].state == "evaluated"


def test_judging_goes_on_while_a_child_trains(
    start_worker, base_folder, jobs_root, make_job, make_samples, long, wait_until
):
    """Beside a training that goes on from step to step every answer is the same as before, and soon there."""
    folder = make_job("one", recipe=long)
    pairs = [{"premise": sample.premise, "hypothesis": sample.hypothesis} for sample in make_samples(8, seed=99)]
    roots = ("--jobs-root", str(jobs_root), "--adapters-root", str(jobs_root / "no-adapters"))
    worker = start_worker("--nli-model", str(base_folder), *roots)
    worker.wait_for_state("ready")
    client = worker.client()

    def judge():
        since = time.monotonic()
        reply = client.post("/nli", json={"pairs": pairs})
        assert reply.status_code == 200, reply.text
        return reply.json(), time.monotonic() - since

    expected, _ = judge()
    client.post("/jobs", json={"job_id": "one"}).raise_for_status()
    steps, waits_s, deadline = set(), [], time.monotonic() + WAIT_S
    try:
        while len(steps) < 4 or len(waits_s) < 20:
            assert time.monotonic() < deadline, "the training does not go on"
            before = folder.read_status()
            answer, wait_s = judge()
            assert answer == expected
            after = folder.read_status()
            if before.state == after.state == "training":
                assert after.pid != worker.process.pid
                steps.add(after.step)
                waits_s.append(wait_s)
    finally:  # a child outlives its worker
        worker.client().post("/jobs/one/cancel").raise_for_status()
        wait_until(worker.process, lambda: not folder.is_running())

    assert statistics.quantiles(waits_s, n=20)[-1] < 5


async def test_an_unknown_job_is_told_as_such(client, make_job):
    make_job("prepared")
    for path in ("nobody", "prepared", "nobody/events", "..%2f..%2fetc"):
        content = await client.ask("GET", f"/jobs/{path}", 404)
        if "%" not in path:
            assert JobProblem.model_validate_json(content).code == "not_found"


async def test_changed_samples_are_refused_at_the_start(client, make_job):
    folder = make_job("one")
    with folder.samples.open("ab") as file:
        file.write(b"\n")

    assert (await client.start("one", status=400)).code == "invalid_samples"
    assert not folder.state.exists()


async def test_a_full_disk_is_refused_at_the_start(jobs_root, socket, make_job):
    folder = make_job("one")
    async with serving(jobs_root, socket, disk_free_bytes=lambda _: 900_000_000) as client:
        assert (await client.start("one", status=507)).code == "insufficient_disk"
    assert sorted(path.name for path in folder.path.iterdir()) == ["request.json", "samples.jsonl"]


async def test_a_gpu_without_room_is_refused_at_the_start(jobs_root, socket, make_job):
    make_job("one")
    async with serving(jobs_root, socket, gpu_free_bytes=lambda: 1_000_000_000) as client:
        assert (await client.start("one", status=503)).code == "insufficient_gpu_memory"
