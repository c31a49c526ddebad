"""What is remembered stays word for word; what is similar is named; what is newer hides what it replaces."""

from datetime import timedelta

import pytest

from lyra_mcp.domain.memories import Message, NewConversation, NewEpisode, NewFact, NewWorkflow
from lyra_mcp.domain.similar_memories import Similar
from lyra_mcp.errors import Conflict, NotFound, WorkerGone
from lyra_mcp.operations.memories import open_memory
from lyra_mcp.operations.redacting import put_pattern
from lyra_mcp.operations.remembering import Remembered, remember
from lyra_mcp.storage import memories
from lyra_mcp.storage.memories import Conversation, Episode, Fact, Workflow

STANDUP = "The weekly standup was moved to Tuesday at ten because of the repair of the bridge."


def asked(text, response="はい"):
    return NewConversation((Message("user", text),), response, "model-1", {"lang": "日本語", "tags": ["a", None, 1.5]})


@pytest.fixture
def words_of(lyra):
    """Which memories the index of words holds."""

    async def words_of():
        return {row["rowid"] for row in await lyra.sql("SELECT rowid FROM memory_words")}

    return words_of


async def test_a_conversation_is_kept_word_for_word(services, lyra):
    conversation = NewConversation(
        (Message("system", " leading and trailing  "), Message("user", "ダークモードで\r\n\x07 “引用”")),
        "はい、設定 → 外観です。\n",
        "model-1",
        {"z": 1, "a": {"日本": [True, None, 1.0]}},
    )

    kept = await remember(services, conversation)

    opened = await open_memory(services, kept.id)
    assert opened.details == Conversation(
        memory_id=kept.id,
        messages=[
            {"role": "system", "content": " leading and trailing  "},
            {"role": "user", "content": "ダークモードで\r\n\x07 “引用”"},
        ],
        response="はい、設定 → 外観です。\n",
        model="model-1",
        rating=None,
        comment=None,
        metadata={"z": 1, "a": {"日本": [True, None, 1.0]}},
        created_at="2026-03-01T00:00:01.000000+00:00",
        used_for_training=False,
    )
    [row] = await lyra.sql("SELECT messages, metadata FROM conversations")
    assert "ダークモードで" in row["messages"]
    assert row["metadata"] == '{"z": 1, "a": {"日本": [true, null, 1.0]}}'
    assert kept == Remembered(kept.id, "conversation")


async def test_every_kind_is_kept_whole(services):
    episode = await remember(services, NewEpisode("meeting", "Standup", {"attendees": ["Alice"]}))
    workflow = await remember(services, NewWorkflow("morning", ["b", "a", "b"]))
    fact = await remember(services, NewFact("work", "hours", {"mon": 8}, 0.5, "Alice"))

    first = "2026-03-01T00:00:0"
    assert (await open_memory(services, episode.id)).details == Episode(
        episode.id, "meeting", "Standup", {"attendees": ["Alice"]}, f"{first}1.000000+00:00"
    )
    assert (await open_memory(services, workflow.id)).details == Workflow(
        workflow.id, "morning", 1, ["b", "a", "b"], 0, f"{first}2.000000+00:00"
    )
    at = f"{first}3.000000+00:00"
    assert (await open_memory(services, fact.id)).details == Fact(
        fact.id, "work", "hours", {"mon": 8}, 0.5, "Alice", at, None, at
    )


async def test_a_megabyte_is_kept_whole_and_indexed_in_part(services, lyra):
    kept = await remember(services, asked("あ" * 333_000))

    opened = await open_memory(services, kept.id)
    assert opened.details.messages[0]["content"] == "あ" * 333_000
    assert len(opened.memory.text) <= 65_536


async def test_remembering_needs_no_worker(services, worker, words_of):
    worker.problem = WorkerGone("there is none")

    await remember(services, NewEpisode("meeting", "Standup"))

    assert await words_of() == {1}


async def test_another_value_of_a_fact_supersedes_the_old_and_keeps_it(services, lyra, words_of):
    old = await remember(services, NewFact("preferences", "language", "Python", 0.9, "chat"))
    new = await remember(services, NewFact("preferences", "language", "Go"))

    assert new == Remembered(new.id, "fact", similar=(Similar(old.id, "contradicts"),), supersedes=old.id)
    opened = await open_memory(services, new.id)
    assert [
        (fact.value, fact.valid_from[17:19], fact.valid_until and fact.valid_until[17:19]) for fact in opened.history
    ] == [
        ("Go", "02", None),
        ("Python", "01", "02"),
    ]
    assert (await open_memory(services, old.id)).memory.superseded_by == new.id
    assert await words_of() == {2}
    async with services.database.transaction() as tx:
        assert (await memories.fact(tx, "preferences", "language")).value == "Go"
        assert await memories.fact(tx, "preferences", "colour") is None


@pytest.mark.parametrize(("one", "other"), [("1", 1), (1, True), (["a"], "a"), ("Go", "go")])
async def test_values_that_differ_in_kind_are_different_values(services, one, other):
    old = await remember(services, NewFact("c", "k", one))
    new = await remember(services, NewFact("c", "k", other))

    assert new.supersedes == old.id


async def test_the_same_fact_again_writes_nothing_and_says_so(services, lyra):
    first = await remember(services, NewFact("c", "k", {"a": 1, "b": 2}))
    again = await remember(services, NewFact("c", "k", {"b": 2, "a": 1}))

    assert again == Remembered(first.id, "fact", is_new=False, similar=(Similar(first.id, "same", 1.0),))
    assert await lyra.count("memories") == 1


async def test_a_value_that_returns_is_a_new_row_of_the_history(services):
    for value in ("Python", "Go", "Python"):
        last = await remember(services, NewFact("c", "k", value))

    assert [fact.value for fact in (await open_memory(services, last.id)).history] == ["Python", "Go", "Python"]


