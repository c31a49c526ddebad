"""The tool `add_evidence`."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from lyra_mcp.domain.evidence import Edge
from lyra_mcp.operations import claims
from lyra_mcp.operations.claims import NewFragment, ScoredClaim
from lyra_mcp.tools._shared import Answer, Call, PerLabel, Result, Score, per_label, services
from schema.vocabulary import EdgeKind, Label
from schema.wire import PAIRS_MAX, Text

TITLE = "Add evidence"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class NewEvidence(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Text
    source_url: Annotated[str | None, Field(max_length=2_000)] = None
    page_id: Annotated[str | None, Field(max_length=200, description="your id of the page it stands on")] = None
    kind: Annotated[EdgeKind, Field(description="cites: link the source without judging it")] = "nli"


class StoredEdge(Result):
    edge_id: str
    fragment_id: str
    kind: EdgeKind
    label: Label | None
    confidence: float | None
    probabilities: PerLabel | None = Field(description="the model's, before calibration")


class AddEvidenceAnswer(Answer):
    claim_id: str
    edges: list[StoredEdge]
    score: Score
    degraded: bool = False
    degraded_reason: str = ""


async def add_evidence(
    call: Call,
    fragments: Annotated[list[NewEvidence], Field(min_length=1, max_length=PAIRS_MAX)],
    claim: Annotated[Text | None, Field(description="one sentence; or give claim_id")] = None,
    claim_id: Annotated[str | None, Field(description="from get_claims")] = None,
) -> AddEvidenceAnswer:
    """Store a claim with fragments of evidence, judge each fragment, and return the edges and the claim's score.

    The same claim text is the same claim; a fragment repeated from the same source counts once. Keep the edge ids:
    feedback(action="edge_correct") takes them. Give source_url, so that a domain can be blocked later.
    Example: add_evidence(claim="The bridge is open.", fragments=[{"text": "The bridge closed in 1998.",
    "source_url": "https://city.example.org/bridge"}])
    """
    scored = await claims.add_evidence(
        services(call),
        claim=claim,
        claim_id=claim_id,
        new_fragments=[NewFragment(new.text, new.source_url, new.page_id, new.kind) for new in fragments],
    )
    return AddEvidenceAnswer(
        claim_id=scored.claim.claim_id,
        edges=[_edge(edge) for edge in scored.edges],
        score=Score.model_validate(scored.score),
        degraded=bool(scored.degraded_reason),
        degraded_reason=scored.degraded_reason,
        next_step=_next_step(scored),
    )


def _edge(edge: Edge) -> StoredEdge:
    return StoredEdge(
        edge_id=edge.edge_id,
        fragment_id=edge.fragment_id,
        kind=edge.kind,
        label=edge.label,
        confidence=edge.confidence,
        probabilities=edge.prediction and per_label(edge.prediction.probabilities),
    )


def _next_step(scored: ScoredClaim) -> str:
    if scored.claim.status == "rejected":
        return (
            "This claim is rejected and its evidence does not count; feedback(action='claim_restore') brings it back."
        )
    if any(edge.prediction and edge.prediction.truncated for edge in scored.edges):
        return "Some fragments were cut at the model's limit: add the passages that matter instead."
    if scored.blocked_edge_ids:
        return "Some evidence is from blocked domains and does not count; get_claims(claim_id=...) marks it."
    return "Where a person disagrees with a label: feedback(action='edge_correct', edge_id=..., correct_label=...)."
