"""What people say of what we said: labels of edges, claims, domains, conversations. One action, one transaction."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from lyra_mcp.domain.claims import Score
from lyra_mcp.domain.corrections import Review, settle
from lyra_mcp.domain.domain_rules import parse_pattern
from lyra_mcp.domain.edges import is_correction
from lyra_mcp.domain.evidence import Edge
from lyra_mcp.errors import Conflict, Invalid, NotFound
from lyra_mcp.operations import claims
from lyra_mcp.operations.idempotency import find_kept, keep
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import corrections, domain_rules, edges
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import DomainDecision, Label, SourceType


@dataclass(frozen=True, slots=True)
class Feedback:
    """What an action did; the fields of other actions stay None."""

    review_id: str | None = None
    edge_id: str | None = None
    claim_id: str | None = None
    previous_label: Label | None = None
    new_label: Label | None = None
    is_correction: bool | None = None
    score: Score | None = None
    rule_id: str | None = None
    domain_pattern: str | None = None
    cleared_rules: int | None = None
    conversation_id: str | None = None
    rating: int | None = None
    previous_rating: int | None = None
    reviews_total: int = 0
    corrections_total: int = 0


Action = Callable[[Transaction], Awaitable[dict[str, Any]]]


async def give_feedback(
    services: Services, action: Action, *, request: dict[str, Any], idempotency_key: str | None
) -> Feedback:
    """Run one action in one transaction, or answer a repeated key with its first result.

    `request` is what was asked, so that a key used for something else is noticed.
    """
    async with services.database.transaction() as tx:
        if idempotency_key and (kept := await find_kept(tx, "feedback", idempotency_key, request)):
            score = kept.pop("score")
            return Feedback(**kept, score=score and Score(**score))
        fields = await action(tx)
        reviews_total, corrections_total = await corrections.count_reviews(tx)
        feedback = Feedback(**fields, reviews_total=reviews_total, corrections_total=corrections_total)
        if idempotency_key:
            await keep(services, tx, "feedback", idempotency_key, request, asdict(feedback))
        return feedback


def correct_edge(
    services: Services, *, edge_id: str, correct_label: Label, reason: str | None, source_type: SourceType
) -> Action:
    """Record what an edge's label really is; a label that was right already is a review too."""

    async def act(tx: Transaction) -> dict[str, Any]:
        edge = await _nli_edge(tx, edge_id)
        review = await _review(services, tx, edge, correct_label=correct_label, reason=reason, source_type=source_type)
        await corrections.insert_review(tx, review)
        if review.is_correction and edge.representation is not None:
            await corrections.insert_vector(
                tx,
                review.review_id,
                fingerprint=review.prediction.fingerprint,
                adapter=review.prediction.adapter,
                vector=edge.representation,
            )
        await _settle(tx, edge.pair_digest)
        return {
            "review_id": review.review_id,
            "edge_id": edge_id,
            "claim_id": edge.claim_id,
            "previous_label": edge.label,
            "new_label": correct_label,
            "is_correction": review.is_correction,
            "score": await claims.score_of(tx, edge.claim_id),
        }

    return act


def retract_review(
    services: Services, *, review_id: str | None, edge_id: str | None, reason: str | None, source_type: SourceType
) -> Action:
    """Take a review back: the edge returns to what the remaining reviews, or the model, say."""

    async def act(tx: Transaction) -> dict[str, Any]:
        review = await _review_to_retract(tx, review_id=review_id, edge_id=edge_id)
        await corrections.insert_retraction(
            tx, review.review_id, reason=reason, source_type=source_type, created_at=services.now()
        )
        edge = await edges.find_edge(tx, review.edge_id)
        await _settle(tx, review.pair_digest)
        if edge is None:
            return {"review_id": review.review_id}
        settled = await edges.find_edge(tx, review.edge_id)
        assert settled is not None
        return {
            "review_id": review.review_id,
            "edge_id": edge.edge_id,
            "claim_id": edge.claim_id,
            "previous_label": edge.label,
            "new_label": settled.label,
            "score": await claims.score_of(tx, edge.claim_id),
        }

    return act


