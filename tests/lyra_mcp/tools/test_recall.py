"""The tool `recall` as an agent meets it."""

import asyncio

import pytest

from lyra_mcp.errors import WorkerGone


@pytest.fixture
def remember():
    async def remember(agent, *texts):
        for text in texts:
            await agent.call("remember", memory={"kind": "episode", "event_type": "note", "description": text})

    return remember


async def test_the_next_call_finds_what_was_remembered(connect, remember):
    async with connect() as agent:
        await remember(agent, "The bridge opens at seven.", "Cats sleep.")
        answer = await agent.call("recall", query="When does the bridge open?", limit=1)

    [hit] = answer["hits"]
    assert hit["preview"] == "The bridge opens at seven. (note)"
    assert hit["uri"] == f"memory://{hit['id']}"
    assert hit["kind"] == "episode"
    assert hit["why"].startswith("words 'bridge' (rank 1)")
    assert answer["index_state"] == "ready" or answer["index_state"].startswith("pending: ")
    assert "degraded" not in answer


async def test_pages_follow_by_cursor_and_end(connect, remember):
    async with connect() as agent:
        await remember(agent, *(f"bridge {number}" for number in range(5)))
        async with asyncio.timeout(10):
            while (await agent.call("recall", query="bridge"))["index_state"] != "ready":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        first = await agent.call("recall", query="bridge", limit=3)
        second = await agent.call("recall", query="bridge", limit=3, cursor=first["next_cursor"])

    assert (len(first["hits"]), len(second["hits"])) == (3, 2)
    assert not {hit["id"] for hit in first["hits"]} & {hit["id"] for hit in second["hits"]}
    assert "next_cursor" not in second


async def test_a_cursor_that_is_not_ours_or_of_another_question_is_refused(connect, remember):
    async with connect() as agent:
        await remember(agent, "bridge one", "bridge two")
        cursor = (await agent.call("recall", query="bridge", limit=1))["next_cursor"]

        assert "E_INVALID: the cursor belongs to another question" in await agent.refused(
            "recall", query="bridges", cursor=cursor
        )
        for tampered in ("AAAA", "💥", cursor[:-2], "-1"):
            assert "E_INVALID: the cursor" in await agent.refused("recall", query="bridge", cursor=tampered)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"since": "yesterday"}, "since must be a date or time"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "since is later than until"),
        ({"min_rating": 6}, "min_rating: "),
        ({"min_rating": "5"}, None),
        ({"limit": 51}, "limit: "),
        ({"kinds": ["dream"]}, "kinds.0: "),
        ({"query": ""}, "query: "),
        ({"query": "x" * 100_000}, "query: "),
    ],
)
async def test_bad_arguments_are_named(connect, arguments, said):
    async with connect() as agent:
        if said is None:
            await agent.call("recall", **{"query": "bridge", **arguments})
        else:
            assert f"E_INVALID: {said}" in await agent.refused("recall", **{"query": "bridge", **arguments})


async def test_nothing_found_says_what_to_do(connect):
    async with connect() as agent:
        answer = await agent.call("recall", query="bridge")

    assert answer["hits"] == []
    assert answer["next_step"].startswith("Nothing was found; ask in other words")
    assert answer["index_state"] == "ready"


async def test_a_worker_that_is_away_degrades_the_answer(connect, remember, worker):

    async with connect() as agent:
        await remember(agent, "The bridge opens at seven.")
        worker.problem = WorkerGone("it died")
        answer = await agent.call("recall", query="bridge")

    assert len(answer["hits"]) == 1
    assert answer["degraded"] is True
    assert answer["degraded_reason"] == "found by words alone; E_WORKER: it died"


async def test_nothing_found_by_words_alone_is_worth_another_try(connect, worker, remember):
    worker.problem = WorkerGone("it died")
    async with connect() as agent:
        await remember(agent, "Cats sleep.")
        answer = await agent.call("recall", query="bridge")

    assert (answer["hits"], answer["degraded"]) == ([], True)
    assert "ask again" in answer["next_step"]
