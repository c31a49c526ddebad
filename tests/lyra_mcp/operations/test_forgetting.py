"""Forgetting leaves nothing of a text behind, and says what counts again."""

import pytest

from lyra_mcp.domain.memories import Message, NewConversation, NewEpisode, NewFact, NewWorkflow
from lyra_mcp.errors import NotFound
from lyra_mcp.operations.forgetting import Forgotten, find_memories, forget
from lyra_mcp.operations.memories import open_memory
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage import memories


@pytest.fixture
def remember_values(services):
    async def remember_values(*values):
        return [(await remember(services, NewFact("c", "k", value))).id for value in values]

    return remember_values


@pytest.fixture
def value(services):
    """The value of the fact that holds."""

    async def value():
        async with services.database.transaction() as tx:
            fact = await memories.fact(tx, "c", "k")
        return fact and fact.value

    return value


async def test_nothing_of_a_forgotten_memory_is_left(services, lyra):
    secret = "zebracorn"
    conversation = NewConversation((Message("user", secret),), "noted", metadata={"topic": secret})
    kept = [
        await remember(services, conversation, idempotency_key="key"),
        await remember(services, NewFact("c", secret, secret)),
        await remember(services, NewEpisode("e", secret, {"workflow": "w"})),
        await remember(services, NewWorkflow(secret, [secret])),
        await remember(services, NewEpisode("e", "it was carried out", {"workflow": secret})),
    ]
    await rate(services, kept[0].id, 5, secret)
    await services.index.idle()

    done = await forget(services, [one.id for one in kept], reason="asked to")

    assert done == Forgotten(tuple(one.id for one in kept), ())
    for table in await lyra.sql("SELECT name FROM pragma_table_list WHERE type IN ('table', 'shadow')"):
        for row in await lyra.sql(f"SELECT * FROM {table['name']}"):
            assert secret not in str(row), table["name"]
    for table in ("memories", "conversations", "facts", "episodes", "workflows", "workflow_uses", "memory_sketches"):
        assert await lyra.count(table) == 0, table
    for table in ("rating_events", "memory_words", "memory_bits", "memory_vectors"):
        assert await lyra.count(table) == 0, table
    events = await lyra.sql("SELECT memory_id, reason FROM forget_events ORDER BY seq")
    assert [(row["memory_id"], row["reason"]) for row in events] == [(one.id, "asked to") for one in kept]


async def test_ids_that_are_not_there_are_told_apart(services):
    kept = await remember(services, NewEpisode("e", "d"))

    done = await forget(services, ["mem_x", kept.id, "mem_x", kept.id])

    assert done == Forgotten((kept.id,), ("mem_x",))
    assert await forget(services, [kept.id]) == Forgotten((), (kept.id,))
    with pytest.raises(NotFound):
        await open_memory(services, kept.id)


async def test_an_earlier_value_counts_again_when_the_newest_is_forgotten(services, lyra, remember_values, value):
    old, new = await remember_values("Python", "Go")

    done = await forget(services, [new])

    assert done == Forgotten((new,), (), restored=(old,))
    assert await value() == "Python"
    opened = await open_memory(services, old)
    assert (opened.memory.superseded_by, opened.details.valid_until) == (None, None)
    assert [row["rowid"] for row in await lyra.sql("SELECT rowid FROM memory_words")] == [opened.memory.seq]


async def test_a_value_from_the_middle_leaves_the_rest_of_the_history(services, remember_values, value):
    first, middle, last = await remember_values(1, 2, 3)

    assert (await forget(services, [middle])).restored == ()
    assert await value() == 3
    assert (await open_memory(services, first)).memory.superseded_by == last
    assert [fact.value for fact in (await open_memory(services, last)).history] == [3, 1]
    assert (await forget(services, [last])).restored == (first,)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_the_two_newest_values_go_together(services, remember_values, value, order):
    ids = await remember_values("a", "b", "c")

    done = await forget(services, [ids[number] for number in order])

    assert (done.restored, await value()) == ((ids[0],), "a")


async def test_a_whole_history_goes_at_once(services, remember_values, value):
    ids = await remember_values("a", "b", "c")

    assert (await forget(services, ids)).restored == ()
    assert await value() is None
    assert await remember_values("b") != ids[1]


async def test_an_earlier_version_of_a_workflow_counts_again(services):
    first = await remember(services, NewWorkflow("w", ["a"]))
    second = await remember(services, NewWorkflow("w", ["b"]))

    assert (await forget(services, [second.id])).restored == (first.id,)
    async with services.database.transaction() as tx:
        assert (await memories.workflow(tx, "w")).steps == ["a"]
    third = await remember(services, NewWorkflow("w", ["c"]))
    assert third.supersedes == first.id


async def test_what_would_be_forgotten_can_be_looked_at_first(services):
    one = await remember(services, NewEpisode("e", "one"))
    other = await remember(services, NewEpisode("e", "other"))

    found = await find_memories(services, [other.id, "mem_x", one.id])

    assert [memory.memory_id for memory in found] == [one.id, other.id]
