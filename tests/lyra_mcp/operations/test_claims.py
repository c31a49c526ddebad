"""Storing claims with their evidence, and what a claim's score counts."""

import math

import pytest

from lyra_mcp.domain.evidence import Prediction
from lyra_mcp.errors import Conflict, Invalid, NotFound, WorkerGone
from lyra_mcp.operations import claims, feedback

WIN = math.exp(2.0) / (math.exp(2.0) + 2.0)
REST = 1.0 / (math.exp(2.0) + 2.0)


async def test_evidence_is_stored_with_what_the_model_said(lyra):
    scored = await lyra.add("The bridge is open.", "cars cross it", "it is not open", url="https://a.example.com/x")

    supports, refutes = scored.edges
    assert (supports.label, refutes.label) == ("supports", "refutes")
    assert refutes.confidence == pytest.approx(WIN)
    assert refutes.prediction == Prediction(
        label="refutes",
        confidence=pytest.approx(WIN),
        probabilities=pytest.approx((REST, WIN, REST)),
        base_model="keywords",
        fingerprint="first",
        adapter="",
        calibration_version=0,
        truncated=False,
    )
    assert (refutes.premise, refutes.hypothesis, refutes.domain) == (
        "it is not open",
        "The bridge is open.",
        "a.example.com",
    )
    assert scored.score.support_ratio == pytest.approx(0.5)


async def test_the_same_claim_in_other_spacing_is_the_same_claim(lyra):
    first = await lyra.add("The bridge is open.", "cars cross it")
    second = await lyra.add("  The bridge\nis open. ", "buses cross it")

    assert second.claim == first.claim
    assert await lyra.score(first.claim.claim_id) == (round((1 + 2 * WIN) / (2 + 2 * WIN), 3), 2)


async def test_the_same_fragment_from_the_same_source_counts_once(lyra):
    first = await lyra.add("A claim.", "some words", "some words", url="https://example.com")
    again = await lyra.add("A claim.", "some  words", url="https://example.com")
    elsewhere = await lyra.add("A claim.", "some words", url="https://example.org")

    assert len(first.edges) == 1
    assert again.edges[0].edge_id == first.edges[0].edge_id
    assert elsewhere.edges[0].edge_id != first.edges[0].edge_id
    assert await lyra.count("fragments") == 2


async def test_a_citation_is_linked_and_not_judged(lyra, worker):
    scored = await lyra.add("A claim.", "some words", kind="cites")

    [edge] = scored.edges
    assert (edge.kind, edge.label, edge.confidence, edge.prediction) == ("cites", None, None, None)
    assert worker.asked == []
    assert scored.score.support_ratio == 0.5


async def test_the_same_fragment_can_be_cited_and_judged(lyra):
    cited = await lyra.add("A claim.", "some words", kind="cites")
    judged = await lyra.add("A claim.", "some words")

    assert cited.edges[0].fragment_id == judged.edges[0].fragment_id
    assert await lyra.count("edges") == 2


async def test_evidence_is_added_to_a_claim_by_its_id(lyra):
    known = await lyra.add("A claim.", "some words")

    scored = await lyra.add(None, "it is not so", claim_id=known.claim.claim_id)

    assert scored.claim == known.claim
    assert scored.edges[0].hypothesis == "A claim."


async def test_an_unknown_claim_is_an_error_the_agent_can_act_on(lyra):
    with pytest.raises(NotFound, match=r"no claim 'claim_x'; get_claims\(\) lists claims"):
        await lyra.add(None, "some words", claim_id="claim_x")
    with pytest.raises(NotFound, match=r"get_claims\(\)"):
        await claims.open_claim(lyra.services, "claim_x")


@pytest.mark.parametrize(("claim", "claim_id"), [(None, None), ("A claim.", "claim_0")])
async def test_a_claim_and_its_id_together_or_neither_are_refused(lyra, claim, claim_id):
    with pytest.raises(Invalid, match=r"either a claim or a claim_id"):
        await lyra.add(claim, "some words", claim_id=claim_id)


async def test_nothing_is_stored_when_the_worker_is_down(lyra, worker):
    worker.problem = WorkerGone("it died")

    with pytest.raises(WorkerGone):
        await lyra.add("A claim.", "some words")

    assert [await lyra.count(table) for table in ("claims", "fragments", "edges")] == [0, 0, 0]


async def test_evidence_that_people_have_reviewed_is_stored_without_the_worker(lyra, worker):
    edge = await lyra.add_edge("A claim.", "some words")
    review = await lyra.correct(edge.edge_id, "refutes")
    worker.problem = WorkerGone("it died")

    scored = await lyra.add("A claim.", "some words", url="https://example.com")

    assert scored.degraded_reason == "answered from reviews alone; E_WORKER: it died"
    [stored] = scored.edges
    assert (stored.label, stored.confidence, stored.label_source) == ("refutes", 1.0, "memory")
    assert (stored.memory_review_id, stored.prediction) == (review.review_id, edge.prediction)


async def test_a_claim_rejected_does_not_count_until_it_is_restored(lyra):
    claim_id = (await lyra.add("A claim.", "some words")).claim.claim_id
    services = lyra.services
    reject = feedback.reject_claim(services, claim_id=claim_id, reason="a joke", source_type="human")
    restore = feedback.restore_claim(services, claim_id=claim_id, reason=None, source_type="agent")

    rejected = await lyra.do(reject)
    assert (rejected.score.support_ratio, await lyra.score(claim_id)) == (0.5, (0.5, 0))
    with pytest.raises(Conflict, match="is rejected already"):
        await lyra.do(reject)
    listed = [await _listed(services, include_rejected=shown) for shown in (False, True)]
    assert listed == [[], ["A claim."]]

    restored = await lyra.do(restore)
    assert restored.score.support_ratio > 0.6
    events = await lyra.sql("SELECT status, reason, source_type FROM claim_events ORDER BY seq")
    assert events == [
        {"status": "rejected", "reason": "a joke", "source_type": "human"},
        {"status": "adopted", "reason": None, "source_type": "agent"},
    ]


async def test_rejecting_an_unknown_claim_names_where_claims_are_listed(lyra):
    action = feedback.reject_claim(lyra.services, claim_id="claim_x", reason="why", source_type="human")

    with pytest.raises(NotFound, match=r"get_claims\(include_rejected=true\)"):
        await lyra.do(action)


async def test_claims_are_listed_newest_first_by_words_and_page(lyra):
    for text in ("The red bridge.", "The blue bridge.", "A red boat.", "50% of it."):
        await lyra.add(text, "some words")

    assert await _listed(lyra.services) == ["50% of it.", "A red boat.", "The blue bridge.", "The red bridge."]
    assert await _listed(lyra.services, query="RED bridge") == ["The red bridge."]
    assert await _listed(lyra.services, query="%") == ["50% of it."]
    assert await _listed(lyra.services, limit=1) == ["50% of it.", "A red boat."]
    assert await _listed(lyra.services, before_seq=3) == ["The blue bridge.", "The red bridge."]


async def _listed(services, *, query=None, include_rejected=False, before_seq=None, limit=20):
    found = await claims.list_claims(
        services, query=query, include_rejected=include_rejected, before_seq=before_seq, limit=limit
    )
    return [scored.claim.text for scored in found]
