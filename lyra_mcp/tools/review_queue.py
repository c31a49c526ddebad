"""The tool `review_queue`."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.reviews import Strategy
from lyra_mcp.operations.reviews import next_reviews
from lyra_mcp.tools._shared import Answer, Call, Result, services
from schema.vocabulary import Label

TITLE = "Next edges to review"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(
    # It remembers what it offered, so that the metrics know how each review came about.
    read_only_hint=False,
    destructive_hint=False,
    idempotent_hint=False,
    open_world_hint=False,
)


class Item(Result):
    edge_id: str
    premise: str
    hypothesis: str
    label: Label
    confidence: float
    why: str
    selection_probability: float | None = Field(description="of a random audit edge; null for an uncertain one")


class ReviewQueueAnswer(Answer):
    items: list[Item]
    unreviewed_total: int


async def review_queue(
    call: Call,
    strategy: Annotated[
        Strategy, Field(description="uncertain: teaches most; random: measures honestly; mixed: both")
    ] = "mixed",
    limit: Annotated[int, Field(ge=1, le=50)] = 10,
    claim_id: Annotated[str | None, Field(description="only edges of this claim")] = None,
) -> ReviewQueueAnswer:
    """The next edges worth a person's look: mostly uncertain ones, balanced over labels and claims, some at random.

    Show each item to the person and hand the answer back with feedback(action="edge_correct", edge_id=...,
    correct_label=...), also when the label is right. A reviewed edge does not come up again.
    Example: review_queue(limit=5)
    """
    offered, total = await next_reviews(services(call), strategy=strategy, limit=limit, claim_id=claim_id)
    items = []
    for one in offered:
        assert one.edge.label is not None
        assert one.edge.confidence is not None
        items.append(
            Item(
                edge_id=one.edge.edge_id,
                premise=one.edge.premise,
                hypothesis=one.edge.hypothesis,
                label=one.edge.label,
                confidence=one.edge.confidence,
                why=one.offer.why,
                selection_probability=one.offer.selection_probability,
            )
        )
    return ReviewQueueAnswer(
        items=items,
        unreviewed_total=total,
        next_step="Ask the person about each item; feedback(action='edge_correct', ...) also where the label was right."
        if items
        else "Nothing is left to review; add_evidence() brings new edges.",
    )
