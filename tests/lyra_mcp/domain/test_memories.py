"""What can be remembered, what is searched of it, and what cannot be kept word for word."""

import json

import pytest

from lyra_mcp.domain.memories import (
    DEPTH_MAX,
    FIELDS,
    MEMORY_BYTES_MAX,
    Message,
    NewConversation,
    NewEpisode,
    NewFact,
    NewWorkflow,
    check_rating,
    parse_memory,
    preview,
    searchable,
)
from lyra_mcp.errors import Invalid
from schema.wire import TEXT_CHARS_MAX

ASKED = (Message("user", "何時ですか"),)


def nested(depth):
    return {"a": nested(depth - 1)} if depth else "end"


@pytest.mark.parametrize(
    ("memory", "topic", "text"),
    [
        (
            NewConversation((Message("system", "Be kind."), *ASKED), "三時です", metadata={"topic": "time"}),
            "time",
            "system: Be kind.\nuser: 何時ですか\nassistant: 三時です",
        ),
        (NewConversation(ASKED, "三時です", metadata={"topic": 5}), None, "user: 何時ですか\nassistant: 三時です"),
        (NewFact("work", "role", "nurse"), "work", "work role: nurse"),
        (NewFact("work", "hours", 38.5), "work", "work hours: 38.5"),
        (NewFact("work", "days", ["Mon", "火"]), "work", "work days: Mon, 火"),
        (NewFact("work", "place", {"city": "京都"}), "work", 'work place: {"city": "京都"}'),
        (
            NewEpisode("meeting", "Weekly standup", {"attendees": ["Alice", "Bob"], "minutes": 30}),
            "meeting",
            "Weekly standup (meeting)\nattendees: Alice, Bob\nminutes: 30",
        ),
        (NewEpisode("meeting", "Standup", {"topic": "bridge"}), "bridge", "Standup (meeting)\ntopic: bridge"),
        (
            NewWorkflow("morning_routine", ["Check email", "Read news"]),
            "morning_routine",
            "morning_routine\n1. Check email\n2. Read news",
        ),
    ],
)
def test_everything_that_was_said_can_be_searched(memory, topic, text):
    assert (memory.topic, memory.text) == (topic, text)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: NewConversation((), "r"), "messages must not be empty"),
        (lambda: NewConversation(ASKED, ""), "response must not be empty or only white space"),
        (lambda: NewConversation(ASKED, " \n\t\u3000"), "response must not be empty or only white space"),
        (lambda: NewConversation(ASKED, "a\0b"), "response must not contain NUL"),
        (lambda: NewConversation(ASKED, "\ud800"), "response must be valid Unicode"),
        (lambda: NewConversation((Message("bot", "hi"),), "r"), "messages.0.role must be one of system, user, assist"),
        (lambda: NewConversation((Message("user", " "),), "r"), "messages.0.content must not be empty"),
        (lambda: NewConversation(ASKED * 5_001, "r"), "messages may have 5000 items"),
        (lambda: NewConversation(ASKED, "r", metadata=nested(DEPTH_MAX)), f"metadata may be nested {DEPTH_MAX} deep"),
        (lambda: NewConversation(ASKED, "r", metadata=nested(900)), f"metadata may be nested {DEPTH_MAX} deep"),
        (lambda: NewConversation(ASKED, "r", metadata={"a": ["\0"]}), "metadata must not contain NUL"),
        (lambda: NewConversation(ASKED, "r", metadata={"\ud800": 1}), "metadata must be valid Unicode"),
        (lambda: NewConversation(ASKED, "r", metadata={"a": float("nan")}), "metadata must be plain JSON"),
        (lambda: NewConversation(ASKED, "r", metadata={"a": {1, 2}}), "metadata must be plain JSON"),
        (lambda: NewConversation(ASKED, "r", metadata=["a"]), "metadata must be a JSON object"),
        (lambda: NewConversation(ASKED, "r", model="m" * 201), "model may have 200 characters"),
        (lambda: NewConversation(ASKED, "語" * (MEMORY_BYTES_MAX // 3 + 1)), "a memory may have 2,000,000 bytes"),
        (lambda: NewFact("", "k", "v"), "category must not be empty"),
        (lambda: NewFact("c", "k" * 201, "v"), "key may have 200 characters"),
        (lambda: NewFact("c", "k", None), "value must not be null"),
        (lambda: NewFact("c", "k", " "), "value must not be empty"),
        (lambda: NewFact("c", "k", float("inf")), "value must be plain JSON"),
        (lambda: NewFact("c", "k", "v", confidence=1.1), "confidence must lie in [0, 1]"),
        (lambda: NewFact("c", "k", "v", confidence=float("nan")), "confidence must lie in [0, 1]"),
        (lambda: NewFact("c", "k", "v", confidence=True), "confidence must lie in [0, 1]"),
        (lambda: NewFact("c", "k", "v", source=""), "source must not be empty"),
        (lambda: NewEpisode("", "d"), "event_type must not be empty"),
        (lambda: NewEpisode("e", "\n"), "description must not be empty"),
        (lambda: NewEpisode("e", "d", {"a": 10**7 * "x"}), "a memory may have 2,000,000 bytes"),
        (lambda: NewWorkflow("n", []), "steps must not be empty"),
        (lambda: NewWorkflow("n", ["a", ""]), "steps.1 must not be empty"),
        (lambda: NewWorkflow(" ", ["a"]), "name must not be empty"),
        (lambda: NewWorkflow("n", ["a"] * 501), "steps may have 500 items"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place_and_the_next_step(build, said):
    with pytest.raises(Invalid) as refused:
        build()

    assert str(refused.value).startswith(f"E_INVALID: {said}")
    assert "call again" in str(refused.value) or "split" in str(refused.value) or "forget(" in str(refused.value)


def test_a_conversation_of_a_megabyte_and_control_characters_are_accepted():
    long = NewConversation(ASKED, "あ" * 333_333)

    assert len(long.response.encode()) == 999_999
    assert NewEpisode("e", "bell \x07, escape \x1b, delete \x7f").description == "bell \x07, escape \x1b, delete \x7f"


def test_of_a_long_text_the_beginning_and_the_end_are_searched():
    text = "beginning " + "x" * 200_000 + " end"

    read = searchable(text)

    assert len(read) <= TEXT_CHARS_MAX
    assert (read[:10], read[-4:]) == ("beginning ", " end")
    assert searchable("short") == "short"


def test_a_preview_is_one_line():
    assert preview("a\n\n b\t c") == "a b c"
    assert preview("ab" * 300, 10) == "ababababab…"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("fact", {"key": "k"}, "a fact needs category and key and value; add category and value and call again"),
        ("workflow", {"name": "n"}, "a workflow needs name and steps; add steps and call again"),
        (
            "episode",
            {"event_type": "e", "description": "d", "steps": ["s"], "key": "k"},
            "an episode takes no key and no steps; leave it out or choose another kind",
        ),
    ],
)
def test_missing_and_stray_fields_are_named(kind, given, said):
    with pytest.raises(Invalid) as refused:
        parse_memory(kind, given)

    assert str(refused.value) == f"E_INVALID: {said}"


def test_every_kind_is_read_from_its_fields():
    given = {
        "conversation": {"messages": [{"role": "user", "content": "hi"}], "response": "ho", "model": "m"},
        "fact": {"category": "c", "key": "k", "value": 0, "confidence": 0.5, "source": "s"},
        "episode": {"event_type": "e", "description": "d", "context": {"a": 1}},
        "workflow": {"name": "n", "steps": ["a", "b"]},
    }

    assert {kind: parse_memory(kind, fields) for kind, fields in given.items()} == {
        "conversation": NewConversation((Message("user", "hi"),), "ho", "m"),
        "fact": NewFact("c", "k", 0, 0.5, "s"),
        "episode": NewEpisode("e", "d", {"a": 1}),
        "workflow": NewWorkflow("n", ["a", "b"]),
    }
    assert set(given) == set(FIELDS)


@pytest.mark.parametrize("rating", [0, 6, -1, "5", 5.0, True, None])
def test_a_rating_is_a_whole_number_from_1_to_5(rating):
    with pytest.raises(Invalid, match="a rating must be a whole number from 1 to 5"):
        check_rating(rating)


def test_the_five_ratings_pass():
    for rating in range(1, 6):
        check_rating(rating)


def test_an_episode_can_name_the_workflow_that_was_carried_out():
    assert NewEpisode("done", "d", {"workflow": "morning"}).uses_workflow == "morning"
    assert NewEpisode("done", "d", {"workflow": ["morning"]}).uses_workflow is None
    assert json.dumps(NewEpisode("done", "d").context) == "{}"
