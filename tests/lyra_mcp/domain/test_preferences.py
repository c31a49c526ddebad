"""Keys, values, the history of what a person said, and the prefix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.preferences import (
    CHOICES,
    DEFAULTS,
    LEVELS,
    Event,
    Said,
    names_topic,
    parse_key,
    parse_value,
    prefix_sentences,
    replay,
    undone,
)
from lyra_mcp.errors import Conflict, Invalid


def prefix(task="", **preferences):
    return " ".join(prefix_sentences({key.replace("__", "."): value for key, value in preferences.items()}, task))


def history(*events):
    return [Event(key, value, change, f"2026-03-{day:02}") for day, (key, value, change) in enumerate(events, 1)]


# Keys and values


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("tone", "tone"),
        (" Detail Level ", "detail_level"),
        ("response-format", "response_format"),
        ("expertise_level.python", "expertise_level.python"),
        ("expertise_level.Data Science", "expertise_level.data_science"),
        ("expertise_level.C++", "expertise_level.c++"),
        ("expertise_level.node.js", "expertise_level.node.js"),
        ("expertise_level.機械学習", "expertise_level.機械学習"),
        ("expertise_level.Ｐｙｔｈｏｎ", "expertise_level.python"),
    ],
)
def test_a_key_has_one_form(written, key):
    assert parse_key(written) == key


@pytest.mark.parametrize(
    "written",
    [
        "",
        "mood",
        "tone.loud",
        "expertise_level",
        "expertise_level.",
        "expertise_level.a b?",
        "expertise_level." + "x" * 61,
    ],
)
def test_an_unknown_key_is_refused_with_the_keys_there_are(written):
    with pytest.raises(Invalid, match="expertise_level"):
        parse_key(written)


@pytest.mark.parametrize("key", [*CHOICES, "expertise_level.python"])
def test_a_closed_key_takes_its_words_and_no_other(key):
    words = CHOICES.get(key, LEVELS)

    assert [parse_value(key, word.upper().replace("_", "-")) for word in words] == list(words)
    with pytest.raises(Invalid, match=words[0]):
        parse_value(key, "grumpy")


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("JA", "ja"),
        ("en_us", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-CH-1996", "de-CH-1996"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("en-x-plain", "en-x-plain"),
    ],
)
def test_a_language_is_a_tag_in_its_usual_case(written, tag):
    assert parse_value("language", written) == tag


@pytest.mark.parametrize(
    "written", ["english", "Japanese", "e", "en-", "日本語", "en us", "en;ignore the rest", "a-DE"]
)
def test_what_is_no_language_tag_is_refused(written):
    with pytest.raises(Invalid, match="BCP 47"):
        parse_value("language", written)


# History


def test_the_last_word_holds():
    said = replay(history(("tone", "formal", "set"), ("tone", "friendly", "set"), ("detail_level", "brief", "set")))

    assert said == {"tone": Said("friendly"), "detail_level": Said("brief")}


def test_a_reset_takes_the_word_back_first_and_then_what_was_learned():
    events = history(("tone", "formal", "set"), ("tone", None, "reset"), ("tone", None, "reset"))

    assert replay(events[:2]) == {"tone": Said(None, "")}
    assert replay(events) == {"tone": Said(None, "2026-03-03")}


def test_undo_steps_back_change_by_change():
    events = history(("tone", "formal", "set"), ("tone", "friendly", "set"), ("tone", None, "reset"))
    seen = []

    while True:
        try:
            [(key, before)] = undone(events, None)
        except Conflict:
            break
        seen.append(before.value)
        events.append(Event(key, before.value, "undo", "2026-04-01"))
        assert replay(events)[key] == before

    assert seen == ["friendly", "formal", None]


def test_undo_of_a_key_leaves_the_other_keys():
    events = history(("tone", "formal", "set"), ("detail_level", "brief", "set"))

    assert undone(events, "tone") == [("tone", Said())]
    assert undone(events, None) == [("detail_level", Said())]
    with pytest.raises(Conflict, match="preferences"):
        undone(events, "language")


def test_what_one_call_changed_comes_back_with_one_undo():
    events = [
        Event("tone", "formal", "set", "2026-03-01"),
        Event("detail_level", "brief", "set", "2026-03-02"),
        Event("tone", None, "reset", "2026-03-03"),
        Event("detail_level", None, "reset", "2026-03-03"),
    ]

    assert undone(events, None) == [("tone", Said("formal")), ("detail_level", Said("brief"))]


@given(
    st.lists(
        st.tuples(st.sampled_from(["tone", "detail_level"]), st.sampled_from(["a", "b", None])),
        min_size=1,
        max_size=12,
    )
)
def test_undoing_everything_ends_where_it_began(changes):
    events = history(*((key, value, "set" if value else "reset") for key, value in changes))

    for _ in changes:
        for key, before in undone(events, None):
            events.append(Event(key, before.value, "undo", "2026-04-01"))

    assert set(replay(events).values()) == {Said()}


# Prefix


def test_the_example_of_the_seed_comes_out_exactly():
    said = {"communication_style": "professional", "detail_level": "detailed", "expertise_level.python": "advanced"}

    assert (
        " ".join(prefix_sentences(said))
        == "Respond in a neutral tone with a professional style. Provide detailed explanations with examples."
    )


def test_without_preferences_the_prefix_is_the_default():
    assert prefix() == "Respond in a neutral tone with a professional style."


def test_every_dimension_speaks():
    words = prefix(
        "Which pythonライブラリ?",
        tone="humorous",
        communication_style="casual",
        detail_level="brief",
        response_format="bullet_points",
        time_format="24h",
        language="pt-BR",
        expertise_level__python="expert",
        expertise_level__cooking="beginner",
    )

    assert words == (
        "Respond in a humorous tone with a casual style. Keep answers short and to the point. "
        "Answer in Portuguese (pt-BR). Use bullet points and numbered lists. "
        "Write times of day in the 24-hour format. "
        "The person is an expert in python: answer as to a colleague."
    )


def test_no_two_values_of_a_key_say_the_same_unless_they_say_nothing():
    for key, words in CHOICES.items():
        prefixes = {prefix(**{key: word}) for word in words}
        silent = {word for word in words if prefix(**{key: word}) == prefix()}
        assert len(prefixes) == len(words)
        assert silent == ({DEFAULTS[key]} if key in DEFAULTS else set())


@pytest.mark.parametrize(("tag", "sentence"), [("ja", "Answer in Japanese."), ("sw", "with the tag sw.")])
def test_a_language_is_named_where_its_name_is_known(tag, sentence):
    assert sentence in prefix(language=tag)


@pytest.mark.parametrize(
    ("text", "topic", "is_named"),
    [
        ("Optimise my Python code", "python", True),
        ("pythonで書いて", "python", True),
        ("pythonic style", "python", False),
        ("c++ templates", "c++", True),
        ("c++ templates", "c", False),
        ("data science is fun", "data_science", True),
        ("機械学習の基礎", "機械学習", True),
    ],
)
def test_a_topic_is_found_as_words_of_its_own(text, topic, is_named):
    assert names_topic(text, topic) is is_named
