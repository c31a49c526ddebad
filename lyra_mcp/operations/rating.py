"""Rate a conversation, 1 to 5, and see what is ready for a training."""

from lyra_mcp.domain.memories import check_rating
from lyra_mcp.errors import Invalid, NotFound
from lyra_mcp.operations import consent, preferring
from lyra_mcp.operations.feedback import Action
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import conversations, memories
from lyra_mcp.storage.conversations import HIGH_RATING_MIN
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.memories import Conversation


async def rate(
    lyra: Services, memory_id: str | None, rating: int, comment: str | None = None, *, connection: str | None = None
) -> str:
    """Rate a conversation; without an id the one that this connection remembered last. Returns its id.

    Raises:
        Invalid: the rating is no whole number from 1 to 5, or the memory is no conversation.
        NotFound: there is no such memory, or the connection has remembered none.
    """
    action = rate_conversation(lyra, memory_id, rating=rating, comment=comment, connection=connection)
    async with lyra.database.transaction() as tx:
        rated: str = (await action(tx))["conversation_id"]
        return rated


def rate_conversation(
    lyra: Services, memory_id: str | None, *, rating: int, comment: str | None, connection: str | None
) -> Action:
    """Likewise, as one of the actions of feedback."""
    check_rating(rating)
    conversation_id = memory_id or lyra.last_conversations.of(connection)

    async def act(tx: Transaction) -> dict[str, object]:
        before = await _find(tx, conversation_id)
        await conversations.insert_rating(tx, before.memory_id, rating, comment=comment, created_at=lyra.now())
        await preferring.learn_from(lyra, tx, before.memory_id)
        return {"conversation_id": before.memory_id, "rating": rating, "previous_rating": before.rating}

    return act


async def training_data(
    lyra: Services, *, min_rating: int = HIGH_RATING_MIN, limit: int | None = None
) -> list[Conversation]:
    """Conversations rated at least so and not yet used by a training, newest first; none without the person's yes.

    Raises:
        Invalid: an argument is no whole number in its range.
    """
    check_rating(min_rating)
    if limit is not None and (type(limit) is not int or limit < 0):
        raise Invalid("limit must be a whole number from 0 on; correct it and call again")
    async with lyra.database.reading() as tx:
        if not await consent.may_learn_from_conversations(tx):
            return []
        return await memories.conversations(tx, min_rating=min_rating, limit=limit, unused_only=True)


async def _find(tx: Transaction, conversation_id: str | None) -> Conversation:
    if conversation_id is None:
        raise NotFound("no conversation was remembered over this connection; pass the conversation_id remember() gave")
    memory = await memories.get(tx, conversation_id)
    if memory is None:
        raise NotFound(f"no conversation {conversation_id!r}; recall(query=..., kinds=['conversation']) finds its id")
    opened = await memories.open_memory(tx, memory)
    if not isinstance(opened, Conversation):
        raise Invalid(f"{conversation_id!r} is a {memory.kind}; only conversations are rated, so pass the id of one")
    return opened
