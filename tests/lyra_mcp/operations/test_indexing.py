"""Memories get their vectors in the background."""

import asyncio

from lyra_mcp.errors import WorkerGone
from lyra_mcp.operations import indexing


async def _vectors(lyra) -> list[int]:
    return [row["memory_seq"] for row in await lyra.sql("SELECT memory_seq FROM memory_vectors ORDER BY memory_seq")]


async def _until(is_true) -> None:
    async with asyncio.timeout(5):
        while not await is_true():  # noqa: ASYNC110 - the state lies in the database
            await asyncio.sleep(0.01)


async def test_what_was_written_gets_its_vector_after_a_wake(lyra, services, memorise):
    seqs = [await memorise(f"memory number {n}") for n in range(40)]

    services.index.wake()

    async def is_done():
        return await _vectors(lyra) == seqs

    await _until(is_done)


async def test_nothing_asks_the_worker_before_something_was_written(services, worker):
    services.index.wake()
    await services.index.idle()

    assert worker.embedded == []


async def test_a_worker_that_is_away_is_asked_again_later(lyra, services, worker, memorise, monkeypatch):
    monkeypatch.setattr(indexing, "RETRY_S_MIN", 0.01)
    worker.problem = WorkerGone("it died")
    seq = await memorise("a memory")
    services.index.wake()

    async def has_failed():
        return services.index.problem == "E_WORKER: it died"

    await _until(has_failed)
    worker.problem = None
    await services.index.idle()

    assert await _vectors(lyra) == [seq]
    assert services.index.problem == ""
