"""The tool `get_claims`."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.operations import claims
from lyra_mcp.operations.claims import ScoredClaim
from lyra_mcp.tools._cursors import read_cursor, write_cursor
from lyra_mcp.tools._shared import Answer, Call, Result, Score, services
from schema.vocabulary import ClaimStatus, EdgeKind, Label

TITLE = "Get claims"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
#: Evidence is shown as a preview; the resource claim://{id} has the whole texts.
PREVIEW_CHARS = 400


class EdgeView(Result):
    edge_id: str
    kind: EdgeKind
    text: str = Field(description="preview; the whole text is at claim://{claim_id}")
    source_url: str | None
    label: Label | None
    confidence: float | None
    predicted_label: Label | None
    reviewed: bool
    blocked: bool


class ClaimView(Result):
    claim_id: str
    text: str
    status: ClaimStatus
    score: Score
    edges: list[EdgeView] | None = None


class ClaimsAnswer(Answer):
    claims: list[ClaimView]
    next_cursor: str | None = None


async def get_claims(
    call: Call,
    claim_id: Annotated[str | None, Field(description="open this claim with its edges")] = None,
    query: Annotated[str | None, Field(max_length=1_000, description="words that all occur in the claim")] = None,
    include_rejected: bool = False,
    limit: Annotated[int, Field(ge=1, le=50)] = 20,
    cursor: Annotated[str | None, Field(description="next_cursor of the page before")] = None,
) -> ClaimsAnswer:
    """List or search claims with their scores, newest first; with claim_id open one claim with all its edges.

    The score is a support ratio over the evidence that counts (rejected claims and blocked domains do not);
    it is not a probability of truth. Example: get_claims(query="bridge")
    """
    if claim_id is not None:
        return ClaimsAnswer(claims=[_opened(await claims.open_claim(services(call), claim_id))])
    found = await claims.list_claims(
        services(call),
        query=query,
        include_rejected=include_rejected,
        before_seq=read_cursor(cursor),
        limit=limit,
    )
    page = found[:limit]
    return ClaimsAnswer(
        claims=[_listed(scored) for scored in page],
        next_cursor=write_cursor(page[-1].claim.seq) if len(found) > limit else None,
        next_step="" if page else "No claim matches; add_evidence(claim=..., fragments=[...]) stores one.",
    )


def _listed(scored: ScoredClaim) -> ClaimView:
    return ClaimView(
        claim_id=scored.claim.claim_id,
        text=scored.claim.text,
        status=scored.claim.status,
        score=Score.model_validate(scored.score),
    )


def _opened(scored: ScoredClaim) -> ClaimView:
    edges = [
        EdgeView(
            edge_id=edge.edge_id,
            kind=edge.kind,
            text=edge.premise if len(edge.premise) <= PREVIEW_CHARS else f"{edge.premise[:PREVIEW_CHARS]}…",
            source_url=edge.source_url or None,
            label=edge.label,
            confidence=edge.confidence,
            predicted_label=edge.prediction and edge.prediction.label,
            reviewed=edge.edge_id in scored.reviewed_edge_ids,
            blocked=edge.edge_id in scored.blocked_edge_ids,
        )
        for edge in scored.edges
    ]
    return _listed(scored).model_copy(update={"edges": edges})
