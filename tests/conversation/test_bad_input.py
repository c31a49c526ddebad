"""Bad input over raw lines: an answer with the next step, JSON-RPC alone on standard output, a server that lives."""

import json
from pathlib import Path

import pytest

PAIR = {"premise": "a short one.", "hypothesis": "b"}


@pytest.fixture(name="server", scope="module")
def _server(kept_house, module_host):
    house, keeper = kept_house
    keeper.answer("judge", pairs=[PAIR])
    return module_host(house.having(user="bad-input"))


@pytest.fixture(autouse=True)
def _lives(server):
    """Whatever a test sent, the server judges afterwards."""
    yield
    assert len(server.answer("judge", pairs=[PAIR])["results"]) == 1


def judge_line(premise):
    """A call as a line of text, so that the premise stands in it exactly as written."""
    call = {"name": "judge", "arguments": {"pairs": [{"premise": "PREMISE", "hypothesis": "b"}]}}
    message = {"jsonrpc": "2.0", "id": 4711, "method": "tools/call", "params": call}
    return json.dumps(message).replace("PREMISE", premise).encode()


@pytest.mark.parametrize(
    ("premise", "problem"),
    [
        (r"a \u0000 in it", "pairs.0.premise: must not contain NUL characters; remove them"),
        ("", "pairs.0.premise: string should have at least 1 character"),
        (r" \n\t\u3000 ", "pairs.0.premise: must not be empty or only white space"),
        ("x" * 100_000, "pairs.0.premise: string should have at most 65536 characters"),
    ],
    ids=["NUL", "empty", "white space", "100 kB"],
)
def test_a_text_that_cannot_be_judged_is_refused(server, premise, problem):
    server.send(judge_line(premise))

    result = server.receive(4711)["result"]

    assert result["isError"]
    text = result["content"][0]["text"]
    assert text == f"E_INVALID: {problem}. Correct it and call judge again; tools/list has its schema"


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00 and \ud83d", r"\ud83d\ud83d"])
def test_half_a_character_is_refused_instead_of_never_answered(server, half):
    server.send(judge_line(f"half a {half} character"))

    error = server.receive(4711, timeout_s=30)["error"]

    assert error["code"] == -32700
    assert error["message"].startswith("E_INVALID: the message cannot be read (Invalid JSON: ")
    assert "remove lone surrogates" in error["message"]


