"""Ratings go to the conversation they are for, and decide what a training may read."""

import asyncio

import pytest

from lyra_mcp.domain.memories import Message, NewConversation, NewFact
from lyra_mcp.errors import Invalid, NotFound
from lyra_mcp.operations import consent
from lyra_mcp.operations.rating import rate, training_data
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage import conversations
from lyra_mcp.storage.conversations import ConversationStats


@pytest.fixture
def talk(services):
    """Remember an exchange and rate it, unless the rating is None; returns its id."""

    async def talk(text, rating=None, *, services=services, connection=None):
        conversation = NewConversation((Message("user", text),), f"answer to {text}")
        kept = await remember(services, conversation, connection=connection)
        if rating is not None:
            await rate(services, kept.id, rating)
        return kept.id

    return talk


async def test_a_rating_and_its_comment_are_kept_and_the_last_one_counts(services, lyra, talk):
    one = await talk("one")
    other = await talk("other")
    await rate(services, one, 2, "too long")
    await rate(services, one, 5, "後で役に立った")

    rows = await lyra.sql("SELECT memory_id, rating, comment FROM conversations ORDER BY rating")
    assert rows == [
        {"memory_id": other, "rating": None, "comment": None},
        {"memory_id": one, "rating": 5, "comment": "後で役に立った"},
    ]
    events = await lyra.sql("SELECT rating, comment FROM rating_events ORDER BY seq")
    assert [(row["rating"], row["comment"]) for row in events] == [(2, "too long"), (5, "後で役に立った")]


@pytest.mark.parametrize("rating", [0, 6, "5", True, 4.5])
async def test_no_other_rating_is_kept(services, lyra, talk, rating):
    one = await talk("one")

    with pytest.raises(Invalid, match="a rating must be a whole number from 1 to 5"):
        await rate(services, one, rating)
    assert await lyra.count("rating_events") == 0


async def test_what_cannot_be_rated_says_why(services, talk):
    fact = await remember(services, NewFact("c", "k", "v"))

    with pytest.raises(NotFound, match="no conversation 'mem_x'; recall"):
        await rate(services, "mem_x", 5)
    with pytest.raises(Invalid, match="is a fact; only conversations are rated"):
        await rate(services, fact.id, 5)
    with pytest.raises(NotFound, match="no conversation was remembered over this connection; pass the conversation_id"):
        await rate(services, None, 5, connection="a")
    with pytest.raises(NotFound, match="no conversation was remembered over this connection"):
        await rate(services, None, 5)


async def test_without_an_id_each_connection_rates_its_own_last_conversation(services, talk):
    await talk("earlier", connection="a")
    last_of_a = await talk("of a", connection="a")
    last_of_b = await talk("of b", connection="b")
    await talk("of nobody")
    await remember(services, NewFact("c", "k", "v"), connection="a")

    assert await rate(services, None, 5, connection="a") == last_of_a
    assert await rate(services, None, 1, connection="b") == last_of_b


async def test_connections_that_never_come_back_are_not_kept_for_ever(services, talk):
    services.last_conversations.connections_max = 2
    for name in ("a", "b", "a", "c"):
        await talk(name, connection=name)

    assert list(services.last_conversations.by_connection) == ["a", "c"]


async def test_a_hundred_ratings_at_once_never_cross_from_one_user_to_another(settings, build_services, talk):
    both = [build_services(settings.model_copy(update={"user": name})) for name in ("alice", "bob")]
    ids = [[await talk(f"{n}", services=user, connection=f"{n}") for n in range(10)] for user in both]

    async def one(number):
        user, which = number % 2, number // 2 % 10
        by_id = number < 50
        return await rate(both[user], ids[user][which] if by_id else None, user + 3, f"{user}", connection=f"{which}")

    rated = await asyncio.gather(*(one(number) for number in range(100)))

    assert rated == [ids[number % 2][number // 2 % 10] for number in range(100)]
    for user, services in enumerate(both):
        async with services.database.transaction() as tx:
            cursor = await tx.execute("SELECT DISTINCT rating, comment FROM conversations")
            assert [tuple(row) for row in await cursor.fetchall()] == [(user + 3, f"{user}")]
            cursor = await tx.execute("SELECT memory_id, count(*) FROM rating_events GROUP BY 1")
            assert sorted(map(tuple, await cursor.fetchall())) == sorted((one, 5) for one in ids[user])
        await services.index.close()
        await services.database.close()


@pytest.fixture(name="agreed")
async def _agreed(services):
    """The person lets conversations be learned from."""
    await consent.record(services, "learn_locally", provider=None, granted=True, reason=None)


@pytest.mark.usefixtures("agreed")
async def test_training_reads_what_is_rated_well_and_unused_newest_first(services, talk):
    """Rated 5, 4, 3, not at all, 5, and one of them used: two are left."""
    ids = [await talk(text, rating) for text, rating in zip("abcde", (5, 4, 3, None, 5), strict=True)]
    async with services.database.transaction() as tx:
        await conversations.mark_used(tx, [ids[1]])

    assert [one.memory_id for one in await training_data(services, min_rating=4)] == [ids[4], ids[0]]
    assert [one.memory_id for one in await training_data(services, min_rating=3, limit=2)] == [ids[4], ids[2]]
    assert [one.response for one in await training_data(services, limit=1)] == ["answer to e"]
    assert await training_data(services, limit=0) == []


@pytest.mark.parametrize("limit", ["1; DROP", "1", -1, 1.5, True])
@pytest.mark.usefixtures("agreed")
async def test_a_limit_that_is_no_number_is_refused(services, talk, limit):
    await talk("one", 5)

    with pytest.raises(Invalid, match="limit must be a whole number from 0 on"):
        await training_data(services, limit=limit)
    assert len(await training_data(services)) == 1


async def test_ready_drops_by_what_a_training_used_and_never_below_zero(services, talk):
    ids = [await talk(f"{number}", rating) for number, rating in enumerate((5, 4, 3, None, 5))]

    async def stats():
        async with services.database.reading() as tx:
            return await conversations.count(tx)

    assert await stats() == ConversationStats(total=5, rated=4, high_rated=3, ready_for_ft=3)

    async with services.database.transaction() as tx:
        await conversations.mark_used(tx, ids[:3])
    assert await stats() == ConversationStats(total=5, rated=4, high_rated=3, ready_for_ft=1)

    await rate(services, ids[0], 1)
    await rate(services, ids[4], 2)
    assert await stats() == ConversationStats(total=5, rated=4, high_rated=1, ready_for_ft=0)

    async with services.database.transaction() as tx:
        await conversations.mark_used(tx, ids, used=False)
    assert (await stats()).ready_for_ft == 1
