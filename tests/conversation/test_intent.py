"""Intents through both real processes, with the shipped encoder: taught, trained, asked, and asked after a restart."""

import json
from pathlib import Path

import pytest

EXAMPLES = [json.loads(line) for line in (Path(__file__).parents[1] / "intent_examples.jsonl").read_text().splitlines()]
UNKNOWN = [
    "What is the boiling point of tungsten?",
    "My left knee hurts when I climb stairs",
    "Who painted the ceiling of the chapel?",
    "asdf qwer zxcv",
]


async def teach(agent, examples):
    for example in examples:
        answer = await agent("intent", action="add_example", **example)
    return answer


async def ask(agent, text):
    return await agent("intent.predict", text=text)


@pytest.fixture(name="taught_house")
def _taught_house(tmp_path, tiny_model, opened):
    """The tiny model judges, so that only the encoder is large."""
    with opened(tmp_path, nli_model=tiny_model, tools="full") as house:
        yield house


async def test_a_persons_requests_are_learned_and_recognised_also_after_a_restart(taught_house, connect):
    async with connect(taught_house) as agent:
        assert (await teach(agent, EXAMPLES[:49]))["current_count"] == 49
        early = await agent("intent", action="train")
        assert (early["success"], early["error"], early["current_count"]) == (
            False,
            "Need at least 50 training examples",
            49,
        )
        assert "no classifier is trained yet" in await agent.refusal("intent", action="predict", text="hello")

        await teach(agent, EXAMPLES[49:])
        trained = await agent("intent.train")
        assert (trained["success"], trained["examples_used"], trained["version"]) == (True, 80, 1)
        assert trained["accuracy"] >= 0.9
        assert trained["macro_f1"] >= 0.9
        assert trained["validation"]["n"] == 16
        asked = await ask(agent, "Set up a call with Sarah")
        assert asked["intent"] == "schedule_meeting"
        assert [(await ask(agent, text))["intent"] for text in UNKNOWN] == ["unknown"] * len(UNKNOWN)

    taught_house.wait_until_empty()
    async with connect(taught_house) as agent:
        again = await ask(agent, "Set up a call with Sarah")
        assert again == asked
        added = await agent("intent", action="add_example", text="Tell me a joke about cats", intent="joke")
        assert (added["current_count"], added["is_new"]) == (81, True)
        too_few = await agent("intent.train")
        assert (too_few["success"], too_few["current_count"]) == (False, 81)
        assert "joke (1)" in too_few["error"]
