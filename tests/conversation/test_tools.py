"""Every tool, in one conversation, in both eras of the protocol."""

import json

import pytest

CLAIM = "the bridge is open."
LABELS = ("supports", "refutes", "neutral")
TOOLS = {
    "add_evidence",
    "calibration_metrics",
    "calibration_rollback",
    "feedback",
    "get_claims",
    "judge",
    "review_queue",
    "server_status",
}


def other(label):
    return LABELS[(LABELS.index(label) + 1) % 3]


@pytest.mark.parametrize(("mode", "protocol"), [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")])
async def test_all_tools_work_in_one_conversation(house, connect, mode, protocol):
    async with connect(house, mode=mode) as agent:
        status = await agent("server_status")
        assert (status["protocol"], status["worker"]["state"]) == (protocol, "ready")
        assert {tool.name for tool in (await agent.client.list_tools()).tools} >= TOOLS

        claim_id, edges = await _add_evidence(agent)
        await _judge(agent)
        await _review(agent, claim_id, edges)
        await _reject_and_restore(agent, claim_id)
        await _block_and_unblock(agent, claim_id)
        evaluation_id = await _measure(agent)
        await _calibrate(agent)
        await _read_resources(agent, claim_id, evaluation_id)
        await _start_a_correction_session(agent)


async def _add_evidence(agent):
    fragments = [
        {"text": f"observer {number} saw {number * 7} cars.", "source_url": f"https://site{number % 3}.example.com/"}
        for number in range(40)
    ]
    added = await agent("add_evidence", claim=CLAIM, fragments=fragments)
    again = await agent("add_evidence", claim_id=added["claim_id"], fragments=fragments[:1])
    assert again["edges"] == added["edges"][:1]
    assert again["score"] == added["score"]
    assert sum(added["score"][label] for label in LABELS) == 40
    return added["claim_id"], added["edges"]


async def _judge(agent):
    answer = await agent("judge", pairs=[{"premise": "observer 1 saw 7 cars.", "hypothesis": CLAIM}])
    (result,) = answer["results"]
    assert result["label"] in LABELS
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert result["corrected"] is None
    assert answer["served_by"]["calibration"] == 0


async def _review(agent, claim_id, edges):
    """Every fourth label is wrong, says the person; one review is taken back."""
    queued = await agent("review_queue", limit=5)
    assert len(queued["items"]) == 5
    assert queued["unreviewed_total"] == 40
    for number, edge in enumerate(edges):
        correct_label = other(edge["label"]) if number % 4 == 1 else edge["label"]
        reviewed = await agent(
            "feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=correct_label, reason="seen it"
        )
        assert reviewed["is_correction"] is (number % 4 == 1)
    assert (reviewed["reviews_total"], reviewed["corrections_total"]) == (40, 10)

    corrected = await agent("judge", pairs=[{"premise": "observer 1 saw 7 cars.", "hypothesis": CLAIM}])
    assert corrected["results"][0]["label"] == other(edges[1]["label"])
    assert corrected["results"][0]["corrected"]["exact"]

    retracted = await agent("feedback", action="edge_retract", review_id=reviewed["review_id"])
    assert (retracted["new_label"], retracted["reviews_total"]) == (edges[-1]["label"], 39)
    (opened,) = (await agent("get_claims", claim_id=claim_id))["claims"]
    assert [edge["reviewed"] for edge in opened["edges"]] == [True] * 39 + [False]
    assert [edge["predicted_label"] for edge in opened["edges"]] == [edge["label"] for edge in edges]


async def _reject_and_restore(agent, claim_id):
    await agent("feedback", action="claim_reject", claim_id=claim_id, reason="a test")
    assert (await agent("get_claims"))["claims"] == []
    await agent("feedback", action="claim_restore", claim_id=claim_id)
    assert [claim["claim_id"] for claim in (await agent("get_claims", query="bridge"))["claims"]] == [claim_id]


async def _block_and_unblock(agent, claim_id):
    async def counted():
        (claim,) = (await agent("get_claims", claim_id=claim_id))["claims"]
        return sum(claim["score"][label] for label in LABELS)

    await agent("feedback", action="domain_block", domain_pattern="*.example.com", reason="a test")
    assert await counted() == 0
    await agent("feedback", action="domain_unblock", domain_pattern="site1.example.com", reason="this one is good")
    assert await counted() == 13
    cleared = await agent("feedback", action="domain_clear_override", domain_pattern="*.example.com", reason="enough")
    assert cleared["cleared_rules"] == 1
    assert await counted() == 40


async def _measure(agent):
    evaluated = await agent("calibration_metrics.evaluate")
    assert (evaluated["n"], evaluated["all_reviews"]["accuracy"]) == (39, pytest.approx(29 / 39))
    listed = await agent("calibration_metrics", action="get_evaluations")
    assert [one["evaluation_id"] for one in listed["evaluations"]] == [evaluated["evaluation_id"]]
    diagram = await agent("calibration_metrics", action="get_diagram_data")
    assert sum(one["n"] for one in diagram["bins"]) == 39
    return evaluated["evaluation_id"]


async def _calibrate(agent):
    fitted = await agent("calibration_metrics", action="fit")
    assert fitted["fit"]["is_kept"], fitted["fit"]
    assert fitted["fit"]["temperature"] > 1
    assert (await agent("calibration_metrics.get_stats"))["serving"]["calibration_version"] == 1

    refusal = await agent.refusal("calibration_rollback", reason="a test")
    assert refusal.startswith("E_CONFIRM: ")
    assert "confirm=true" in refusal
    rolled_back = await agent("calibration_rollback", reason="a test", confirm=True)
    assert (rolled_back["from_version"], rolled_back["to_version"]) == (1, 0)


async def _read_resources(agent, claim_id, evaluation_id):
    async def read(uri):
        (content,) = (await agent.client.read_resource(uri)).contents
        return content.text

    assert json.loads(await read(f"claim://{claim_id}"))["text"] == CLAIM
    assert json.loads(await read(f"report://{evaluation_id}"))["n"] == 39
    assert (await read(f"report://{evaluation_id}/reliability.svg")).startswith("<svg")


async def _start_a_correction_session(agent):
    prompts = (await agent.client.list_prompts()).prompts
    assert [prompt.name for prompt in prompts] == ["correction_session", "personal_system_prompt"]
    got = await agent.client.get_prompt("correction_session", {"count": "3"})
    assert "review_queue(limit=3)" in got.messages[0].content.text
