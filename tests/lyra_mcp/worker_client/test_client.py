"""Requests, replies and errors over a real socket to a scripted worker."""

import asyncio
import os
import signal

import pytest

from lyra_mcp.errors import Invalid, NotFound, WorkerBusy, WorkerGone, WorkerWarming
from lyra_mcp.worker_client import WorkerClient
from schema import wire

SUPPORTS = wire.PerLabel(supports=4, refutes=0, neutral=0)
REFUTES = wire.PerLabel(supports=0, refutes=4, neutral=0)


@pytest.fixture
def client(server):
    return WorkerClient(server())


def pair(premise: str) -> wire.Pair:
    return wire.Pair(premise=premise, hypothesis="it rains")


async def judge(client, *premises: str, representation: bool = False) -> wire.JudgeReply:
    return await client.judge([pair(one) for one in premises], adapter="loaded", representation=representation)


async def test_the_first_judgement_starts_a_worker_and_the_answers_keep_their_order(client, journal):
    reply = await judge(client, "it does not rain", "it rains")

    assert [one.logits for one in reply.judgements] == [REFUTES, SUPPORTS]
    assert [one.representation for one in reply.judgements] == [None, None]
    assert len(journal.pids()) == 1


async def test_a_representation_comes_when_it_is_asked_for(client):
    reply = await judge(client, "it rains", representation=True)

    assert reply.judgements[0].representation is not None


async def test_a_worker_that_is_loading_is_waited_for_as_long_as_the_caller_says(server):
    client = WorkerClient(server("--warming-s=60"))

    with pytest.raises(WorkerWarming, match="still loading; call again in about 10 s"):
        await client.ready(within_s=0.2)


async def test_texts_are_embedded(client):
    reply = await client.embed(["one", "two"])

    assert (len(reply.vectors), reply.dimension) == (2, 4)


async def test_adapters_are_loaded_and_unloaded(client):
    await judge(client, "it rains")

    assert (await client.load_adapter("local/1")).adapter_path == "local/1"
    assert (await client.adapter_status()).adapter_path == "local/1"
    refused = wire.AdapterLoaded(ok=False, adapter_path="local/1", message="it is truncated")
    assert await client.load_adapter("broken") == refused
    assert (await client.unload_adapter()).ok
    assert not (await client.adapter_status()).adapter_loaded
    assert (await client.health()).state == "ready"


async def test_only_judging_and_embedding_start_a_worker(client, journal):
    for ask in (client.load_adapter, client.unload_adapter, client.adapter_status, client.health):
        with pytest.raises(WorkerGone, match="no worker is running; server_status shows"):
            await ask()

    assert journal.pids() == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("invalid", Invalid),
        ("warming", WorkerWarming),
        ("busy", WorkerBusy),
        ("failed", WorkerGone),
        ("unknown_adapter", NotFound),
        ("out_of_memory", WorkerGone),
    ],
)
async def test_a_problem_of_the_worker_becomes_our_error_with_a_next_step(client, code, error):
    with pytest.raises(error, match=rf"it is {code}; \w+"):
        await judge(client, f"[problem {code}]")


@pytest.mark.parametrize("premise", ["[garbage]", "[broken problem]", "[few]", "[nan]", "[bare]"])
async def test_an_answer_that_makes_no_sense_is_an_error_and_never_a_judgement(client, premise):
    with pytest.raises(WorkerGone, match="server_status shows"):
        await judge(client, premise, "it rains", representation=True)

    assert len((await judge(client, "it rains")).judgements) == 1


@pytest.mark.parametrize("text", ["[few]", "[no base64]", "[short]"])
async def test_vectors_that_make_no_sense_are_an_error(client, text):
    with pytest.raises(WorkerGone, match="server_status shows"):
        await client.embed([text])


@pytest.mark.parametrize("count", [0, 65])
async def test_a_wrong_number_of_pairs_or_texts_is_refused_before_a_worker_is_started(client, journal, count):
    with pytest.raises(Invalid, match="pairs: List should have at"):
        await judge(client, *["it rains"] * count)
    with pytest.raises(Invalid, match="texts: List should have at"):
        await client.embed(["it rains"] * count)

    assert journal.pids() == []


async def test_a_worker_that_dies_during_a_request_is_an_error_and_the_next_call_works(client, journal):
    with pytest.raises(WorkerGone, match=r"ended during the request; .* the next call starts a new worker"):
        await judge(client, "[die]")

    assert len((await judge(client, "it rains")).judgements) == 1
    assert len(journal.pids()) == 2


async def test_a_worker_killed_between_two_calls_is_replaced_unnoticed(client, journal):
    await judge(client, "it rains")
    os.kill(journal.pids()[0], signal.SIGKILL)
    await journal.wait_until_living([])

    assert len((await judge(client, "it rains")).judgements) == 1


async def test_a_caller_that_leaves_disturbs_nobody(client, journal):
    await judge(client, "it rains")
    leaving = asyncio.create_task(judge(client, "[hang]"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(leaving, timeout=0.1)

    assert len((await judge(client, "it rains")).judgements) == 1
    assert len(journal.pids()) == 1


async def test_a_reply_that_takes_too_long_is_an_error(client):
    await judge(client, "it rains")
    message = wire.JudgePairs(pairs=[pair("[hang]")])

    with pytest.raises(WorkerGone, match=r"did not answer within 0\.1 s; server_status"):
        await client.ask("POST", "/nli", wire.JudgeReply, timeout_s=0.1, message=message)


async def test_forty_requests_at_once_are_all_answered(client):
    replies = await asyncio.gather(*(judge(client, "it rains") for _ in range(40)))

    assert {len(reply.judgements) for reply in replies} == {1}
