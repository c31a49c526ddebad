"""Private data on its way into a training, through the real server."""

import pytest

CARD = "4111 1111 1111 1111"


@pytest.fixture
def private_house(house):
    return house.having(redaction_mode="quarantine")


async def plan(agent):
    fragments = [{"text": f"paid with {CARD}, メールはtaro@example.comまで"}, {"text": "the bridge is open."}]
    added = await agent("add_evidence", claim="the bridge is open.", fragments=fragments)
    for edge in added["edges"]:
        await agent("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="neutral")
    return await agent("finetune", action="plan", recipe="seed")


async def test_a_plan_counts_samples_with_tags_in_the_place_of_private_data(house, connect):
    async with connect(house) as agent:
        planned = await plan(agent)

    assert sum(planned["data"].values()) == 2
    assert any("1 samples hold private data; tags" in warning for warning in planned["warnings"])
    assert CARD not in str(planned)


async def test_in_quarantine_the_sample_waits_for_the_person(private_house, connect):
    async with connect(private_house) as agent:
        planned = await plan(agent)

    assert sum(planned["data"].values()) == 1
    assert planned["excluded"] == {"private data, held until you looked at it": 1}
