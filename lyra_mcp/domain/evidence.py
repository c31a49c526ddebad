"""The nouns of evidence: a claim, a fragment of text, the edge between them, and what the model said of it."""

from dataclasses import dataclass

from lyra_mcp.domain.edges import Triple
from schema.vocabulary import ClaimStatus, EdgeKind, Label, LabelSource


@dataclass(frozen=True, slots=True)
class Claim:
    seq: int
    claim_id: str
    text: str
    status: ClaimStatus
    created_at: str


@dataclass(frozen=True, slots=True)
class Fragment:
    fragment_id: str
    text: str
    text_digest: str
    source_url: str
    domain: str | None
    page_id: str | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said, as it is kept forever."""

    label: Label
    #: Calibrated, as it was shown.
    confidence: float
    #: Before any temperature.
    probabilities: Triple
    base_model: str
    fingerprint: str
    #: Empty: the base alone.
    adapter: str
    calibration_version: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Edge:
    seq: int
    edge_id: str
    claim_id: str
    fragment_id: str
    kind: EdgeKind
    pair_digest: str
    premise: str
    hypothesis: str
    source_url: str
    domain: str | None
    page_id: str | None
    prediction: Prediction | None
    label: Label | None
    confidence: float | None
    label_source: LabelSource | None
    memory_review_id: str | None
    audit_draw: float
    representation: bytes | None


@dataclass(frozen=True, slots=True)
class NewEdge:
    """An edge before it is stored; its texts stand with its claim and fragment. A citation has no label."""

    edge_id: str
    claim_id: str
    fragment_id: str
    kind: EdgeKind
    pair_digest: str
    audit_draw: float
    prediction: Prediction | None = None
    label: Label | None = None
    confidence: float | None = None
    label_source: LabelSource | None = None
    memory_review_id: str | None = None
    #: (H,) float32, little endian.
    representation: bytes | None = None
