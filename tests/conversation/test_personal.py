"""Lyra gets to know a person: through the real server and worker, and over a restart."""

import pytest

STYLES = ("professional", "casual", "friendly", "technical")
SEED_PREFIX = "Respond in a neutral tone with a professional style. Provide detailed explanations with examples."


@pytest.fixture(name="person")
def _person(house, connect):
    """Start a server for one person; the second start is a restart."""
    return lambda **settings: connect(house, tools="full", **settings)


async def converse(agent, text, answer, rating=None, **metadata):
    messages = [{"role": "user", "content": text}]
    memory = {"kind": "conversation", "messages": messages, "response": answer, "metadata": metadata}
    memory_id = (await agent("remember", memory=memory))["id"]
    if rating is not None:
        await agent("feedback", action="rate", rating=rating)
    return memory_id


async def test_a_preference_survives_a_restart(person):
    async with person() as agent:
        for key, value in (
            ("communication_style", "professional"),
            ("detail_level", "detailed"),
            ("expertise_level.python", "advanced"),
        ):
            await agent("preferences", action="set", key=key, value=value)

    async with person() as agent:
        shown = await agent("preferences", action="get")
        built = await agent("prompt_context", task="Speed up this Python loop")
        undone = await agent("preferences", action="undo")

    assert shown["prefix"] == SEED_PREFIX
    assert shown["preferences"]["expertise_level.python"]["value"] == "advanced"
    assert built["prefix"].startswith(SEED_PREFIX)
    assert "advanced in python" in built["prefix"]
    assert undone["preferences"]["expertise_level.python"]["source"] == "default"


async def test_a_rating_changes_the_prompt(person):
    async with person() as agent:
        memory_id = await converse(agent, "How do I deploy the service?", "Call ann@example.com first.", rating=3)
        before = await agent("prompt_context", task="deploy the service again")
        await agent("feedback", action="rate", conversation_id=memory_id, rating=5)
        liked = await agent("prompt_context", task="deploy the service again")
        await agent("feedback", action="rate", conversation_id=memory_id, rating=2)
        disliked = await agent("prompt_context", task="deploy the service again")

    assert (before["examples"], disliked["examples"]) == ([], [])
    assert before["prompt"] == disliked["prompt"] != liked["prompt"]
    assert [(one["id"], one["rating"]) for one in liked["examples"]] == [(memory_id, 5)]
    assert "> assistant: Call [REDACTED_EMAIL] first." in liked["prompt"]
    assert "ann@example.com" not in str(liked)


async def test_twelve_rated_turns_teach_the_style_and_forgetting_them_unteaches_it(person):
    async with person() as agent:
        ids = [
            await converse(
                agent,
                f"Question {turn}?",
                "An answer.",
                5 if style == "casual" else 2,
                preferences={"communication_style": style},
            )
            for turn in range(3)
            for style in STYLES
        ]
        learned = (await agent("preferences", action="get", key="communication_style"))["preferences"]
        await agent("forget", ids=ids, confirm=True)
        gone = (await agent("preferences", action="get", key="communication_style"))["preferences"]

    style = learned["communication_style"]
    assert (style["value"], style["source"], style["evidence"]) == ("casual", "learned", ids[::-1])
    assert style["confidence"] > 0.9
    assert gone["communication_style"]["source"] == "default"


async def test_five_conversations_are_enough_for_recall_and_examples(person):
    async with person() as agent:
        rated = [await converse(agent, f"How do I deploy {name}?", f"make {name}", 5) for name in ("atlas", "hydra")]
        told = [
            await converse(agent, f"Where does {name} run?", f"In hall {name}.") for name in ("atlas", "hydra", "orca")
        ]
        built = await agent("prompt_context", task="deploy atlas")

    assert {one["id"] for one in built["examples"]} == set(rated)
    assert {one["id"] for one in built["memories"]} <= set(told)
    assert told[0] in [one["id"] for one in built["memories"]]


async def test_learning_can_be_switched_off(person):
    async with person(auto_learn=False) as agent:
        for turn in range(4):
            await converse(agent, f"簡潔に答えて {turn}", "はい。", rating=5)
        shown = await agent("preferences", action="get")

    assert {one["source"] for one in shown["preferences"].values()} == {"default"}
    assert {one["evidence_count"] for one in shown["preferences"].values()} == {0}
