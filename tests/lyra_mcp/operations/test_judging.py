"""Judging pairs: what people said of the same or a similar pair, and what is left without a worker."""

import math

import pytest

from lyra_mcp.errors import WorkerBusy, WorkerGone
from lyra_mcp.operations.judging import Remembered, Server

#: Twelve words they share, so that one word more is a near pair.
LONG = "on Monday the old stone bridge over the river was open to cars"


async def test_the_model_answers_a_pair_nobody_reviewed(lyra):
    judged = await lyra.judge("it is not open", "it is open")

    [pair] = judged.pairs
    assert (pair.label, pair.prediction.label, pair.remembered) == ("refutes", "refutes", None)
    assert pair.confidence == pytest.approx(math.exp(2.0) / (math.exp(2.0) + 2.0))
    assert judged.served_by == Server("keywords", "first", None, 0, "cpu")
    assert judged.degraded_reason == ""


async def test_the_models_own_temperature_is_calibration_version_0(lyra, worker):
    worker.temperature = 2.0

    [pair] = (await lyra.judge("it is so", "it is")).pairs

    assert pair.confidence == pytest.approx(math.e / (math.e + 2.0))
    assert max(pair.prediction.probabilities) == pytest.approx(math.exp(2.0) / (math.exp(2.0) + 2.0))


async def test_a_reviewed_pair_is_answered_with_the_persons_label_at_once(lyra):
    edge = await lyra.add_edge("it is open", "cars cross")
    review = await lyra.correct(edge.edge_id, "neutral")

    [pair] = (await lyra.judge("cars  cross", "it is open")).pairs

    assert (pair.label, pair.confidence, pair.prediction.label) == ("neutral", 1.0, "supports")
    stored = await lyra.sql("SELECT created_at FROM nli_corrections")
    assert pair.remembered == Remembered(
        "neutral",
        exact=True,
        similarity=1.0,
        review_id=review.review_id,
        at=stored[0]["created_at"],
        premise="cars cross",
        hypothesis="it is open",
    )


async def test_a_similar_pair_is_flagged_and_keeps_the_models_label(lyra):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    review = await lyra.correct(edge.edge_id, "refutes")

    [near] = (await lyra.judge(f"{LONG} today", LONG)).pairs
    [far] = (await lyra.judge("entirely other words", "about something else")).pairs

    assert (near.label, near.remembered.label, near.remembered.exact) == ("supports", "refutes", False)
    assert near.remembered.review_id == review.review_id
    assert 0.9 <= near.remembered.similarity < 1.0
    assert (near.remembered.premise, far.remembered) == (f"{LONG} yesterday", None)


async def test_a_confirmation_is_exact_memory_but_flags_no_similar_pair(lyra):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    await lyra.correct(edge.edge_id, "supports")

    [same] = (await lyra.judge(f"{LONG} yesterday", LONG)).pairs
    [near] = (await lyra.judge(f"{LONG} today", LONG)).pairs

    assert (same.remembered.exact, same.confidence, near.remembered) == (True, 1.0, None)


async def test_a_retracted_review_is_forgotten_by_both_memories(lyra):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    review = await lyra.correct(edge.edge_id, "refutes")
    await lyra.retract(review.review_id)

    [same] = (await lyra.judge(f"{LONG} yesterday", LONG)).pairs
    [near] = (await lyra.judge(f"{LONG} today", LONG)).pairs

    assert (same.label, same.remembered, near.remembered) == ("supports", None, None)


async def test_without_a_worker_reviewed_pairs_are_answered_and_say_so(lyra, worker):
    edge = await lyra.add_edge("it is open", "cars cross")
    await lyra.correct(edge.edge_id, "neutral")
    worker.problem = WorkerGone("it died")

    judged = await lyra.judge("cars cross", "it is open")

    assert (judged.pairs[0].label, judged.served_by.device) == ("neutral", "none")
    assert judged.degraded_reason == "answered from reviews alone; E_WORKER: it died"
    with pytest.raises(WorkerGone, match="it died"):
        await lyra.judge("buses cross", "it is open")


async def test_a_changed_model_reads_the_corrections_again(lyra, worker):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    await lyra.correct(edge.edge_id, "refutes")
    worker.fingerprint = "second"
    worker.asked.clear()

    [near] = (await lyra.judge(f"{LONG} today", LONG)).pairs

    assert near.remembered.label == "refutes"
    assert [pair.premise for pairs in worker.asked for pair in pairs] == [f"{LONG} today", f"{LONG} yesterday"]
    worker.asked.clear()
    await lyra.judge(f"{LONG} tomorrow", LONG)
    assert len(worker.asked) == 1, "they are read once"


async def test_corrections_that_cannot_be_read_again_do_not_cost_the_answer(lyra, worker):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    await lyra.correct(edge.edge_id, "refutes")
    worker.fingerprint = "second"
    ask = worker.judge

    async def busy_afterwards(*arguments, **options):
        reply = await ask(*arguments, **options)
        worker.problem = WorkerBusy("call again")
        return reply

    worker.judge = busy_afterwards

    judged = await lyra.judge(f"{LONG} today", LONG)

    assert judged.pairs[0].label == "supports"
    assert judged.degraded_reason == "similar corrections were not all looked up; E_BUSY: call again"


async def test_a_later_review_under_another_model_silences_an_outdated_neighbour(lyra, worker):
    edge = await lyra.add_edge(LONG, f"{LONG} yesterday")
    await lyra.correct(edge.edge_id, "refutes")
    worker.fingerprint = "second"
    again = await lyra.add_edge(LONG, f"{LONG} yesterday", "https://example.com")
    await lyra.correct(again.edge_id, "supports")

    [near] = (await lyra.judge(f"{LONG} today", LONG)).pairs

    assert near.remembered is None


async def test_an_adapter_is_named_with_what_it_served(lyra, worker):
    lyra.services.by_hand.adapter = "nli/v1"

    judged = await lyra.judge("it is so", "it is")

    assert (judged.served_by.adapter, judged.pairs[0].prediction.adapter) == ("nli/v1", "nli/v1")
