"""Every tool through the real client, in both protocol eras."""

import asyncio

import pytest
from mcp import MCPError

from lyra_mcp.errors import WorkerGone, WorkerWarming

SCORE_OF_NOTHING = {
    "support_ratio": 0.5,
    "uncertainty": pytest.approx(0.2887, abs=1e-4),
    "controversy": 0.0,
    "supports": 0,
    "refutes": 0,
    "neutral": 0,
}


async def test_judge_answers_each_pair_and_says_what_served_it(connect):
    async with connect() as agent:
        answer = await agent.call(
            "judge", pairs=[{"premise": "it is not so", "hypothesis": "so"}, {"premise": "maybe", "hypothesis": "so"}]
        )

    first, second = answer["results"]
    assert first == {
        "label": "refutes",
        "confidence": pytest.approx(0.787, abs=1e-3),
        "raw_confidence": pytest.approx(0.787, abs=1e-3),
        "predicted_label": "refutes",
        "probabilities": {
            "supports": pytest.approx(0.1065, abs=1e-3),
            "refutes": pytest.approx(0.787, abs=1e-3),
            "neutral": pytest.approx(0.1065, abs=1e-3),
        },
        "truncated": False,
        "corrected": None,
    }
    assert second["label"] == "neutral"
    assert answer["served_by"] == {
        "base_model": "keywords",
        "fingerprint": "first",
        "adapter": None,
        "calibration": 0,
        "device": "cpu",
    }
    assert (answer["degraded"], answer["next_step"]) == (False, "")


async def test_evidence_is_stored_opened_corrected_and_taken_back(connect):
    async with connect() as agent:
        added = await agent.add("it is so", "it is not so", url="https://news.example.com/1")
        edge = added["edges"][0]
        opened = await agent.call("get_claims", claim_id=added["claim_id"])
        corrected = await agent.call(
            "feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="neutral", reason="irony"
        )
        reviewed = await agent.call("get_claims", claim_id=added["claim_id"])
        retracted = await agent.call("feedback", action="edge_retract", review_id=corrected["review_id"])

    assert set(edge) == {"edge_id", "fragment_id", "kind", "label", "confidence", "probabilities"}
    [claim] = opened["claims"]
    assert claim["edges"][0] == {
        "edge_id": edge["edge_id"],
        "kind": "nli",
        "text": "it is so",
        "source_url": "https://news.example.com/1",
        "label": "supports",
        "confidence": edge["confidence"],
        "predicted_label": "supports",
        "reviewed": False,
        "blocked": False,
    }
    assert (claim["score"], claim["status"]) == (added["score"], "adopted")
    assert corrected == {
        "action": "edge_correct",
        "review_id": corrected["review_id"],
        "edge_id": edge["edge_id"],
        "claim_id": added["claim_id"],
        "previous_label": "supports",
        "new_label": "neutral",
        "is_correction": True,
        "score": reviewed["claims"][0]["score"],
        "reviews_total": 1,
        "corrections_total": 1,
        "next_step": corrected["next_step"],
    }
    now = reviewed["claims"][0]["edges"][0]
    assert (now["label"], now["confidence"], now["predicted_label"], now["reviewed"]) == (
        "neutral",
        1.0,
        "supports",
        True,
    )
    assert (retracted["new_label"], retracted["score"], retracted["reviews_total"]) == ("supports", added["score"], 0)


async def test_a_correction_is_the_answer_of_the_next_call(connect):
    async with connect() as agent:
        edge_id = await agent.add_edge("it is so")
        given = await agent.call("feedback", action="edge_correct", edge_id=edge_id, correct_label="refutes")
        answer = await agent.call("judge", pairs=[{"premise": "it is so", "hypothesis": "A claim."}])

    [result] = answer["results"]
    assert (result["label"], result["confidence"], result["predicted_label"]) == ("refutes", 1.0, "supports")
    assert {**result["corrected"], "at": None} == {
        "label": "refutes",
        "exact": True,
        "similarity": 1.0,
        "review_id": given["review_id"],
        "at": None,
        "premise": None,
        "hypothesis": None,
    }


async def test_claims_and_domains_are_taken_out_and_brought_back(connect):
    async with connect() as agent:
        added = await agent.add("it is so", url="https://news.example.com/1")
        claim_id = added["claim_id"]

        async def score():
            return (await agent.call("get_claims", claim_id=claim_id))["claims"][0]["score"]

        rejected = await agent.call("feedback", action="claim_reject", claim_id=claim_id, reason="a joke")
        assert (rejected["score"], await score()) == (SCORE_OF_NOTHING, SCORE_OF_NOTHING)
        assert (await agent.call("get_claims"))["claims"] == []
        restored = await agent.call("feedback", action="claim_restore", claim_id=claim_id)
        assert restored["score"] == added["score"]
        blocked = await agent.call(
            "feedback", action="domain_block", domain_pattern="*.Example.com", reason="unreliable"
        )
        assert (blocked["domain_pattern"], await score()) == ("*.example.com", SCORE_OF_NOTHING)
        await agent.call("feedback", action="domain_unblock", domain_pattern="news.example.com", reason="checked")
        assert await score() == added["score"]
        cleared = await agent.call(
            "feedback", action="domain_clear_override", domain_pattern="news.example.com", reason="again"
        )
        assert (cleared["cleared_rules"], await score()) == (1, SCORE_OF_NOTHING)
        nothing = await agent.call(
            "feedback", action="domain_clear_override", domain_pattern="example.org", reason="again"
        )
        assert (nothing["cleared_rules"], nothing["next_step"]) == (0, "No active rule had exactly this pattern.")


