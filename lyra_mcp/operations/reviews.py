"""The review queue: which edges are worth a person's look now."""

from dataclasses import dataclass

from lyra_mcp.domain.edges import logits_of, softmax
from lyra_mcp.domain.evidence import Edge
from lyra_mcp.domain.reviews import Candidate, Offer, Strategy, choose
from lyra_mcp.errors import NotFound
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import calibrations, claims, corrections, edges
from lyra_mcp.storage.database import Transaction

#: Newest unreviewed edges that are looked through; older ones come up as these are reviewed.
CANDIDATES_MAX = 5_000


@dataclass(frozen=True, slots=True)
class OfferedEdge:
    edge: Edge
    offer: Offer


async def next_reviews(
    services: Services, *, strategy: Strategy, limit: int, claim_id: str | None
) -> tuple[list[OfferedEdge], int]:
    """The next edges to review, and how many are unreviewed in all; remembers how each came up."""
    async with services.database.transaction() as tx:
        if claim_id is not None and await claims.find_claim(tx, claim_id) is None:
            raise NotFound(f"no claim {claim_id!r}; get_claims() lists claims, or leave claim_id out")
        found = await edges.list_unreviewed(tx, claim_id=claim_id, limit=CANDIDATES_MAX)
        by_id = {edge.edge_id: edge for edge in found}
        offers = choose(
            await _candidates(tx, found),
            strategy=strategy,
            limit=limit,
            audit_share=services.settings.audit_share,
            audit_threshold=await corrections.largest_audited_draw(tx),
            offered_before=await corrections.count_offers(tx),
        )
        for offer in offers:
            await corrections.insert_offer(
                tx,
                offer.edge_id,
                selected_by=offer.selected_by,
                selection_probability=offer.selection_probability,
                created_at=services.now(),
            )
        total = await edges.count_unreviewed(tx, claim_id=claim_id)
    return [OfferedEdge(by_id[offer.edge_id], offer) for offer in offers], total


async def _candidates(tx: Transaction, found: list[Edge]) -> list[Candidate]:
    """Confidences are compared at today's calibration, not at the one of the day they were judged."""
    temperatures: dict[tuple[str, str], float] = {}
    candidates = []
    for edge in found:
        said = edge.prediction
        assert said is not None
        model = (said.fingerprint, said.adapter)
        if model not in temperatures:
            calibration = await calibrations.find_active_calibration(tx, *model)
            served = await calibrations.find_served_model(tx, *model)
            assert served is not None, "every judgement records its model"
            temperatures[model] = calibration.temperature if calibration else served.temperature
        probabilities = softmax(logits_of(said.probabilities), temperatures[model])
        candidates.append(Candidate(edge.edge_id, edge.claim_id, edge.pair_digest, probabilities, edge.audit_draw))
    return candidates
