"""Proposals to train a chat model, and the exchanges each of them is about."""

import json
from dataclasses import dataclass

from lyra_mcp.storage.database import Transaction


@dataclass(frozen=True, slots=True)
class TrainingProposal:
    proposal_id: str
    threshold: int
    min_rating: int
    #: How many of its exchanges no training has used yet.
    conversations: int
    created_at: str


async def find_unproposed(tx: Transaction, *, min_rating: int) -> list[str]:
    """Memory ids of exchanges rated well enough, unused, in no proposal and not left out; oldest rating first."""
    cursor = await tx.execute(
        "SELECT c.memory_id FROM conversations c LEFT JOIN proposed_conversations p USING (memory_id)"
        " WHERE c.rating >= ? AND c.used_for_training = 0 AND p.memory_id IS NULL ORDER BY c.rated_at, c.memory_id",
        (min_rating,),
    )
    return [row["memory_id"] for row in await cursor.fetchall()]


async def find_proposal(tx: Transaction) -> TrainingProposal | None:
    """The newest that has exchanges left."""
    cursor = await tx.execute(
        "SELECT t.*, count(c.memory_id) AS conversations FROM training_proposals t"
        " JOIN proposed_conversations p USING (proposal_id)"
        " JOIN conversations c ON c.memory_id = p.memory_id AND c.used_for_training = 0"
        " GROUP BY t.seq ORDER BY t.seq DESC LIMIT 1"
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return TrainingProposal(
        row["proposal_id"], row["threshold"], row["min_rating"], row["conversations"], row["created_at"]
    )


async def insert_proposal(
    tx: Transaction, proposal_id: str, memory_ids: list[str], *, threshold: int, min_rating: int, created_at: str
) -> None:
    await tx.execute(
        "INSERT INTO training_proposals (proposal_id, threshold, min_rating, created_at) VALUES (?, ?, ?, ?)",
        (proposal_id, threshold, min_rating, created_at),
    )
    await tx.execute(
        "INSERT INTO proposed_conversations (memory_id, proposal_id) SELECT value, ? FROM json_each(?)",
        (proposal_id, json.dumps(memory_ids)),
    )


async def leave_out(tx: Transaction, memory_id: str) -> None:
    """Never propose it; if it is in a proposal, it leaves."""
    await tx.execute(
        "INSERT INTO proposed_conversations (memory_id, proposal_id) VALUES (?, NULL)"
        " ON CONFLICT (memory_id) DO UPDATE SET proposal_id = NULL",
        (memory_id,),
    )
