"""What is told of the worker, and that asking changes nothing."""

import os
import signal

from lyra_mcp.worker_client import WorkerStatus
from schema import wire

MODELS = {"nli": "builtin", "embedding": "builtin"}


async def test_the_status_of_no_worker_is_stopped_and_starts_none(server, journal, settings):
    assert await server().status() == WorkerStatus("stopped", MODELS)
    assert (journal.pids(), settings.runtime_dir.exists()) == ([], False)


async def test_the_status_of_a_ready_worker_is_what_it_says(server, journal):
    process = server()
    await process.ensure()

    assert await process.status() == WorkerStatus(
        "ready",
        MODELS,
        pid=journal.pids()[0],
        device="cpu",
        fingerprint="f" * 64,
        queue=wire.Queue(pairs_waiting=0, pairs_max=8),
    )


async def test_the_status_of_a_dead_worker_is_stopped(server, journal):
    process = server()
    await process.ensure()
    os.kill(journal.pids()[0], signal.SIGKILL)
    await journal.wait_until_living([])

    assert (await process.status()).state == "stopped"


async def test_the_status_of_a_worker_that_does_not_answer_is_unreachable(server, journal):
    process = server()
    await process.ensure()
    os.kill(journal.pids()[0], signal.SIGSTOP)

    status = await process.status()

    assert (status.state, "did not answer within 2 s" in status.problem) == ("unreachable", True)
