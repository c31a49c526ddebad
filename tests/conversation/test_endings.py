"""Every process may be killed at any moment: what was answered is kept, and the next call works."""

import random
import signal

import psutil
import pytest

LABELS = ("supports", "refutes", "neutral")
PAIR = {"premise": "a short one.", "hypothesis": "b"}
#: 64 of them keep the tiny model busy for seconds.
LONG_PAIR = {"premise": "a b c d e f g " * 70, "hypothesis": "h"}
REPLIES = 200


def is_judging(status):
    return status["worker"]["queue"]["pairs_waiting"] >= 64


async def test_feedback_needs_no_worker_and_judge_starts_another(house, connect):
    async with connect(house) as agent:
        added = await agent("add_evidence", claim="a claim.", fragments=[{"text": "one."}, {"text": "two."}])
        worker = psutil.Process((await agent("server_status"))["worker"]["pid"])
        worker.kill()
        worker.wait(30)

        for number, edge in enumerate(added["edges"], start=1):
            given = await agent("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="neutral")
            assert given["reviews_total"] == number

        known = await agent("judge", pairs=[PAIR, {"premise": "one.", "hypothesis": "a claim."}])
        assert [result["corrected"] and result["corrected"]["label"] for result in known["results"]] == [
            None,
            "neutral",
        ]


def test_a_worker_killed_in_the_middle_of_a_batch_is_a_clear_error_and_the_next_call_works(house, host):
    server = host(house)
    asked = server.ask("tools/call", {"name": "judge", "arguments": {"pairs": [LONG_PAIR] * 64}})
    status = _wait_until_judging(server)

    psutil.Process(status["worker"]["pid"]).kill()

    result = server.receive(asked)["result"]
    assert result["isError"]
    assert result["content"][0]["text"].startswith("E_WORKER: the worker ended during the request; server_status")
    assert len(server.answer("judge", pairs=[PAIR])["results"]) == 1


def test_a_cancelled_call_leaves_a_healthy_server_and_frees_the_worker(house, host):
    server = host(house)
    asked = server.ask("tools/call", {"name": "judge", "arguments": {"pairs": [LONG_PAIR] * 64}})
    pid = _wait_until_judging(server)["worker"]["pid"]

    server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked}})

    assert len(server.answer("judge", pairs=[PAIR])["results"]) == 1
    status = server.answer("server_status")["worker"]
    assert (status["pid"], status["queue"]["pairs_waiting"]) == (pid, 0)


def test_a_client_that_leaves_in_the_middle_of_a_call_frees_the_worker(house, host):
    leaving, staying = host(house), host(house)
    leaving.ask("tools/call", {"name": "judge", "arguments": {"pairs": [LONG_PAIR] * 64}})
    pid = _wait_until_judging(staying)["worker"]["pid"]

    leaving.close()

    assert len(staying.answer("judge", pairs=[PAIR])["results"]) == 1
    status = staying.answer("server_status")["worker"]
    assert (status["pid"], status["queue"]["pairs_waiting"]) == (pid, 0)


def _wait_until_judging(server):
    while not is_judging(status := server.answer("server_status")):
        pass  # bounded by the batch, which takes seconds: afterwards the test fails below
    return status


def test_two_hundred_answered_reviews_outlive_a_killed_server(house, host):
    chance = random.Random(8)
    server = host(house)
    claims = [
        server.answer(
            "add_evidence", claim=f"claim {number}.", fragments=[{"text": f"text {one}."} for one in range(8)]
        )
        for number in range(5)
    ]
    edges = [edge["edge_id"] for claim in claims for edge in claim["edges"]]
    asked = [
        {"action": "edge_correct", "edge_id": chance.choice(edges), "correct_label": chance.choice(LABELS)}
        for _ in range(REPLIES)
    ]
    reviews = [server.answer("feedback", **one)["review_id"] for one in asked]
    server.kill()

    server = host(house)

    assert server.answer("server_status")["database"]["reviews"] == REPLIES
    labels = {}
    for claim in claims:
        (opened,) = server.answer("get_claims", claim_id=claim["claim_id"])["claims"]
        labels |= {edge["edge_id"]: edge["label"] for edge in opened["edges"] if edge["reviewed"]}
    assert labels == {one["edge_id"]: one["correct_label"] for one in asked}
    for review in chance.sample(reviews, 5):
        assert server.answer("feedback", action="edge_retract", review_id=review)["review_id"] == review


def test_two_servers_started_at_once_share_a_worker_that_leaves_when_both_are_killed(own_house, host):
    servers = [host(own_house), host(own_house)]
    call = {"name": "add_evidence", "arguments": {"claim": "a claim.", "fragments": [{"text": "one."}]}}
    asked = [server.ask("tools/call", call) for server in servers]

    answers = [
        server.receive(number)["result"]["structuredContent"] for server, number in zip(servers, asked, strict=True)
    ]

    assert answers[0] == answers[1]
    assert len(own_house.workers()) == 1
    assert {server.answer("server_status")["worker"]["pid"] for server in servers} == set(own_house.workers())
    for server in servers:
        server.kill()
    own_house.wait_until_empty()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server(house, host, ending):
    server = host(house)

    server.process.send_signal(ending)

    assert server.process.wait(20) is not None
    assert server.rest() == []