def reject_claim(services: Services, *, claim_id: str, reason: str, source_type: SourceType) -> Action:
    async def act(tx: Transaction) -> dict[str, Any]:
        score = await claims.set_status(services, tx, claim_id, "rejected", reason=reason, source_type=source_type)
        return {"claim_id": claim_id, "score": score}

    return act


def restore_claim(services: Services, *, claim_id: str, reason: str | None, source_type: SourceType) -> Action:
    async def act(tx: Transaction) -> dict[str, Any]:
        score = await claims.set_status(services, tx, claim_id, "adopted", reason=reason, source_type=source_type)
        return {"claim_id": claim_id, "score": score}

    return act


def rule_domain(
    services: Services, decision: DomainDecision, *, domain_pattern: str, reason: str, source_type: SourceType
) -> Action:
    async def act(tx: Transaction) -> dict[str, Any]:
        pattern = str(parse_pattern(domain_pattern))
        rule_id = services.new_id("rule")
        await domain_rules.insert_rule(
            tx,
            rule_id=rule_id,
            pattern=pattern,
            decision=decision,
            reason=reason,
            source_type=source_type,
            created_at=services.now(),
        )
        return {"rule_id": rule_id, "domain_pattern": pattern}

    return act


def clear_domain(services: Services, *, domain_pattern: str, reason: str, source_type: SourceType) -> Action:
    async def act(tx: Transaction) -> dict[str, Any]:
        pattern = str(parse_pattern(domain_pattern))
        cleared = await domain_rules.clear_rules(
            tx, pattern, reason=reason, source_type=source_type, created_at=services.now()
        )
        return {"domain_pattern": pattern, "cleared_rules": cleared}

    return act


async def _nli_edge(tx: Transaction, edge_id: str) -> Edge:
    edge = await edges.find_edge(tx, edge_id)
    if edge is None:
        raise NotFound(f"no edge {edge_id!r}; review_queue() lists edges, get_claims(claim_id=...) those of a claim")
    if edge.prediction is None:
        raise Invalid(f"edge {edge_id!r} is a citation and has no label to correct; review_queue() lists NLI edges")
    return edge


async def _review(
    services: Services,
    tx: Transaction,
    edge: Edge,
    *,
    correct_label: Label,
    reason: str | None,
    source_type: SourceType,
) -> Review:
    assert edge.prediction is not None
    assert edge.label is not None
    selected_by, probability = await corrections.find_offer(tx, edge.edge_id) or ("choice", None)
    return Review(
        seq=0,
        review_id=services.new_id("rev"),
        edge_id=edge.edge_id,
        claim_id=edge.claim_id,
        pair_digest=edge.pair_digest,
        premise=edge.premise,
        hypothesis=edge.hypothesis,
        source_url=edge.source_url,
        domain=edge.domain,
        page_id=edge.page_id,
        prediction=edge.prediction,
        previous_label=edge.label,
        correct_label=correct_label,
        is_correction=is_correction(edge.prediction.label, correct_label),
        reason=reason,
        source_type=source_type,
        selected_by=selected_by,
        selection_probability=probability,
        audit_draw=edge.audit_draw,
        created_at=services.now(),
    )


async def _review_to_retract(tx: Transaction, *, review_id: str | None, edge_id: str | None) -> Review:
    if review_id is not None:
        review = await corrections.find_review(tx, review_id)
        if review is None:
            raise NotFound(f"no review {review_id!r}; feedback(action='edge_correct') returns review ids")
        if await corrections.is_retracted(tx, review_id):
            raise Conflict(f"review {review_id!r} is retracted already; nothing is left to do")
        return review
    assert edge_id is not None
    standing = await corrections.list_reviews_of_edge(tx, (await _nli_edge(tx, edge_id)).edge_id)
    if not standing:
        raise Conflict(f"edge {edge_id!r} has no review to retract; get_claims(claim_id=...) shows what is reviewed")
    return standing[-1]


async def _settle(tx: Transaction, pair_digest: str) -> None:
    """Bring the label of every edge with this pair of texts in line with the reviews that stand."""
    reviews = await corrections.list_reviews_of_pair(tx, pair_digest)
    for edge in await edges.list_edges_of_pair(tx, pair_digest):
        assert edge.prediction is not None
        await edges.update_label(tx, edge.edge_id, settle(edge.edge_id, edge.prediction, reviews))
