"""The assistant's own numbers, and the proposal of a training; training a chat model is not part of this yet."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lyra_mcp.domain.exchanges import write_plain
from lyra_mcp.domain.memories import RATING_MAX
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import conversations, exchanges, training_proposals
from lyra_mcp.storage.training_proposals import TrainingProposal

THRESHOLD = 100
MIN_RATING = conversations.HIGH_RATING_MIN


@dataclass(frozen=True, slots=True)
class AssistantStatus:
    total: int
    rated: int
    #: Rated `min_rating` or better.
    high_rated: int
    #: Of these, how many no training has used.
    ready_for_ft: int
    threshold: int
    min_rating: int
    #: The newest with exchanges that no training has used; None: there was never enough.
    proposal: TrainingProposal | None


def check_limits(threshold: int, min_rating: int) -> None:
    """
    Raises:
        Invalid: one of them makes no sense.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        raise Invalid(f"threshold is {threshold!r:.40}; it can be a whole number from 1")
    if isinstance(min_rating, bool) or not isinstance(min_rating, int) or not 1 <= min_rating <= RATING_MAX:
        raise Invalid(f"min_rating is {min_rating!r:.40}; it can be a whole number from 1 to {RATING_MAX}")


async def propose_training(
    services: Services, *, threshold: int = THRESHOLD, min_rating: int = MIN_RATING
) -> TrainingProposal | None:
    """Propose a training when enough new well rated exchanges are there; None: not yet. It starts nothing.

    Looking and writing are one transaction, so calls at the same time make one proposal.
    """
    check_limits(threshold, min_rating)
    async with services.database.transaction() as tx:
        memory_ids = await training_proposals.find_unproposed(tx, min_rating=min_rating)
        if len(memory_ids) < threshold:
            return None
        proposal_id, created_at = services.new_id("proposal"), services.now()
        await training_proposals.insert_proposal(
            tx, proposal_id, memory_ids, threshold=threshold, min_rating=min_rating, created_at=created_at
        )
        return TrainingProposal(proposal_id, threshold, min_rating, len(memory_ids), created_at)


async def leave_out_unsafe(services: Services, conversation_id: str, is_safe: Callable[[dict[str, Any]], bool]) -> None:
    """Never propose an exchange that a program's own filter finds unsafe, by its fields as `write_plain` names them.

    What the filter fails on is not safe.
    """
    async with services.database.transaction() as tx:
        found = await exchanges.find_exchanges(tx, [conversation_id])
    if conversation_id not in found:
        return
    is_left_out = True
    try:
        is_left_out = not is_safe(write_plain(found[conversation_id]))
    finally:
        if is_left_out:
            async with services.database.transaction() as tx:
                await training_proposals.leave_out(tx, conversation_id)


async def read_assistant_status(
    services: Services, *, threshold: int = THRESHOLD, min_rating: int = MIN_RATING
) -> AssistantStatus:
    """Also proposes what ratings by other ways, such as the tool `feedback`, have made worth it."""
    await propose_training(services, threshold=threshold, min_rating=min_rating)
    async with services.database.transaction() as tx:
        counts = await conversations.count(tx, high_rating_min=min_rating)
        return AssistantStatus(
            counts.total,
            counts.rated,
            counts.high_rated,
            counts.ready_for_ft,
            threshold,
            min_rating,
            await training_proposals.find_proposal(tx),
        )
