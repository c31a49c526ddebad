"""What is said and what is learned, over the life of a database."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from lyra_mcp.domain.memories import Message, NewConversation
from lyra_mcp.domain.preferences import CHOICES, Preference
from lyra_mcp.errors import Conflict, Invalid
from lyra_mcp.operations import preferring
from lyra_mcp.operations.forgetting import forget
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.services import Services

STYLE = "communication_style"


@dataclass
class Person:
    services: Services

    async def ask(self, text: str, *before: tuple[str, str], rating: int | None = None, **metadata: Any) -> str:
        """A conversation, rated if a rating is given; returns its id."""
        said = [Message(role, content) for role, content in [*before, ("user", text)]]
        kept = await remember(self.services, NewConversation(said, "An answer.", metadata=metadata))
        if rating is not None:
            await rate(self.services, kept.id, rating)
        return kept.id

    async def learn_style(self, liked: str) -> list[str]:
        return [
            await self.ask("hi", rating=5 if style == liked else 2, preferences={STYLE: style})
            for style in CHOICES[STYLE] * 3
        ]

    async def get(self, key: str) -> Preference:
        return (await preferring.get_preferences(self.services, key))[key]

    async def value(self, key: str) -> tuple[str | None, str]:
        preference = await self.get(key)
        return preference.value, preference.source

    async def set(self, key: str, value: str) -> None:
        await preferring.set_preference(self.services, key, value)


@pytest.fixture
def person(services):
    return Person(services)


# What is said


async def test_nothing_is_known_at_first(person):
    everything = await preferring.get_preferences(person.services)

    assert everything == {
        STYLE: Preference("professional", "default"),
        "detail_level": Preference("medium", "default"),
        "tone": Preference("neutral", "default"),
        "response_format": Preference("conversational", "default"),
        "time_format": Preference(None, "default"),
        "language": Preference(None, "default"),
    }


async def test_what_is_said_holds_over_a_restart(person, settings, build_services):
    await person.set("tone", "Formal")
    await person.set("expertise_level.Python", "advanced")
    await person.services.database.close()

    again = build_services(settings)
    found = await preferring.get_preferences(again)
    await again.database.close()

    assert (found["tone"].value, found["tone"].source) == ("formal", "explicit")
    assert (found["expertise_level.python"].value, found["expertise_level.python"].confidence) == ("advanced", 1.0)


async def test_expertise_alone_means_all_topics(person):
    await person.set("expertise_level.python", "advanced")
    await person.set("expertise_level.cooking", "beginner")

    assert {
        key: one.value for key, one in (await preferring.get_preferences(person.services, "expertise_level")).items()
    } == {
        "expertise_level.cooking": "beginner",
        "expertise_level.python": "advanced",
    }


async def test_an_unknown_value_changes_nothing(person):
    with pytest.raises(Invalid, match="formal, neutral, friendly, humorous"):
        await person.set("tone", "grumpy")

    assert await person.value("tone") == ("neutral", "default")


async def test_undo_and_reset_are_added_to_the_history(person, lyra):
    await person.set("tone", "formal")
    await person.set("tone", "humorous")
    await preferring.undo_change(person.services, None)
    assert await person.value("tone") == ("formal", "explicit")
    await preferring.reset_preferences(person.services, "tone")
    assert await person.value("tone") == ("neutral", "default")
    await preferring.undo_change(person.services, "tone")
    assert await person.value("tone") == ("formal", "explicit")

    assert [row["change"] for row in await lyra.sql("SELECT change FROM preference_events ORDER BY seq")] == [
        "set",
        "set",
        "undo",
        "reset",
        "undo",
    ]


async def test_everything_said_is_reset_at_once_and_comes_back_at_once(person):
    await person.set("tone", "formal")
    await person.set("detail_level", "brief")

    assert set(await preferring.reset_preferences(person.services, None)) == {"tone", "detail_level"}
    assert set(await preferring.undo_change(person.services, None)) == {"tone", "detail_level"}
    assert await person.value("detail_level") == ("brief", "explicit")
    assert await preferring.reset_preferences(person.services, None) != {}
    assert await preferring.reset_preferences(person.services, None) == {}


async def test_without_a_change_there_is_nothing_to_undo(person):
    with pytest.raises(Conflict, match="no change is left"):
        await preferring.undo_change(person.services, None)


# What is learned


@pytest.mark.parametrize("liked", CHOICES[STYLE])
async def test_twelve_rated_turns_teach_the_style(person, liked):
    ids = await person.learn_style(liked)

    found = await person.get(STYLE)

    assert (found.value, found.source, found.evidence_count) == (liked, "learned", 12)
    assert found.evidence == tuple(reversed(ids))
    assert 0.95 < found.confidence < 1


async def test_the_setting_in_force_when_it_was_answered_gets_the_credit(person):
    """Not the one that holds when the rating comes."""
    ids = []
    for style in CHOICES[STYLE]:
        await person.set(STYLE, style)
        ids += [(style, await person.ask("hi")) for _ in range(3)]
    await preferring.reset_preferences(person.services, STYLE)

    for style, memory_id in ids:
        await rate(person.services, memory_id, 5 if style == "technical" else 1)

    assert await person.value(STYLE) == ("technical", "learned")


async def test_what_was_said_beats_what_was_learned(person):
    await person.learn_style("casual")

    await person.set(STYLE, "technical")
    assert await person.value(STYLE) == ("technical", "explicit")
    await preferring.reset_preferences(person.services, STYLE)
    assert await person.value(STYLE) == ("casual", "learned")


async def test_a_second_reset_sets_what_was_learned_aside_and_undo_brings_it_back(person):
    await person.learn_style("casual")

    await preferring.reset_preferences(person.services, STYLE)
    assert (await person.get(STYLE)) == Preference("professional", "default")
    await preferring.undo_change(person.services, STYLE)
    assert await person.value(STYLE) == ("casual", "learned")


async def test_three_wishes_for_brevity_are_enough(person):
    for number in range(3):
        assert await person.value("detail_level") == ("medium", "default")
        await person.ask(f"{number}番目の質問です。簡潔に答えてください。")

    found = await person.get("detail_level")
    assert (found.value, found.source, found.evidence_count) == ("brief", "learned", 3)


async def test_the_shortest_path_is_no_wish_for_brevity(person):
    for _ in range(10):
        await person.ask("What is the shortest path algorithm?")

    assert await person.get("detail_level") == Preference("medium", "default")


async def test_a_history_handed_over_again_is_not_counted_again(person):
    turns = [("user", "Be brief."), ("assistant", "Yes.")]
    for number in range(4):
        await person.ask(f"And {number}?", *turns)

    assert (await person.get("detail_level")).evidence_count == 0
    await person.ask("Be brief.", ("user", "Keep it short."), ("user", "簡潔に"))
    assert (await person.get("detail_level")).evidence_count == 3


async def test_another_rating_of_a_conversation_replaces_the_first(person):
    memory_id = await person.ask("hi", rating=5)
    before = (await person.get(STYLE)).evidence_count
    await rate(person.services, memory_id, 1)

    async with person.services.database.transaction() as tx:
        known = await preferring.read_known(person.services, tx)
    assert [(one.value, one.weight) for one in known.evidence[STYLE]] == [("professional", -1.0)]
    assert (await person.get(STYLE)).evidence_count == before == 1


async def test_forgetting_a_conversation_forgets_what_it_taught(person, lyra):
    ids = await person.learn_style("casual")

    await forget(person.services, ids)

    assert await person.get(STYLE) == Preference("professional", "default")
    assert await lyra.count("preference_evidence") == 0


async def test_where_learning_is_off_it_is_kept_and_teaches_nothing(person, settings, build_services, lyra):
    await person.learn_style("casual")
    learned = await lyra.count("preference_evidence")
    off = Person(build_services(settings.model_copy(update={"auto_learn": False})))

    for _ in range(3):
        await off.ask("簡潔に", rating=5)

    assert await off.value(STYLE) == ("professional", "default")
    await off.services.database.close()
    assert await lyra.count("preference_evidence") == learned
    assert await lyra.count("conversations") == 15


async def test_a_wish_in_the_conversation_was_in_force_there(person):
    """It is the brief answer that was rated, whatever the settings said."""
    await person.ask("Be brief.", rating=5)

    async with person.services.database.transaction() as tx:
        known = await preferring.read_known(person.services, tx)
    assert {(one.value, one.origin) for one in known.evidence["detail_level"]} == {
        ("brief", "hint"),
        ("brief", "rating"),
    }


@pytest.mark.parametrize(
    "stated",
    [
        {"expertise_level.python": "expert", STYLE: "casual"},
        {"expertise_level": {"Python": "Expert"}, STYLE: "Casual", "mood": "grim", "tone": "grumpy", "language": 7},
    ],
)
async def test_metadata_may_say_what_was_in_force(person, stated):
    await person.ask("hi", rating=4, preferences=stated, topic="python")

    async with person.services.database.transaction() as tx:
        known = await preferring.read_known(person.services, tx)
    credited = {key: one.value for key, [one] in known.evidence.items()}
    assert credited == {
        STYLE: "casual",
        "detail_level": "medium",
        "tone": "neutral",
        "response_format": "conversational",
        "expertise_level.python": "expert",
    }


async def test_expertise_is_inferred_from_questions_and_what_is_said_wins(person):
    key = "expertise_level.python"
    questions = ["How do I profile this?", "What are the trade-offs of asyncio?", "Optimize this loop"]
    ids = [await person.ask(question, topic="Python") for question in questions]

    found = await person.get(key)
    assert (found.value, found.source, found.evidence_count) == ("advanced", "learned", 3)
    assert found.evidence == tuple(reversed(ids))
    await person.set(key, "expert")
    assert await person.value(key) == ("expert", "explicit")
    assert await person.get("expertise_level.cooking") == Preference(None, "default")


async def test_what_was_learned_fades_with_time(person, clock):
    await person.learn_style("casual")

    clock.moment += timedelta(days=600)

    assert await person.value(STYLE) == ("professional", "default")


async def test_a_clock_that_goes_backwards_loses_nothing(person, clock):
    await person.set("tone", "formal")
    await person.learn_style("casual")
    clock.moment -= timedelta(days=400)
    await person.set("tone", "friendly")

    assert await person.value("tone") == ("friendly", "explicit")
    assert await person.value(STYLE) == ("casual", "learned")


async def test_users_do_not_learn_from_each_other(person, settings, build_services):
    await person.learn_style("casual")
    other = Person(build_services(settings.model_copy(update={"user": "other"})))

    assert await other.value(STYLE) == ("professional", "default")
    await other.services.database.close()


async def test_the_prefix_follows_what_is_said_and_learned(person):
    await person.set(STYLE, "professional")
    await person.set("detail_level", "detailed")
    await person.set("expertise_level.python", "advanced")

    assert (
        await preferring.read_prefix(person.services)
        == "Respond in a neutral tone with a professional style. Provide detailed explanations with examples."
    )
    assert "advanced in python" in await preferring.read_prefix(person.services, "Speed up this Python loop")


async def test_evidence_is_named_up_to_a_limit_and_counted_beyond(person):
    for _ in range(25):
        await person.ask("hi", rating=5)

    found = await person.get(STYLE)
    assert (len(found.evidence), found.evidence_count, found.value) == (20, 25, "professional")
