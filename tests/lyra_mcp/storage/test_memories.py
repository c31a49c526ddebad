"""Memories are read by kind, topic, time and id, the newest first, and each kind from its own table."""

import pytest

from lyra_mcp.domain.memories import Message, NewConversation, NewEpisode, NewFact, NewWorkflow
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage import memories


@pytest.fixture
async def ids(services):
    """One second after the other: a meeting, a talk rated 4, a trip, a fact and its other value, a workflow, a talk."""
    told = [
        NewEpisode("meeting", "standup", {"attendees": ["Alice", "Bob"]}),
        NewConversation((Message("user", "q"),), "r"),
        NewEpisode("trip", "to Kyoto"),
        NewFact("work", "role", "nurse"),
        NewFact("work", "role", "doctor"),
        NewWorkflow("morning", ["b", "a"]),
        NewConversation((Message("user", "other q"),), "other r", metadata={"topic": "work"}),
        NewEpisode("meeting", "review"),
    ]
    kept = [(await remember(services, memory)).id for memory in told]
    await rate(services, kept[1], 4)
    return kept


@pytest.fixture
def ask(services, ids):
    """Call a function of the storage in a transaction of its own."""

    async def ask(function, *arguments, **named):
        async with services.database.reading() as tx:
            return await function(tx, *arguments, **named)

    return ask


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, [7, 6, 5, 4, 2, 1, 0]),
        ({"include_superseded": True}, [7, 6, 5, 4, 3, 2, 1, 0]),
        ({"kind": "episode"}, [7, 2, 0]),
        ({"kind": "episode", "limit": 1}, [7]),
        ({"topic": "work"}, [6, 4]),
        ({"kind": "fact", "topic": "work", "include_superseded": True}, [4, 3]),
        ({"since": "2026-03-01T00:00:06.000000+00:00"}, [7, 6, 5]),
        ({"until": "2026-03-01T00:00:02.000000+00:00"}, [1, 0]),
        ({"before_seq": 3}, [1, 0]),
        ({"limit": 0}, []),
    ],
)
async def test_memories_are_listed_by_what_they_are(ask, ids, asked, numbers):
    listed = await ask(memories.list_memories, **asked)

    assert [ids.index(memory.memory_id) for memory in listed] == numbers


async def test_many_are_read_in_the_order_asked_for(ask, ids):
    found = await ask(memories.get_many, [3, 99, 2, 1])

    assert [(memory.seq, memory.memory_id, memory.rating) for memory in found] == [
        (3, ids[2], None),
        (2, ids[1], 4),
        (1, ids[0], None),
    ]
    assert await ask(memories.get_many, []) == []
    assert await ask(memories.get, ids[1]) == found[1]
    assert await ask(memories.get, "mem_x") is None


async def test_episodes_come_by_type_newest_first(ask, ids):
    meetings = await ask(memories.episodes, "meeting", 5)

    assert [(one.memory_id, one.description, one.context) for one in meetings] == [
        (ids[7], "review", {}),
        (ids[0], "standup", {"attendees": ["Alice", "Bob"]}),
    ]
    assert [one.memory_id for one in await ask(memories.episodes, "meeting", 1)] == [ids[7]]
    assert len(await ask(memories.episodes)) == 3
    assert await ask(memories.episodes, "wedding") == []


async def test_conversations_come_newest_first_and_by_rating(ask, ids):
    assert [one.memory_id for one in await ask(memories.conversations)] == [ids[6], ids[1]]
    assert [one.memory_id for one in await ask(memories.conversations, min_rating=4)] == [ids[1]]
    assert await ask(memories.conversations, min_rating=5, unused_only=True) == []
    assert len(await ask(memories.conversations, unused_only=True, limit=1)) == 1


async def test_the_three_memories_and_the_conversations_are_read_apart(ask, ids):
    """Facts, episodes and workflows each whole and alone: what an export writes."""
    apart = {
        kind: [await ask(memories.open_memory, one) for one in await ask(memories.list_memories, kind=kind)]
        for kind in ("fact", "episode", "workflow", "conversation")
    }

    assert {kind: [type(one).__name__ for one in found] for kind, found in apart.items()} == {
        "fact": ["Fact"],
        "episode": ["Episode"] * 3,
        "workflow": ["Workflow"],
        "conversation": ["Conversation"] * 2,
    }
    assert [fact.value for fact in await ask(memories.facts, "work", "role")] == ["doctor", "nurse"]
    assert apart["workflow"][0].steps == ["b", "a"]
