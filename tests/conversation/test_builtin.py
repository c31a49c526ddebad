"""The default: the shipped base and encoder, offline, without a setting."""

from secrets import token_hex

import pytest


@pytest.fixture(name="default_house")
def _default_house(tmp_path, opened):
    with opened(tmp_path) as house:
        yield house.having(user=f"user-{token_hex(4)}")


async def test_the_shipped_base_judges_what_everybody_sees_and_takes_a_correction(default_house, connect):
    pair = {"premise": "The bridge is closed.", "hypothesis": "The bridge is open."}
    async with connect(default_house) as agent:
        judged = await agent("judge", pairs=[pair, {"premise": "A man is sleeping.", "hypothesis": "A man sleeps."}])
        assert [result["label"] for result in judged["results"]] == ["refutes", "supports"]
        assert (judged["served_by"]["base_model"], judged["served_by"]["adapter"]) == ("builtin", None)

        added = await agent("add_evidence", claim=pair["hypothesis"], fragments=[{"text": pair["premise"]}])
        corrected = await agent(
            "feedback", action="edge_correct", edge_id=added["edges"][0]["edge_id"], correct_label="neutral"
        )
        assert (corrected["previous_label"], corrected["new_label"]) == ("refutes", "neutral")

        close = {"premise": "The bridge is closed now.", "hypothesis": "The bridge is open."}
        again = await agent("judge", pairs=[pair, close])
        assert [result["label"] for result in again["results"]] == ["neutral", "refutes"]
        assert [result["corrected"] and result["corrected"]["exact"] for result in again["results"]] == [True, False]
        assert again["results"][1]["corrected"]["similarity"] >= 0.9
