"""The review queue with a real database: what comes up, what does not, and what a review remembers of it."""

from collections import Counter

import pytest

from lyra_mcp.errors import NotFound
from lyra_mcp.operations import feedback
from lyra_mcp.operations.reviews import next_reviews


async def offered(lyra, *, strategy="mixed", limit=10, claim_id=None):
    found, _ = await next_reviews(lyra.services, strategy=strategy, limit=limit, claim_id=claim_id)
    return found


async def unreviewed(lyra, claim_id=None):
    _, total = await next_reviews(lyra.services, strategy="uncertain", limit=1, claim_id=claim_id)
    return total


async def test_uncertain_edges_come_first_and_labels_take_turns(lyra):
    texts = [f"{word} margin={margin} w{margin}" for word in ("so", "not", "maybe") for margin in (0.5, 1, 2, 3, 4, 5)]
    await lyra.add("A claim.", *texts)
    everything = await offered(lyra, strategy="uncertain", limit=50)

    first = everything[:6]

    assert Counter(one.edge.label for one in first) == {"supports": 2, "refutes": 2, "neutral": 2}
    assert all(one.offer.selection_probability is None for one in first)
    confidences = [one.edge.confidence for one in everything if one.edge.label == "supports"]
    assert confidences == sorted(confidences)
    assert "wavers between" in first[0].offer.why


async def test_every_fifth_of_a_mixed_queue_is_a_random_audit_edge_with_its_probability(lyra):
    await lyra.add("A claim.", *[f"text number {number}" for number in range(100)])

    chosen = await offered(lyra, limit=20)

    by_route = Counter(one.offer.selected_by for one in chosen)
    assert by_route == {"random": 4, "uncertain": 16}
    probabilities = {one.offer.selection_probability for one in chosen if one.offer.selected_by == "random"}
    assert probabilities == {lyra.services.settings.audit_share}
    draws = [one.edge.audit_draw for one in chosen if one.offer.selected_by == "random"]
    assert max(draws) <= lyra.services.settings.audit_share


async def test_what_was_reviewed_does_not_come_up_again_nor_do_the_same_texts(lyra):
    edge = await lyra.add_edge("A claim.", "it is so", "https://one.example.com")
    await lyra.add_edge("A claim.", "it is so", "https://two.example.com")
    other = await lyra.add_edge("A claim.", "it is not so")
    assert (len(await offered(lyra)), await unreviewed(lyra)) == (2, 3)

    review = await lyra.correct(edge.edge_id, "supports")

    assert [one.edge.edge_id for one in await offered(lyra)] == [other.edge_id]
    await lyra.retract(review.review_id)
    assert len(await offered(lyra)) == 2


async def test_the_whole_queue_can_be_worked_off_with_nothing_twice(lyra):
    await lyra.add("A claim.", *[f"text number {number}" for number in range(12)])
    seen = []
    while chosen := await offered(lyra, limit=5):
        seen += [one.edge.edge_id for one in chosen]
        for one in chosen:
            await lyra.correct(one.edge.edge_id, one.edge.label)

    assert len(seen) == len(set(seen)) == 12


async def test_a_review_remembers_how_its_edge_came_up(lyra):
    await lyra.add("A claim.", *[f"text number {number}" for number in range(30)])
    chosen = {one.offer.selected_by: one for one in await offered(lyra, limit=10)}
    by_choice = await lyra.add_edge("Another claim.", "my own pick")
    for edge_id in (chosen["random"].edge.edge_id, chosen["uncertain"].edge.edge_id, by_choice.edge_id):
        await lyra.correct(edge_id, "neutral")

    rows = await lyra.sql("SELECT selected_by, selection_probability, audit_draw FROM nli_corrections ORDER BY seq")

    assert [tuple(row.values()) for row in rows] == [
        ("random", lyra.services.settings.audit_share, chosen["random"].edge.audit_draw),
        ("uncertain", None, chosen["uncertain"].edge.audit_draw),
        ("choice", None, by_choice.audit_draw),
    ]
    assert await lyra.count("review_offers") == 10


async def test_citations_and_rejected_claims_are_not_offered(lyra):
    await lyra.add("Cited.", "some words", kind="cites")
    rejected = await lyra.add("Rejected.", "some words")
    await lyra.do(
        feedback.reject_claim(lyra.services, claim_id=rejected.claim.claim_id, reason="a joke", source_type="human")
    )

    assert (await offered(lyra), await unreviewed(lyra)) == ([], 0)


async def test_the_queue_of_one_claim_holds_only_its_edges(lyra):
    await lyra.add("One.", "some words")
    other = await lyra.add("Other.", "some words", "more words")

    chosen = await offered(lyra, claim_id=other.claim.claim_id)

    assert {one.edge.claim_id for one in chosen} == {other.claim.claim_id}
    assert await unreviewed(lyra, other.claim.claim_id) == 2
    with pytest.raises(NotFound, match=r"no claim 'claim_x'; get_claims\(\) lists claims, or leave claim_id out"):
        await offered(lyra, claim_id="claim_x")


async def test_confidences_of_the_queue_are_compared_at_todays_temperature(lyra, worker):
    worker.temperature = 4.0
    await lyra.add("A claim.", *[f"text {number} margin=2" for number in range(10)])

    first = (await offered(lyra, strategy="uncertain"))[0]

    # e^(2/4) / (e^(2/4) + 2) = .45, whatever the .79 before any temperature.
    assert "supports (45%)" in first.offer.why
