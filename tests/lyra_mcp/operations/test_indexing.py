"""Memories get their vectors in the background."""

import asyncio
import re

from lyra_mcp.domain.memories import NewEpisode
from lyra_mcp.errors import WorkerGone
from lyra_mcp.operations import indexing
from lyra_mcp.operations.recalling import recall
from lyra_mcp.operations.remembering import remember


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


async def test_a_run_of_writes_is_not_disturbed(services, worker, monkeypatch):
    monkeypatch.setattr(indexing, "QUIET_S", 60.0)
    for n in range(3):
        await remember(services, NewEpisode("note", f"memory number {n}"))
    state = (await recall(services, "memory")).index_state

    assert worker.embedded == [["memory"]]
    assert state == "pending: 3 of 3"


async def test_a_run_of_writes_that_does_not_end_gets_its_vectors_in_between(lyra, services, monkeypatch):
    monkeypatch.setattr(indexing, "QUIET_S", 60.0)
    monkeypatch.setattr(indexing, "QUIET_S_MAX", 0.05)
    await remember(services, NewEpisode("note", "a memory"))

    async def is_done():
        await remember(services, NewEpisode("note", "another"))
        return len(await _vectors(lyra)) > 0

    await _until(is_done)


async def test_the_vectors_come_a_quiet_moment_after_the_last_write(lyra, services, monkeypatch):
    monkeypatch.setattr(indexing, "QUIET_S", 0.05)
    for n in range(20):
        await remember(services, NewEpisode("note", f"memory number {n}"))

    async def is_done():
        return len(await _vectors(lyra)) == 20

    await _until(is_done)


async def test_a_memory_that_the_worker_refuses_does_not_keep_the_others_waiting(
    lyra, services, worker, memorise, caplog
):
    seqs = [await memorise(text) for text in ("one", "unreadable thing", "three", " " * 1_000, "five")]
    worker.unreadable = "unreadable"
    services.index.wake()
    await services.index.idle()

    assert await _vectors(lyra) == [seqs[0], seqs[2], seqs[4]]
    assert (await recall(services, "thing")).index_state == "ready"
    refused = await lyra.sql(f"SELECT memory_id FROM memories WHERE seq IN ({seqs[1]}, {seqs[3]})")
    assert {row["memory_id"] for row in refused} == set(re.findall(r"mem_\w+", caplog.text))
    assert "unreadable thing" not in caplog.text


async def test_another_encoder_is_asked_again_for_what_was_refused(lyra, services, worker, memorise):
    seq = await memorise("unreadable thing")
    worker.unreadable = "unreadable"
    services.index.wake()
    await services.index.idle()
    worker.unreadable, worker.fingerprint = None, "second"
    await recall(services, "thing")
    await services.index.idle()

    assert await _vectors(lyra) == [seq]


async def test_what_is_written_after_the_database_was_replaced_gets_its_vector(lyra, services, memorise):
    await memorise("before")
    services.index.wake()
    await services.index.idle()
    await lyra.sql("DELETE FROM memories")
    await lyra.sql("DELETE FROM encoders")
    await services.index.forget()
    seq = await memorise("after")
    services.index.wake()
    await services.index.idle()

    assert await _vectors(lyra) == [seq]
