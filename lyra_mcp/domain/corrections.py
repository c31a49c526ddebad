"""A review: somebody said what a pair's label really is."""

from dataclasses import dataclass

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