async def test_a_clock_that_goes_backwards_does_not_turn_a_history_round(services, clock):
    await remember(services, NewFact("c", "k", "old"))
    clock.moment -= timedelta(days=30)
    new = await remember(services, NewFact("c", "k", "new"))
    newest = await remember(services, NewFact("c", "k", "newest"))

    history = (await open_memory(services, newest.id)).history
    assert [fact.value for fact in history] == ["newest", "new", "old"]
    assert history[0].valid_from >= history[1].valid_from >= history[2].valid_from
    assert all(fact.valid_until is None or fact.valid_until >= fact.valid_from for fact in history)
    assert history[1].memory_id == new.id
    assert history[0].created_at < history[2].created_at, "when it was written stays what the clock said"


async def test_a_workflow_of_the_same_name_is_a_new_version(services):
    first = await remember(services, NewWorkflow("morning_routine", ["Check email", "Read news"]))
    second = await remember(services, NewWorkflow("morning_routine", ["Check email", "Review calendar"]))

    assert (second.supersedes, second.use_count) == (first.id, 0)
    async with services.database.transaction() as tx:
        newest = await memories.workflow(tx, "morning_routine")
        before = await memories.workflow(tx, "morning_routine", 1)
        assert await memories.workflow(tx, "evening_routine") is None
    assert (newest.version, newest.steps) == (2, ["Check email", "Review calendar"])
    assert (before.version, before.steps) == (1, ["Check email", "Read news"])


async def test_an_episode_that_names_a_workflow_counts_its_use_over_all_versions(services):
    await remember(services, NewWorkflow("morning", ["a"]))
    first = await remember(services, NewEpisode("routine", "went well", {"workflow": "morning"}))
    edited = await remember(services, NewWorkflow("morning", ["a", "b"]))
    second = await remember(services, NewEpisode("routine", "took long", {"workflow": "morning"}))
    unknown = await remember(services, NewEpisode("routine", "what", {"workflow": "evening"}))
    await open_memory(services, edited.id)

    assert [one.use_count for one in (first, edited, second, unknown)] == [1, 1, 2, None]
    assert (await open_memory(services, edited.id)).details.use_count == 2, "reading is no use"


async def test_what_says_the_same_is_named_and_nothing_is_dropped(services, lyra):
    first = await remember(services, NewEpisode("meeting", STANDUP))
    same = await remember(services, NewEpisode("meeting", STANDUP.upper()))
    near = await remember(services, NewEpisode("meeting", STANDUP.replace("ten", "eleven")))
    other = await remember(services, NewEpisode("meeting", "Nobody came to the party in the garden."))
    fact = await remember(services, NewFact("meeting", "standup", STANDUP))

    assert same.similar == (Similar(first.id, "same", 1.0),)
    assert [(one.id, one.relation) for one in near.similar] == [(same.id, "near"), (first.id, "near")]
    assert all(0.6 <= one.similarity < 1.0 for one in near.similar)
    assert (other.similar, fact.similar) == ((), ())
    assert await lyra.count("memories") == 5


async def test_what_is_superseded_is_not_called_similar(services):
    await remember(services, NewFact("meeting", "standup", STANDUP))
    second = await remember(services, NewFact("meeting", "standup", STANDUP.replace("ten", "eleven")))
    third = await remember(services, NewFact("meeting", "standup", STANDUP.replace("ten", "twelve")))

    assert third.similar == (Similar(second.id, "contradicts"),)


async def test_a_text_that_was_said_a_thousand_times_names_five(services, lyra):
    for _ in range(12):
        last = await remember(services, asked("hello", "hello, how can I help you today?"))

    assert [one.relation for one in last.similar] == ["same"] * 5


async def test_the_same_key_writes_once(services, lyra):
    first = await remember(services, asked("one"), idempotency_key="k", connection="c")
    again = await remember(services, asked("one"), idempotency_key="k")

    assert again == first
    assert await lyra.count("memories") == 1
    with pytest.raises(Conflict, match="another request"):
        await remember(services, asked("two"), idempotency_key="k")


async def test_a_repetition_gives_the_whole_first_answer_again(services):
    await remember(services, NewWorkflow("morning", ["a"]))
    first = await remember(services, NewWorkflow("morning", ["a"]), idempotency_key="k")

    assert first.similar
    assert await remember(services, NewWorkflow("morning", ["a"]), idempotency_key="k") == first


async def test_an_import_says_when_it_was(services):
    kept = await remember(services, asked("one"), created_at="2020-01-01T00:00:00.000000+00:00")

    assert (await open_memory(services, kept.id)).memory.created_at == "2020-01-01T00:00:00.000000+00:00"


async def test_an_unknown_memory_is_an_error_that_names_the_next_step(services):
    with pytest.raises(NotFound, match=r"no memory 'mem_x'; recall\(query="):
        await open_memory(services, "mem_x")


async def test_private_data_in_any_field_is_named_and_kept_as_it_is(services):
    private = {"contact": ["hanako@example.com"]}
    kept = await remember(
        services, NewConversation((Message("user", "電話は０９０－１２３４－５６７８"),), "ok", None, private)
    )
    clean = await remember(services, asked("nothing private here"))

    assert kept.redacted == ("email", "phone_jp")
    assert (await open_memory(services, kept.id)).details.messages[0]["content"] == "電話は０９０－１２３４－５６７８"
    assert clean.redacted == ()


async def test_a_persons_own_patterns_are_named_too(services):
    await put_pattern(services, name="ticket", pattern=r"TICKET-\d+")

    assert (await remember(services, NewFact("work", "now", "TICKET-12"))).redacted == ("ticket",)
