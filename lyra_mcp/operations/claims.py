"""Claims and their evidence: store, list, reject, restore."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lyra_mcp.domain import claims as domain_claims
from lyra_mcp.domain.claims import Score
from lyra_mcp.domain.corrections import settle
from lyra_mcp.domain.domain_rules import Pattern, Rule, domain_of, is_blocked
from lyra_mcp.domain.edges import pair_digest, text_digest
from lyra_mcp.domain.evidence import Claim, Edge, Fragment, NewEdge
from lyra_mcp.errors import Conflict, Invalid, NotFound
from lyra_mcp.operations import consent
from lyra_mcp.operations.judging import JudgedPair, judge
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import claims, corrections, domain_rules, edges, fragments
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import ClaimStatus, EdgeKind, SourceType
from schema.wire import Pair


@dataclass(frozen=True, slots=True)
class NewFragment:
    text: str
    source_url: str | None
    page_id: str | None
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class ScoredClaim:
    claim: Claim
    score: Score
    edges: list[Edge]
    blocked_edge_ids: frozenset[str]
    reviewed_edge_ids: frozenset[str]
    #: What could not be asked while it was stored, and why; empty when all was.
    degraded_reason: str = ""


async def add_evidence(
    services: Services, *, claim: str | None, claim_id: str | None, new_fragments: Sequence[NewFragment]
) -> ScoredClaim:
    """Judge fragments against a claim and store all of it together, or nothing.

    The same claim text is the same claim, and the same fragment from the same source counts once.
    """
    known, text = await _known_claim(services, claim=claim, claim_id=claim_id)
    judged, degraded_reason = await _judge_new(services, text, new_fragments)
    async with services.database.transaction() as tx:
        await consent.require(tx, "store")
        known = known or await claims.find_claim_by_text(tx, text_digest(text))
        if known is None:
            known_id = services.new_id("claim")
            await claims.insert_claim(
                tx, claim_id=known_id, text=text, text_digest=text_digest(text), created_at=services.now()
            )
        else:
            known_id = known.claim_id
        stored = [
            await _store(tx, services, claim_id=known_id, claim_text=text, new=new, judged=judged.get(new.text))
            for new in new_fragments
        ]
        scored = await _scored(tx, known_id)
    wanted = {edge_id: number for number, edge_id in enumerate(dict.fromkeys(stored))}
    shown = sorted((edge for edge in scored.edges if edge.edge_id in wanted), key=lambda edge: wanted[edge.edge_id])
    return replace(scored, edges=shown, degraded_reason=degraded_reason)


async def _known_claim(services: Services, *, claim: str | None, claim_id: str | None) -> tuple[Claim | None, str]:
    if (claim is None) == (claim_id is None):
        raise Invalid("add_evidence needs either a claim or a claim_id; give a sentence, or an id from get_claims()")
    if claim_id is None:
        assert claim is not None
        return None, claim
    async with services.database.transaction() as tx:
        known = await claims.find_claim(tx, claim_id)
    if known is None:
        raise NotFound(f"no claim {claim_id!r}; get_claims() lists claims, or give claim= to store a new one")
    return known, known.text


async def _judge_new(
    services: Services, claim_text: str, new_fragments: Sequence[NewFragment]
) -> tuple[dict[str, JudgedPair], str]:
    texts = list(dict.fromkeys(new.text for new in new_fragments if new.kind == "nli"))
    if not texts:
        return {}, ""
    judged = await judge(services, [Pair(premise=text, hypothesis=claim_text) for text in texts])
    return dict(zip(texts, judged.pairs, strict=True)), judged.degraded_reason


async def _store(
    tx: Transaction,
    services: Services,
    *,
    claim_id: str,
    claim_text: str,
    new: NewFragment,
    judged: JudgedPair | None,
) -> str:
    """Store one fragment and its edge where they are new; returns the edge's id."""
    at = services.now()
    source_url = new.source_url or ""
    fragment = await fragments.find_fragment(tx, text_digest=text_digest(new.text), source_url=source_url)
    if fragment is None:
        fragment = Fragment(
            services.new_id("frag"),
            new.text,
            text_digest(new.text),
            source_url,
            domain_of(source_url) if source_url else None,
            new.page_id,
        )
        await fragments.insert_fragment(tx, fragment, created_at=at)
    known = await edges.find_edge_between(tx, claim_id, fragment.fragment_id, new.kind)
    if known is not None:
        return known.edge_id
    edge = NewEdge(
        edge_id=services.new_id("edge"),
        claim_id=claim_id,
        fragment_id=fragment.fragment_id,
        kind=new.kind,
        pair_digest=pair_digest(fragment.text, claim_text),
        audit_draw=services.chance.random(),
    )
    if judged is not None:
        edge = await _with_label(tx, edge, judged)
    await edges.insert_edge(tx, edge, created_at=at)
    return edge.edge_id