async def test_a_repeated_key_answers_the_same_and_another_request_is_a_conflict(connect):
    async with connect() as agent:
        edge_id = await agent.add_edge()
        request = {"action": "edge_correct", "edge_id": edge_id, "idempotency_key": "k1"}
        first = await agent.call("feedback", correct_label="refutes", **request)

        assert await agent.call("feedback", correct_label="refutes", **request) == first
        assert (await agent.refused("feedback", correct_label="neutral", **request)).startswith("E_CONFLICT: ")


async def test_claims_are_listed_page_by_page(connect):
    async with connect() as agent:
        for number in range(5):
            await agent.add("it is so", claim=f"Claim {number}.")
        texts, cursor = [], None
        while True:
            page = await agent.call("get_claims", limit=2, **({"cursor": cursor} if cursor else {}))
            texts.append([claim["text"] for claim in page["claims"]])
            cursor = page.get("next_cursor")
            if cursor is None:
                break

        assert texts == [["Claim 4.", "Claim 3."], ["Claim 2.", "Claim 1."], ["Claim 0."]]
        assert [claim["text"] for claim in (await agent.call("get_claims", query="claim 3"))["claims"]] == ["Claim 3."]


async def test_the_queue_offers_edges_and_the_metrics_follow_the_answers(connect):
    async with connect() as agent:
        await agent.add(*[f"text number {number} margin=4" for number in range(20)])
        queue = await agent.call("review_queue", limit=20)
        assert (len(queue["items"]), queue["unreviewed_total"]) == (20, 20)
        assert set(queue["items"][0]) == {
            "edge_id",
            "premise",
            "hypothesis",
            "label",
            "confidence",
            "why",
            "selection_probability",
        }
        for number, item in enumerate(queue["items"]):
            label = "supports" if number % 5 < 3 else "refutes"
            await agent.call("feedback", action="edge_correct", edge_id=item["edge_id"], correct_label=label)
        empty = await agent.call("review_queue")
        assert (empty["items"], empty["unreviewed_total"]) == ([], 0)

        measured = await agent.call("calibration_metrics", action="evaluate")
        assert (measured["n"], measured["all_reviews"]["accuracy"]) == (20, 0.6)
        assert measured["audit_sample"]["n"] == 20
        fitted = await agent.call("calibration_metrics", action="fit")
        assert (fitted["fit"]["is_kept"], fitted["serving"]["calibration_version"]) == (True, 1)
        after = await agent.call("calibration_metrics", action="evaluate")
        assert (after["in_sample"], after["holdout"], after["degraded_vs_previous"]) == (20, 0, False)
        assert after["previous"]["evaluation_id"] == measured["evaluation_id"]
        assert after["all_reviews"]["brier"] < measured["all_reviews"]["brier"]
        history = await agent.call("calibration_metrics", action="get_evaluations", limit=1)
        assert [one["evaluation_id"] for one in history["evaluations"]] == [after["evaluation_id"]]
        diagram = await agent.call(
            "calibration_metrics", action="get_diagram_data", evaluation_id=measured["evaluation_id"]
        )
        assert sum(row["n"] for row in diagram["bins"]) == 20
        stats = await agent.call("calibration_metrics", action="get_stats", adapter="base")
        assert [version["version"] for version in stats["versions"]] == [1]
        # No adapter is null, whoever says so; only as an argument it has a name.
        assert (stats["serving"]["adapter"], stats["previous"]["adapter"]) == (None, None)


async def test_the_status_says_what_works(connect, worker):
    async with connect() as agent:
        await agent.add_edge()
        status = await agent.call("server_status")
        assert (status["worker"]["state"], status["database"]["claims"], status["problems"]) == ("ready", 1, [])
        assert status["protocol"] == agent.client.protocol_version
        worker.problem = WorkerGone("it died")
        status = await agent.call("server_status")
        assert (status["worker"]["state"], status["problems"]) == ("stopped", ["worker: E_WORKER: it died"])
        assert status["next_step"] == "The first judge(), add_evidence() or recall() starts the worker."


async def test_an_unavailable_worker_is_an_error_with_its_own_words(connect, worker):
    worker.problem = WorkerWarming("the models are loading; call again in 10 s")
    async with connect() as agent:
        text = await agent.refused("judge", pairs=[{"premise": "a", "hypothesis": "b"}])

    assert text == "E_WARMING: the models are loading; call again in 10 s"


async def test_an_answer_from_reviews_alone_says_that_it_is_degraded(connect, worker):
    async with connect() as agent:
        edge_id = await agent.add_edge("it is so")
        await agent.call("feedback", action="edge_correct", edge_id=edge_id, correct_label="refutes")
        worker.problem = WorkerGone("it died")
        judged = await agent.call("judge", pairs=[{"premise": "it is so", "hypothesis": "A claim."}])
        added = await agent.add("it is so", url="https://example.com")

    for answer in (judged, added):
        assert (answer["degraded"], answer["degraded_reason"]) == (
            True,
            "answered from reviews alone; E_WORKER: it died",
        )


async def test_a_bug_of_ours_is_masked(connect, worker, caplog):
    worker.problem = RuntimeError("a private detail")
    async with connect() as agent:
        text = await agent.refused("judge", pairs=[{"premise": "a", "hypothesis": "b"}])

    assert text == "E_INTERNAL: judge failed; the server's log says why"
    assert "a private detail" in caplog.text


async def test_a_client_that_leaves_in_the_middle_of_a_call_harms_nobody(connect, worker):
    async with connect() as agent:
        worker.meanwhile = asyncio.Event().wait
        with pytest.raises(MCPError):
            await agent.client.call_tool(
                "add_evidence", {"claim": "A claim.", "fragments": [{"text": "x"}]}, read_timeout_seconds=0.2
            )

        assert (await agent.call("get_claims"))["claims"] == []
        assert (await agent.add("it is so"))["edges"]