def test_a_request_without_sense_is_refused_instead_of_never_answered(server):
    server.send(b'{"jsonrpc": "2.0", "id": "mine", "method": 5}')

    error = server.receive("mine", timeout_s=30)["error"]

    assert error["code"] == -32600
    assert error["message"].endswith("; write it as MCP's schema says and send it again")


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("judge", {"pairs": [PAIR] * 65}, "E_INVALID: pairs: list should have at most 64 items"),
        ("judge", {"pairs": []}, "E_INVALID: pairs: list should have at least 1 item"),
        ("judge", {"pairs": [PAIR], "surprise": 1}, "E_INVALID: surprise: extra inputs are not permitted"),
        ("judge", {"pairs": [PAIR | {"label": "supports"}]}, "E_INVALID: pairs.0.label: extra inputs"),
        ("judge", {"pairs": "a and b"}, "E_INVALID: pairs: input should be a valid list"),
        ("judge", {"pairs": [{"premise": 1, "hypothesis": None}]}, "E_INVALID: pairs.0.premise: input should be"),
        ("judge", {}, "E_INVALID: pairs: field required"),
        ("add_evidence", {"claim": "\0", "fragments": [{"text": "a"}]}, "E_INVALID: claim: must not contain NUL"),
        ("add_evidence", {"fragments": [{"text": "a"}]}, "E_INVALID: add_evidence needs either a claim or"),
        ("add_evidence", {"claim_id": "claim_no", "fragments": [{"text": "a"}]}, "E_NOT_FOUND: no claim 'claim_no'"),
        ("get_claims", {"claim_id": "claim_no"}, "E_NOT_FOUND: no claim 'claim_no'; get_claims() lists claims"),
        ("get_claims", {"cursor": "no cursor"}, "E_INVALID: the cursor is not one of ours"),
        ("get_claims", {"limit": 0}, "E_INVALID: limit: input should be greater than or equal to 1"),
        (
            "feedback",
            {"action": "edge_correct", "edge_id": "edge_no", "correct_label": "supports"},
            "E_NOT_FOUND: no edge 'edge_no'; ",
        ),
        (
            "feedback",
            {"action": "edge_correct", "edge_id": "edge_no", "correct_label": "true"},
            "E_INVALID: correct_label: input should be 'supports', 'refutes' or 'neutral'",
        ),
        ("feedback", {"action": "edge_correct", "edge_id": "edge_no"}, "E_INVALID: edge_correct needs correct_label"),
        ("feedback", {"action": "edge_retract", "review_id": "rev_no"}, "E_NOT_FOUND: no review 'rev_no'; "),
        ("feedback", {"action": "claim_reject", "claim_id": "claim_no", "reason": "a"}, "E_NOT_FOUND: no claim"),
        ("feedback", {"action": "domain_block", "domain_pattern": "*.com", "reason": "a"}, "E_INVALID: "),
        ("feedback", {"action": "dance"}, "E_INVALID: action: input should be 'edge_correct', "),
        ("feedback.dance", {}, "E_INVALID: action: input should be 'edge_correct', "),
        ("review_queue", {"strategy": "all"}, "E_INVALID: strategy: input should be"),
        ("calibration_metrics.evaluate", {}, "E_TOO_FEW_REVIEWS: there is no review yet; review_queue() offers edges"),
        ("calibration_metrics", {"action": "fit", "since": "yesterday"}, "E_INVALID: since: string should match"),
        ("calibration_rollback", {"version": -1}, "E_INVALID: version: input should be greater than or equal to 0"),
        ("server_status", {"verbose": True}, "E_INVALID: verbose: extra inputs are not permitted"),
    ],
)
def test_a_call_that_makes_no_sense_is_an_error_that_says_what_to_do(server, tool, arguments, problem):
    refusal = server.refusal(tool, **arguments)

    assert refusal.startswith(problem)
    assert "; " in refusal or ". Correct it and call" in refusal, "an error names the next step"


def test_an_edge_that_is_no_judgement_cannot_be_corrected(server):
    cited = server.answer("add_evidence", claim="a claim.", fragments=[{"text": "a source.", "kind": "cites"}])

    refusal = server.refusal(
        "feedback", action="edge_correct", edge_id=cited["edges"][0]["edge_id"], correct_label="supports"
    )

    assert "is a citation and has no label to correct; review_queue() lists NLI edges" in refusal


def test_a_tool_nobody_has_is_an_error(server):
    reply = server.request("tools/call", {"name": "forge", "arguments": {}})

    assert "forge" in json.dumps(reply)
    assert reply.get("error") or reply["result"]["isError"]


@pytest.mark.parametrize("uri", ["claim://claim_no", "report://eval_no", "report://eval_no/reliability.svg"])
def test_a_resource_nobody_has_is_an_error_that_says_where_ids_come_from(server, uri):
    error = server.request("resources/read", {"uri": uri})["error"]

    assert "E_NOT_FOUND: no " in error["message"]


@pytest.mark.parametrize(
    "line",
    [
        b"this is no JSON",
        b"\xff\xfe\xfa",
        b"[]",
        b"null",
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "2.0", "method": "notifications/nobody"}',
        b"",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": "' + b"x" * 5_000_000 + b'", "method": "tools/list"}',
        judge_line("x" * 10_000_000),
    ],
    ids=["text", "bytes", "list", "null", "empty message", "notice", "blank", "deep", "huge id", "huge"],
)
def test_a_line_that_is_no_message_disturbs_nothing(server, line):
    server.send(line)


def test_two_hundred_calls_in_one_burst_are_all_answered(server):
    call = {"name": "get_claims", "arguments": {"limit": 1}}
    waiting = {server.ask("tools/call", call) for _ in range(200)}

    while waiting:
        waiting.remove(server.receive()["id"])


def test_nothing_stands_in_the_server_s_log_but_what_went_wrong(server):
    """No text of a caller: logs carry ids."""
    server.refusal("judge", pairs=[{"premise": "a secret " * 20_000, "hypothesis": "b"}])
    server.answer("judge", pairs=[{"premise": "a secret", "hypothesis": "b"}])

    assert b"secret" not in Path(f"/proc/{server.process.pid}/fd/2").read_bytes()
