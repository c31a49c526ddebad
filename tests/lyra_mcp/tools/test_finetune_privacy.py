"""A training's plan says what becomes of private data, in each mode."""

import pytest


@pytest.fixture(params=["redact", "exclude", "quarantine"])
def settings(settings, request):
    return settings.model_copy(update={"redaction_mode": request.param})


@pytest.fixture
def expected(settings):
    """(samples by source, excluded by reason, the beginning of the last warning)"""
    return {
        "redact": (
            {"correction": 1},
            {},
            "1 samples hold private data; tags such as [REDACTED_EMAIL] stand in its place",
        ),
        "exclude": ({}, {"private data": 1}, "slow"),
        "quarantine": (
            {},
            {"private data, held until you looked at it": 1},
            "1 samples hold private data and wait for the person: REVIEW;",
        ),
    }[settings.redaction_mode]


async def test_a_plan_says_what_becomes_of_private_data(connect, machine, expected):
    async with connect() as agent:
        fragments = [{"text": "by taro@example.com"}]
        [edge] = (await agent.call("add_evidence", claim="A claim.", fragments=fragments))["edges"]
        review = await agent.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="neutral")
        plan = await agent.call("finetune", action="plan")

    samples, excluded, warning = expected
    assert (plan["data"], plan["excluded"]) == (samples, excluded)
    assert plan["warnings"][-1].startswith(warning.replace("REVIEW", review["review_id"]))
