"""Proposals of a training: from the threshold on, once, and then again for as many new exchanges."""

import asyncio

import pytest

from lyra_mcp.domain.memories import Message, NewConversation
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.assistant import AssistantStatus, leave_out_unsafe, propose_training, read_assistant_status
from lyra_mcp.operations.forgetting import forget
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.storage import conversations


async def rated(services, rating, *, text="Tell me."):
    kept = await remember(services, NewConversation([Message("user", text)], "Well."))
    await rate(services, kept.id, rating)
    return kept.id


async def test_below_the_threshold_nothing_is_proposed_and_at_it_one_proposal(services):
    for _ in range(99):
        await rated(services, 4)
    assert await propose_training(services) is None
    await rated(services, 3)
    assert await propose_training(services) is None
    await rated(services, 5)

    found = await asyncio.gather(*(propose_training(services) for _ in range(20)))

    [proposal] = [each for each in found if each is not None]
    assert (proposal.conversations, proposal.threshold, proposal.min_rating) == (100, 100, 4)
    assert await read_assistant_status(services) == AssistantStatus(101, 101, 100, 100, 100, 4, proposal)


async def test_the_next_proposal_needs_as_many_new_exchanges(services):
    ids = [await rated(services, 5) for _ in range(3)]
    first = await propose_training(services, threshold=3)
    await rate(services, ids[0], 2)
    await rate(services, ids[0], 5)
    assert await propose_training(services, threshold=3) is None, "no rating makes an exchange new"
    for _ in range(2):
        await rated(services, 5)
    assert await propose_training(services, threshold=3) is None
    await rated(services, 5)

    second = await propose_training(services, threshold=3)

    assert (first.conversations, second.conversations) == (3, 3)
    assert first.proposal_id != second.proposal_id
    assert (await read_assistant_status(services, threshold=3)).proposal == second


async def test_the_lowest_rating_can_be_set(services):
    for rating in (4, 5, 4, 5):
        await rated(services, rating)

    assert await propose_training(services, threshold=3, min_rating=5) is None
    assert (await propose_training(services, threshold=2, min_rating=5)).conversations == 2


async def test_what_a_training_used_is_neither_ready_nor_proposed(services):
    ids = [await rated(services, 5) for _ in range(3)]
    async with services.database.transaction() as tx:
        await conversations.mark_used(tx, ids[:1])

    assert await propose_training(services, threshold=3) is None
    status = await read_assistant_status(services, threshold=2)
    assert (status.high_rated, status.ready_for_ft, status.proposal.conversations) == (3, 2, 2)

    async with services.database.transaction() as tx:
        await conversations.mark_used(tx, ids)
    status = await read_assistant_status(services, threshold=2)
    assert (status.ready_for_ft, status.proposal) == (0, None)


async def test_what_was_forgotten_leaves_its_proposal(services):
    ids = [await rated(services, 5, text=f"Tell me {number}.") for number in range(3)]
    await propose_training(services, threshold=3)

    await forget(services, ids[:1])

    assert (await read_assistant_status(services)).proposal.conversations == 2


async def test_what_a_filter_finds_unsafe_is_never_proposed(services):
    ids = [await rated(services, 5, text=f"Tell me {number}.") for number in range(4)]
    seen = []

    def is_safe(data):
        seen.append(data)
        return "Tell me 0." not in str(data)

    for conversation_id in ids:
        await leave_out_unsafe(services, conversation_id, is_safe)

    assert [data["response"] for data in seen] == ["Well."] * 4
    assert await propose_training(services, threshold=4) is None
    assert (await propose_training(services, threshold=3)).conversations == 3
    await leave_out_unsafe(services, ids[1], lambda data: False)
    assert (await read_assistant_status(services)).proposal.conversations == 2


async def test_what_a_filter_fails_on_is_not_safe(services):
    conversation_id = await rated(services, 5)

    with pytest.raises(ZeroDivisionError):
        await leave_out_unsafe(services, conversation_id, lambda data: 1 / 0)

    assert await propose_training(services, threshold=1) is None


@pytest.mark.parametrize(
    "limits",
    [
        {"threshold": 0},
        {"threshold": True},
        {"threshold": "100"},
        {"min_rating": 0},
        {"min_rating": 6},
        {"min_rating": 4.5},
    ],
)
async def test_limits_that_make_no_sense_are_refused(services, limits):
    with pytest.raises(Invalid, match=next(iter(limits))):
        await propose_training(services, **limits)
