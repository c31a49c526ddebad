"""The default: the shipped base and encoder, offline, without a setting."""

import pytest


@pytest.fixture(name="default_house")
def _default_house(tmp_path, opened):
    with opened(tmp_path) as house:
        yield house


async def test_the_shipped_base_judges_and_takes_a_correction(default_house, connect):
    claim = "The hospital cafeteria opens at seven."
    pair = {"premise": "The hospital cafeteria opens at seven in the morning.", "hypothesis": claim}
    async with connect(default_house) as agent:
        judged = await agent("judge", pairs=[pair])
        assert judged["results"][0]["label"] == "supports"
        assert (judged["served_by"]["base_model"], judged["served_by"]["adapter"]) == ("builtin", None)

        added = await agent("add_evidence", claim=claim, fragments=[{"text": pair["premise"]}])
        corrected = await agent(
            "feedback", action="edge_correct", edge_id=added["edges"][0]["edge_id"], correct_label="neutral"
        )
        assert (corrected["previous_label"], corrected["new_label"]) == ("supports", "neutral")

        near = {"premise": "The hospital cafeteria opens at seven each morning.", "hypothesis": claim}
        again = await agent("judge", pairs=[pair, near])
        assert [result["label"] for result in again["results"]] == ["neutral", "supports"]
        assert [result["corrected"]["exact"] for result in again["results"]] == [True, False]
