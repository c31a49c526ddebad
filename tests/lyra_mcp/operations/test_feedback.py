"""Corrections: what stays of the model's word, what follows a review, and what a fault leaves behind."""

import asyncio

import pytest

from lyra_mcp.errors import Conflict, Invalid, NotFound
from lyra_mcp.operations.claims import open_claim

PREDICTION_COLUMNS = (
    "predicted_label, predicted_confidence, predicted_probabilities, base_model, fingerprint, adapter,"
    " calibration_version, truncated"
)


async def test_the_example_of_the_design(lyra):
    """A neutral edge corrected to supports takes the claim from .500 to .667."""
    edge = await lyra.add_edge("A claim.", "maybe so")
    assert await lyra.score(edge.claim_id) == (0.5, 1)

    given = await lyra.correct(edge.edge_id, "supports")

    assert round(given.score.support_ratio, 3) == 0.667
    assert (given.previous_label, given.new_label, given.is_correction) == ("neutral", "supports", True)
    assert (given.reviews_total, given.corrections_total) == (1, 1)
    stored = await lyra.edge(edge.edge_id)
    assert (stored.label, stored.confidence, stored.label_source) == ("supports", 1.0, "review")
    assert stored.prediction == edge.prediction


async def test_a_review_that_agrees_is_kept_and_changes_nothing(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    before = await lyra.score(edge.claim_id)

    given = await lyra.correct(edge.edge_id, "supports")

    assert (given.is_correction, given.reviews_total, given.corrections_total) == (False, 1, 0)
    assert await lyra.edge(edge.edge_id) == edge
    assert await lyra.score(edge.claim_id) == before


async def test_a_second_review_snapshots_the_models_prediction_not_the_first_label(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    await lyra.correct(edge.edge_id, "refutes")

    second = await lyra.correct(edge.edge_id, "supports")

    assert (second.previous_label, second.is_correction) == ("refutes", False)
    snapshots = await lyra.sql(
        "SELECT predicted_label, previous_label, correct_label, is_correction FROM nli_corrections"
    )
    assert [tuple(row.values()) for row in snapshots] == [
        ("supports", "supports", "refutes", 1),
        ("supports", "refutes", "supports", 0),
    ]
    assert (await lyra.edge(edge.edge_id)).confidence == 1.0, "a person said so, after having said otherwise"


@pytest.mark.parametrize("column", PREDICTION_COLUMNS.split(", "))
async def test_a_prediction_cannot_be_overwritten(lyra, column):
    await lyra.add_edge("A claim.", "it is so")

    with pytest.raises(Exception, match="a prediction is immutable"):
        await lyra.sql(f"UPDATE edges SET {column} = {column}")


async def test_only_nli_edges_can_be_corrected(lyra):
    [citation] = (await lyra.add("A claim.", "some words", kind="cites")).edges

    with pytest.raises(Invalid, match=r"is a citation and has no label to correct; review_queue\(\)"):
        await lyra.correct(citation.edge_id, "supports")
    with pytest.raises(Invalid, match="is a citation"):
        await lyra.retract(edge_id=citation.edge_id)


async def test_an_unknown_edge_is_an_error_the_agent_can_act_on(lyra):
    with pytest.raises(NotFound, match=r"no edge 'edge_x'; review_queue\(\) lists edges"):
        await lyra.correct("edge_x", "supports")


@pytest.mark.parametrize(
    "trigger",
    [
        "BEFORE UPDATE OF label ON edges",
        "AFTER INSERT ON nli_corrections",
        "AFTER INSERT ON correction_vectors",
        "AFTER INSERT ON idempotency_keys",
    ],
)
async def test_a_fault_between_the_writes_leaves_neither(lyra, trigger):
    edge = await lyra.add_edge("A claim.", "it is so")
    await lyra.sql(f"CREATE TRIGGER fault {trigger} BEGIN SELECT RAISE(ABORT, 'the fault'); END")

    with pytest.raises(Exception, match="the fault"):
        await lyra.correct(edge.edge_id, "refutes", key="once")

    assert [await lyra.count(table) for table in ("nli_corrections", "correction_vectors", "idempotency_keys")] == [
        0,
        0,
        0,
    ]
    assert await lyra.edge(edge.edge_id) == edge
    await lyra.sql("DROP TRIGGER fault")
    assert (await lyra.correct(edge.edge_id, "refutes", key="once")).reviews_total == 1


async def test_retracting_a_review_returns_the_edge_to_the_model(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    review = await lyra.correct(edge.edge_id, "refutes")

    given = await lyra.retract(review.review_id)

    assert (given.previous_label, given.new_label) == ("refutes", "supports")
    assert (given.reviews_total, given.corrections_total) == (0, 0)
    assert await lyra.edge(edge.edge_id) == edge
    with pytest.raises(Conflict, match="is retracted already"):
        await lyra.retract(review.review_id)
    with pytest.raises(NotFound, match="no review 'rev_x'"):
        await lyra.retract("rev_x")


async def test_retracting_by_edge_takes_the_last_review_back_first(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    first = await lyra.correct(edge.edge_id, "refutes")
    second = await lyra.correct(edge.edge_id, "neutral")

    taken = [await lyra.retract(edge_id=edge.edge_id), await lyra.retract(edge_id=edge.edge_id)]

    assert [(given.review_id, given.new_label) for given in taken] == [
        (second.review_id, "refutes"),
        (first.review_id, "supports"),
    ]
    with pytest.raises(Conflict, match="has no review to retract"):
        await lyra.retract(edge_id=edge.edge_id)


async def test_edges_with_the_same_texts_follow_every_review_of_their_pair(lyra):
    earlier = await lyra.add_edge("A claim.", "it is so", "https://one.example.com")
    edge = await lyra.add_edge("A claim.", "it is so", "https://two.example.com")
    review = await lyra.correct(edge.edge_id, "refutes")
    later = await lyra.add_edge("A claim.", "it is so", "https://three.example.com")

    async def followers():
        found = [await lyra.edge(other.edge_id) for other in (earlier, later)]
        return [(one.label, one.label_source, one.memory_review_id) for one in found]

    assert await followers() == [("refutes", "memory", review.review_id)] * 2
    second = await lyra.correct(edge.edge_id, "neutral")
    assert await followers() == [("neutral", "memory", second.review_id)] * 2
    await lyra.retract(second.review_id)
    assert await followers() == [("refutes", "memory", review.review_id)] * 2
    await lyra.retract(review.review_id)
    assert await followers() == [("supports", "model", None)] * 2
    assert (await lyra.edge(earlier.edge_id)).confidence == earlier.confidence


async def test_a_review_of_ones_own_edge_holds_against_an_older_one_of_the_pair(lyra):
    edge = await lyra.add_edge("A claim.", "it is so", "https://one.example.com")
    other = await lyra.add_edge("A claim.", "it is so", "https://two.example.com")
    first = await lyra.correct(edge.edge_id, "refutes")
    await lyra.correct(other.edge_id, "neutral")

    await lyra.retract(first.review_id)

    assert (await lyra.edge(other.edge_id)).label_source == "review"
    assert [(await lyra.edge(one.edge_id)).label for one in (edge, other)] == ["neutral", "neutral"]


async def test_a_review_that_comes_while_the_model_is_thinking_still_counts(lyra, worker):
    edge = await lyra.add_edge("A claim.", "it is so", "https://one.example.com")
    worker.meanwhile = lambda: lyra.correct(edge.edge_id, "refutes")

    late = await lyra.add_edge("A claim.", "it is so", "https://two.example.com")

    assert (late.label, late.label_source) == ("refutes", "memory")


async def test_a_review_retracted_while_the_model_is_thinking_does_not_count(lyra, worker):
    edge = await lyra.add_edge("A claim.", "it is so", "https://one.example.com")
    review = await lyra.correct(edge.edge_id, "refutes")
    worker.meanwhile = lambda: lyra.retract(review.review_id)

    late = await lyra.add_edge("A claim.", "it is so", "https://two.example.com")

    assert (late.label, late.label_source, late.memory_review_id) == ("supports", "model", None)


async def test_a_review_outlives_its_edge_and_its_claim(lyra):
    edge = await lyra.add_edge("A claim.", "it is so", "https://example.com/page")
    review = await lyra.correct(edge.edge_id, "refutes")
    before = await lyra.sql("SELECT * FROM nli_corrections")

    await lyra.sql("DELETE FROM claims")
    assert await lyra.count("edges") == 0
    await lyra.sql("DELETE FROM fragments")

    assert await lyra.sql("SELECT * FROM nli_corrections") == before
    assert (before[0]["premise"], before[0]["hypothesis"], before[0]["source_url"], before[0]["domain"]) == (
        "it is so",
        "A claim.",
        "https://example.com/page",
        "example.com",
    )
    [pair] = (await lyra.judge("it is so", "A claim.")).pairs
    assert pair.label == "refutes"
    stored_again = await lyra.add_edge("A claim.", "it is so")
    assert (stored_again.label, stored_again.memory_review_id) == ("refutes", review.review_id)
    assert (await lyra.retract(review.review_id)).reviews_total == 0
    assert (await lyra.edge(stored_again.edge_id)).label == "supports"


async def test_the_review_says_who_reviewed_and_why(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    await lyra.correct(edge.edge_id, "refutes", reason="irony")

    [stored] = await lyra.sql("SELECT reason, source_type, selected_by, selection_probability FROM nli_corrections")
    assert stored == {
        "reason": "irony",
        "source_type": "human",
        "selected_by": "choice",
        "selection_probability": None,
    }


async def test_a_repeated_key_writes_once_and_answers_the_same(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    first = await lyra.correct(edge.edge_id, "refutes", key="k1")
    await lyra.correct(edge.edge_id, "neutral")

    assert await lyra.correct(edge.edge_id, "refutes", key="k1") == first
    assert await lyra.count("nli_corrections") == 2
    assert (await lyra.edge(edge.edge_id)).label == "neutral"


async def test_a_key_used_for_another_request_is_a_conflict(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    await lyra.correct(edge.edge_id, "refutes", key="k1")

    with pytest.raises(Conflict, match="this idempotency_key was used for another request; choose a new one"):
        await lyra.correct(edge.edge_id, "neutral", key="k1")


async def test_one_key_at_the_same_time_from_two_servers_writes_once(lyra, settings, build_services):
    edge = await lyra.add_edge("A claim.", "it is so")
    other = type(lyra)(build_services(settings))
    try:
        answers = await asyncio.gather(
            *[one.correct(edge.edge_id, "refutes", key="k1") for one in (lyra, other, lyra, other)]
        )
    finally:
        await other.services.database.close()

    assert answers == [answers[0]] * 4
    assert await lyra.count("nli_corrections") == 1


async def test_the_claim_says_which_edges_are_reviewed(lyra):
    scored = await lyra.add("A claim.", "it is so", "it is not so")
    await lyra.correct(scored.edges[1].edge_id, "refutes")

    opened = await open_claim(lyra.services, scored.claim.claim_id)

    assert opened.reviewed_edge_ids == {scored.edges[1].edge_id}
