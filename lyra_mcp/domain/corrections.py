"""A review: somebody said what a pair's label really is."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lyra_mcp.domain.edges import Effective, effective
from lyra_mcp.domain.evidence import Prediction
from schema.vocabulary import Label, SelectedBy, SourceType


@dataclass(frozen=True, slots=True)
class Review:
    seq: int
    review_id: str
    edge_id: str
    claim_id: str
    pair_digest: str
    premise: str
    hypothesis: str
    source_url: str
    domain: str | None
    page_id: str | None
    prediction: Prediction
    previous_label: Label
    correct_label: Label
    is_correction: bool
    reason: str | None
    source_type: SourceType
    selected_by: SelectedBy
    selection_probability: float | None
    #: Of the edge; see `lyra_mcp.domain.reviews`.
    audit_draw: float
    created_at: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A correction of another pair, and how near it is."""

    review_id: str
    label: Label
    #: Cosine similarity in [-1, 1].
    similarity: float
    created_at: str
    premise: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What counts of an edge now, and the review of another edge it follows, if it does."""

    effective: Effective
    memory_review_id: str | None


def settle(edge_id: str, prediction: Prediction, reviews: Iterable[Review]) -> Settled:
    """Fold the standing reviews of an edge's pair, oldest first, over what the model said of the edge.

    A review of another edge with the same texts counts like one of this edge: the last word on a pair holds for all.
    """
    now, memory_review_id = Effective(prediction.label, prediction.confidence, "model"), None
    for review in reviews:
        after = effective(now, [review.correct_label])
        if after == now:
            continue
        is_own = review.edge_id == edge_id
        now = after if is_own else replace(after, label_source="memory")
        memory_review_id = None if is_own else review.review_id
    return Settled(now, memory_review_id)