async def _with_label(tx: Transaction, edge: NewEdge, judged: JudgedPair) -> NewEdge:
    """The reviews are read here once more: one may have come, or gone, while the model was thinking."""
    settled = settle(edge.edge_id, judged.prediction, await corrections.list_reviews_of_pair(tx, edge.pair_digest))
    return replace(
        edge,
        prediction=judged.prediction,
        label=settled.effective.label,
        confidence=settled.effective.confidence,
        label_source=settled.effective.label_source,
        memory_review_id=settled.memory_review_id,
        representation=judged.representation,
    )


async def open_claim(services: Services, claim_id: str) -> ScoredClaim:
    async with services.database.transaction() as tx:
        if await claims.find_claim(tx, claim_id) is None:
            raise NotFound(f"no claim {claim_id!r}; get_claims() lists claims")
        return await _scored(tx, claim_id)


async def list_claims(
    services: Services, *, query: str | None, include_rejected: bool, before_seq: int | None, limit: int
) -> list[ScoredClaim]:
    """Newest first, one more than `limit` when there are more."""
    async with services.database.transaction() as tx:
        found = await claims.list_claims(
            tx,
            words=(query or "").split(),
            include_rejected=include_rejected,
            before_seq=before_seq,
            limit=limit + 1,
        )
        return [await _scored(tx, claim.claim_id) for claim in found]


async def set_status(
    services: Services,
    tx: Transaction,
    claim_id: str,
    status: ClaimStatus,
    *,
    reason: str | None,
    source_type: SourceType,
) -> Score:
    """Reject or restore a claim, inside the caller's transaction."""
    claim = await claims.find_claim(tx, claim_id)
    if claim is None:
        raise NotFound(f"no claim {claim_id!r}; get_claims(include_rejected=true) lists claims")
    if claim.status == status:
        raise Conflict(f"claim {claim_id!r} is {status} already; get_claims(claim_id=...) shows it")
    await claims.update_status(tx, claim_id, status, reason=reason, source_type=source_type, created_at=services.now())
    return (await _scored(tx, claim_id)).score


async def score_of(tx: Transaction, claim_id: str) -> Score:
    return (await _scored(tx, claim_id)).score


async def _scored(tx: Transaction, claim_id: str) -> ScoredClaim:
    """A claim as it stands now: blocked domains and a rejected claim's edges do not count."""
    claim = await claims.find_claim(tx, claim_id)
    assert claim is not None, "the caller has looked it up in this transaction"
    rules = [
        Rule(
            rule.rule_id,
            Pattern(rule.pattern.removeprefix("*."), rule.pattern.startswith("*.")),
            rule.decision,
            rule.seq,
        )
        for rule in await domain_rules.list_active_rules(tx)
    ]
    found = await edges.list_edges_of_claim(tx, claim_id)
    blocked = frozenset(edge.edge_id for edge in found if is_blocked(edge.domain, rules))
    counted = [
        (edge.label, edge.confidence)
        for edge in found
        if claim.status == "adopted"
        and edge.edge_id not in blocked
        and edge.label is not None
        and edge.confidence is not None
    ]
    reviewed = await corrections.list_reviewed_edges(tx, claim_id)
    return ScoredClaim(claim, domain_claims.score(counted), found, blocked, reviewed)
