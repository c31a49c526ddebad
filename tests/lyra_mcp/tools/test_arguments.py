"""Bad input: the answer names the argument and the next step, and repeats no value."""

import pytest

PAIR = {"premise": "a", "hypothesis": "b"}
SECRET = "the-secret-value"
FRAGMENT = {"text": "it is so"}


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("judge", {}, "E_INVALID: pairs: "),
        ("judge", {"pairs": []}, "E_INVALID: pairs: "),
        ("judge", {"pairs": [PAIR] * 65}, "E_INVALID: pairs: list should have at most 64 items"),
        ("judge", {"pairs": [{**PAIR, "premise": "x" * 100_000}]}, "pairs.0.premise: string should have at most 65536"),
        ("judge", {"pairs": [{**PAIR, "premise": ""}]}, "E_INVALID: pairs.0.premise: string should have at least 1"),
        ("judge", {"pairs": [{**PAIR, "premise": " \n\t"}]}, "pairs.0.premise: must not be empty or only white space"),
        ("judge", {"pairs": [{**PAIR, "premise": f"{SECRET}\0"}]}, "pairs.0.premise: must not contain NUL characters"),
        ("judge", {"pairs": [{**PAIR, "premise": f"{SECRET}\ud800"}]}, "pairs: must be valid Unicode; remove the lone"),
        ("judge", {"pairs": [{**PAIR, "extra": SECRET}]}, "E_INVALID: pairs.0.extra: extra inputs are not permitted"),
        ("judge", {"pairs": [PAIR], "extra": SECRET}, "E_INVALID: extra: extra inputs are not permitted"),
        ("judge", {"pairs": SECRET}, "E_INVALID: pairs: "),
        ("add_evidence", {"claim": "c"}, "E_INVALID: fragments: field required"),
        ("add_evidence", {"claim": "c", "fragments": [FRAGMENT] * 65}, "fragments: list should have at most 64 items"),
        ("add_evidence", {"claim": " ", "fragments": [FRAGMENT]}, "claim: must not be empty or only white space"),
        ("add_evidence", {"fragments": [FRAGMENT]}, "E_INVALID: add_evidence needs either a claim or a claim_id"),
        (
            "add_evidence",
            {"claim": "c", "claim_id": "x", "fragments": [FRAGMENT]},
            "E_INVALID: add_evidence needs either a claim or a claim_id",
        ),
        ("add_evidence", {"claim_id": "claim_x", "fragments": [FRAGMENT]}, "E_NOT_FOUND: no claim 'claim_x'"),
        ("add_evidence", {"claim": "c", "fragments": [{**FRAGMENT, "kind": SECRET}]}, "fragments.0.kind: input should"),
        ("add_evidence", {"claim": "c", "fragments": [{**FRAGMENT, "source_url": "\udc00"}]}, "fragments: must be val"),
        ("get_claims", {"claim_id": "claim_x"}, "E_NOT_FOUND: no claim 'claim_x'; get_claims() lists claims"),
        ("get_claims", {"limit": 51}, "E_INVALID: limit: "),
        ("get_claims", {"cursor": SECRET}, "E_INVALID: the cursor is not one of ours; pass next_cursor"),
        ("get_claims", {"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="}, "E_INVALID: the cursor is not one of ours"),
        ("get_claims", {"query": "\ud800"}, "E_INVALID: query: must be valid Unicode"),
        ("feedback", {}, "E_INVALID: action: field required"),
        ("feedback", {"action": "edge_correct"}, "E_INVALID: edge_correct needs edge_id and correct_label"),
        (
            "feedback",
            {"action": "edge_correct", "edge_id": "e", "correct_label": SECRET},
            "correct_label: input should",
        ),
        (
            "feedback",
            {"action": "edge_correct", "edge_id": "e", "correct_label": "supports"},
            "E_NOT_FOUND: no edge 'e'",
        ),
        ("feedback", {"action": "edge_retract"}, "E_INVALID: edge_retract needs review_id or edge_id"),
        ("feedback", {"action": "edge_retract", "review_id": "r"}, "E_NOT_FOUND: no review 'r'"),
        (
            "feedback",
            {"action": "claim_reject", "claim_id": "c"},
            "E_INVALID: claim_reject needs reason; ask the person",
        ),
        ("feedback", {"action": "claim_restore", "claim_id": "c", "edge_id": "e"}, "claim_restore takes no edge_id"),
        ("feedback", {"action": "domain_block", "domain_pattern": "*.com", "reason": "r"}, "public suffix 'com'"),
        ("feedback", {"action": "domain_block", "domain_pattern": "a.example", "reason": ""}, "E_INVALID: reason: "),
        (
            "feedback",
            {"action": "domain_block", "domain_pattern": "\ud800", "reason": "r"},
            "domain_pattern: must be v",
        ),
        ("review_queue", {"limit": 0}, "E_INVALID: limit: "),
        ("review_queue", {"strategy": SECRET}, "E_INVALID: strategy: input should be"),
        ("review_queue", {"claim_id": "claim_x"}, "E_NOT_FOUND: no claim 'claim_x'"),
        ("calibration_metrics", {"action": "evaluate"}, "E_TOO_FEW_REVIEWS: there is no review yet; review_queue()"),
        ("calibration_metrics", {"action": "fit"}, "E_TOO_FEW_REVIEWS: there is no review yet"),
        ("calibration_metrics", {"action": "get_diagram_data"}, "E_NOT_FOUND: nothing has been evaluated yet"),
        (
            "calibration_metrics",
            {"action": "evaluate", "evaluation_id": "e"},
            "E_INVALID: evaluate takes no evaluation_i",
        ),
        ("calibration_metrics", {"action": "get_evaluations", "since": SECRET}, "E_INVALID: since: "),
        ("calibration_metrics", {"action": "get_evaluations", "since": "2026-13-45"}, "E_INVALID: since is no date"),
        ("calibration_rollback", {"confirm": True}, "E_TOO_FEW_REVIEWS: there is no review yet"),
        ("calibration_rollback", {"version": -1}, "E_INVALID: version: "),
        ("server_status", {"verbose": True}, "E_INVALID: verbose: extra inputs are not permitted"),
    ],
)
async def test_bad_input_is_refused_with_a_code_and_a_reason(connect, tool, arguments, said):
    async with connect() as agent:
        text = await agent.refused(tool, **arguments)

    assert said in text
    assert text.startswith("E_")
    assert SECRET not in text
    assert "pydantic" not in text
    assert len(text) < 500
    if text.startswith("E_INVALID") and ": " in text.removeprefix("E_INVALID: "):
        assert f"call {tool} again" in text or "write" in text


async def test_a_refused_call_changes_nothing(connect):
    async with connect() as agent:
        await agent.refused("add_evidence", claim="A claim.", fragments=[FRAGMENT, {"text": " "}])

        assert (await agent.call("get_claims"))["claims"] == []
