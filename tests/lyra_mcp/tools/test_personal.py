"""The tools `preferences` and `prompt_context`, and the personal prompt, as an agent sees them."""

import pytest

from lyra_mcp.errors import WorkerGone

SEED_PREFIX = "Respond in a neutral tone with a professional style. Provide detailed explanations with examples."


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"tools": "full"})


async def converse(agent, text, answer="An answer.", rating=None, **metadata):
    memory = {"kind": "conversation", "messages": [{"role": "user", "content": text}], "response": answer}
    kept = await agent.call("remember", memory={**memory, "metadata": metadata})
    if rating is not None:
        await agent.call("feedback", action="rate", conversation_id=kept["id"], rating=rating)
    return kept["id"]


async def test_a_preference_is_set_shown_reset_and_brought_back(connect):
    async with connect() as agent:
        await agent.call("preferences", action="set", key="communication_style", value="professional")
        await agent.call("preferences", action="set", key="expertise_level.python", value="advanced")
        said = await agent.call("preferences", action="set", key="detail_level", value="Detailed")
        shown = await agent.call("preferences", action="get", key="expertise_level")
        reset = await agent.call("preferences.reset", key="detail_level")
        undone = await agent.call("preferences", action="undo")

    explicit = {"source": "explicit", "confidence": 1.0, "evidence": [], "evidence_count": 0}
    assert said["preferences"] == {"detail_level": {"value": "detailed", **explicit}}
    assert said["prefix"] == undone["prefix"] == SEED_PREFIX
    assert shown["preferences"] == {"expertise_level.python": {"value": "advanced", **explicit}}
    assert reset["preferences"]["detail_level"] == {
        "value": "medium",
        "source": "default",
        "confidence": None,
        "evidence": [],
        "evidence_count": 0,
    }
    assert "undo" in said["next_step"]
    assert "undo" not in undone["next_step"], "an undo is not undone"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"action": "set", "key": "tone", "value": "grumpy"}, "formal, neutral, friendly, humorous"),
        ({"action": "set", "key": "mood", "value": "formal"}, "communication_style, detail_level"),
        ({"action": "set", "key": "expertise_level.python", "value": "godlike"}, "beginner, intermediate"),
        ({"action": "set", "key": "language", "value": "english"}, "BCP 47"),
        ({"action": "set", "key": "tone"}, "needs key and value"),
        ({"action": "get", "value": "formal"}, "takes no value"),
        ({"action": "get", "key": "mood"}, "the keys are"),
        ({"action": "undo"}, "no change is left"),
        ({"action": "forget"}, "action"),
        ({"action": "set", "key": "tone", "value": "x" * 101}, "value"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_next_step(connect, arguments, said):
    async with connect() as agent:
        refusal = await agent.refused("preferences", **arguments)

    assert refusal.startswith(("E_INVALID: ", "E_CONFLICT: "))
    assert said in refusal


async def test_what_is_learned_is_listed_with_its_evidence(connect):
    async with connect() as agent:
        before = await agent.call("preferences", action="get")
        ids = [await converse(agent, f"簡潔に答えて。その{number}") for number in range(3)]
        after = await agent.call("preferences", action="get", key="detail_level")

    assert {one["source"] for one in before["preferences"].values()} == {"default"}
    assert "Nothing is known yet" in before["next_step"]
    learned = after["preferences"]["detail_level"]
    assert (learned["value"], learned["source"], learned["evidence"]) == ("brief", "learned", ids[::-1])
    assert "Keep answers short" in after["prefix"]


async def test_a_rating_changes_the_prompt(connect):
    async with connect() as agent:
        memory_id = await converse(agent, "How do I deploy?", "With make deploy.", rating=3)
        before = await agent.call("prompt_context", task="deploy the service")
        await agent.call("feedback", action="rate", conversation_id=memory_id, rating=5)
        after = await agent.call("prompt_context", task="deploy the service")

    assert before["examples"] == []
    [example] = after["examples"]
    assert (example["id"], example["rating"]) == (memory_id, 5)
    assert (example["user"], example["assistant"]) == ("How do I deploy?", "With make deploy.")
    assert "With make deploy." in after["prompt"]
    assert after["prompt"].startswith(after["prefix"])
    assert 0 < after["tokens"] <= 3_000


async def test_a_memory_comes_with_its_kind_its_reason_and_its_address(connect):
    async with connect() as agent:
        fact = {"kind": "fact", "category": "deploy", "key": "host", "value": "atlas, ask ann@example.com"}
        kept = await agent.call("remember", memory=fact)
        built = await agent.call("prompt_context", task="deploy to which host?", include=["memories"])

    [memory] = built["memories"]
    assert (memory["id"], memory["kind"], memory["uri"]) == (kept["id"], "fact", f"memory://{kept['id']}")
    assert "deploy" in memory["why"]
    assert built["prefix"] == ""
    assert "ann@example.com" not in str(built)
    assert "[REDACTED_EMAIL]" in built["prompt"]


async def test_a_worker_that_is_down_is_said_and_costs_only_relevance(connect, worker):
    async with connect() as agent:
        memory_id = await converse(agent, "How do I deploy?", "With make deploy.", rating=5)
        worker.problem = WorkerGone("the worker ended")
        built = await agent.call("prompt_context", task="deploy")

    assert [example["id"] for example in built["examples"]] == [memory_id]
    assert built["degraded"] is True
    assert "the worker ended" in built["degraded_reason"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"task": ""},
        {"task": "   "},
        {"task": "x", "budget_tokens": 99},
        {"task": "x", "budget_tokens": 100_001},
        {"task": "x", "include": []},
        {"task": "x", "include": ["everything"]},
        {"task": "x", "user": "other"},
    ],
)
async def test_a_prompt_that_cannot_be_is_refused(connect, arguments):
    async with connect() as agent:
        assert (await agent.refused("prompt_context", **arguments)).startswith("E_INVALID: ")


async def test_the_personal_prompt_is_what_a_person_starts(connect):
    async with connect() as agent:
        await agent.call("preferences", action="set", key="language", value="ja")
        await converse(agent, "How do I deploy?", "With make deploy.", rating=5)
        plain = await agent.client.get_prompt("personal_system_prompt")
        about = await agent.client.get_prompt("personal_system_prompt", {"task": "deploy"})

    assert plain.messages[0].content.text.endswith("Answer in Japanese.")
    assert "With make deploy." in about.messages[0].content.text
