"""Measuring and mending the confidences, from stored reviews to the number that comes out."""

import math
import random

import pytest

from lyra_mcp.errors import Conflict, Invalid, NotFound, TooFewReviews
from lyra_mcp.operations import calibration
from lyra_mcp.operations.reviews import next_reviews


async def review(lyra, *answers, claim="A claim."):
    """Store and review one pair for each (margin, label the person gives); the model always says supports."""
    first = await lyra.count("edges")
    texts = [f"text {first + number} margin={margin}" for number, (margin, _) in enumerate(answers)]
    scored = await lyra.add(claim, *texts)
    for edge, (_, label) in zip(scored.edges, answers, strict=True):
        await lyra.correct(edge.edge_id, label)


async def evaluate(lyra, adapter=None, since=None):
    return await calibration.evaluate(lyra.services, adapter=adapter, since=since)


async def fit(lyra):
    return await calibration.fit(lyra.services, adapter=None)


async def roll_back(lyra, version=None):
    planned = await calibration.plan_rollback(lyra.services, version=version)
    done = await calibration.roll_back(lyra.services, version=version, reason="a test")
    assert planned == done
    return done


#: With the label's logit at ln(2k) and the others at 0 the model's probability is k / (k + 1).
THREE_QUARTERS, NINETEEN_TWENTIETHS, TWO_THIRDS = math.log(6), math.log(38), math.log(4)


async def test_the_metrics_of_ten_reviews_computed_by_hand(lyra):
    right = [(THREE_QUARTERS, "supports")] * 3 + [(NINETEEN_TWENTIETHS, "supports")] * 4
    wrong = [(THREE_QUARTERS, "refutes"), (TWO_THIRDS, "neutral"), (TWO_THIRDS, "refutes")]
    await review(lyra, *right, *wrong)

    outcome = await evaluate(lyra)

    report = outcome.all_reviews
    # Right at p: 1.5 (1 - p)^2. Wrong at p, with q = (1 - p) / 2: p^2 + (1 - q)^2 + q^2.
    brier = (3 * 0.09375 + 4 * 0.00375 + 1.34375 + 2 * 7 / 6) / 10
    nll = -(3 * math.log(0.75) + 4 * math.log(0.95) + math.log(0.125) + 2 * math.log(1 / 6)) / 10
    ece = 0.4 * 0.05 + 0.2 * (2 / 3)
    assert (report.n, report.accuracy) == (10, pytest.approx(0.7, abs=1e-9))
    assert (report.brier, report.nll) == (pytest.approx(brier, abs=1e-9), pytest.approx(nll, abs=1e-9))
    assert (report.ece, report.mce) == (pytest.approx(ece, abs=1e-9), pytest.approx(2 / 3, abs=1e-9))
    assert {label: metrics.n for label, metrics in report.per_label.items()} == {
        "supports": 7,
        "refutes": 2,
        "neutral": 1,
    }
    assert report.per_label["supports"].precision == pytest.approx(0.7)
    assert report.per_label["refutes"].recall == 0.0
    assert report.ci95["accuracy"].low < 0.7 < report.ci95["accuracy"].high
    assert (outcome.audit_sample is None) == (outcome.evaluation.report["audit_sample"] is None)
    assert (outcome.in_sample, outcome.holdout, outcome.previous, outcome.degraded_vs_previous) == (0, 10, None, None)


async def test_probabilities_of_0_and_1_fall_in_a_bin(lyra):
    await review(lyra, (800, "supports"), (800, "refutes"))

    report = (await evaluate(lyra)).all_reviews

    assert [bin_.n for bin_ in report.bins] == [0] * 9 + [2]
    assert (report.accuracy, report.brier, report.ece) == (0.5, 1.0, 0.5)
    assert math.isfinite(report.nll)


async def test_nothing_reviewed_is_an_error_and_no_row(lyra):
    await lyra.add("A claim.", "it is so")

    with pytest.raises(TooFewReviews, match=r"there is no review yet; review_queue\(\) offers edges"):
        await evaluate(lyra)
    with pytest.raises(TooFewReviews, match="adapter 'nli/v9'"):
        await evaluate(lyra, adapter="nli/v9")

    assert await lyra.count("calibration_evaluations") == 0


async def test_only_the_last_standing_review_of_a_pair_is_measured(lyra):
    edge = await lyra.add_edge("A claim.", "it is so")
    await lyra.correct(edge.edge_id, "refutes")
    last = await lyra.correct(edge.edge_id, "supports")
    assert ((await evaluate(lyra)).all_reviews.n, (await evaluate(lyra)).all_reviews.accuracy) == (1, 1.0)

    await lyra.retract(last.review_id)

    assert (await evaluate(lyra)).all_reviews.accuracy == 0.0


async def test_a_worse_brier_than_the_last_time_is_reported(lyra):
    await review(lyra, *[(2, "supports")] * 4)
    first = await evaluate(lyra)
    await review(lyra, *[(2, "refutes")] * 2)
    second = await evaluate(lyra)
    third = await evaluate(lyra)

    assert (second.previous.evaluation_id, second.degraded_vs_previous) == (first.evaluation.evaluation_id, True)
    assert (third.previous.evaluation_id, third.degraded_vs_previous) == (second.evaluation.evaluation_id, False)


async def test_evaluations_are_only_added(lyra):
    await review(lyra, (2, "supports"))
    kept = (await evaluate(lyra)).evaluation
    await evaluate(lyra)

    assert await calibration.find_evaluation(lyra.services, kept.evaluation_id) == _stored(kept, seq=1)
    assert await lyra.count("calibration_evaluations") == 2
    with pytest.raises(Exception, match="append-only"):
        await lyra.sql("UPDATE calibration_evaluations SET brier = 0")
    with pytest.raises(NotFound, match="no evaluation 'eval_x'"):
        await calibration.find_evaluation(lyra.services, "eval_x")


def _stored(evaluation, *, seq):
    return type(evaluation)(
        **{name: getattr(evaluation, name) for name in evaluation.__dataclass_fields__ if name != "seq"}, seq=seq
    )


async def test_the_audit_column_is_right_where_the_plain_one_is_wrong(lyra):
    """A fifth of 100 labels is wrong. People reviewed every wrong one, and a random third of the rest."""
    scored = await lyra.add("A claim.", *[f"text number {number}" for number in range(100)])
    edges = scored.edges
    random.Random(3).shuffle(edges)
    truth = {edge.edge_id: "refutes" if number < 20 else "supports" for number, edge in enumerate(edges)}
    for edge in edges[:20]:
        await lyra.correct(edge.edge_id, "refutes")
    drawn, _ = await next_reviews(lyra.services, strategy="random", limit=27, claim_id=None)
    for one in drawn:
        await lyra.correct(one.edge.edge_id, truth[one.edge.edge_id])

    outcome = await evaluate(lyra)

    assert outcome.all_reviews.accuracy == pytest.approx(27 / 47)
    assert outcome.audit_sample.accuracy == pytest.approx(0.8, abs=0.07)
    interval = outcome.audit_sample.ci95["accuracy"]
    assert interval.low < 0.8 < interval.high
    assert outcome.all_reviews.ci95["accuracy"].high < 0.8


async def test_reviews_by_choice_alone_give_no_audit_column(lyra):
    await lyra.add("A claim.", "left alone")
    await review(lyra, (2, "supports"), (2, "refutes"))

    assert (await evaluate(lyra)).audit_sample is None


async def test_a_fit_needs_ten_reviews(lyra):
    await review(lyra, *[(4, "supports"), (4, "refutes"), (4, "neutral")] * 3)

    with pytest.raises(TooFewReviews, match=r"at least 10 reviews .* there are 9"):
        await fit(lyra)

    assert await lyra.count("calibrations") == 0


OVERCONFIDENT = [(4, "supports")] * 18 + [(4, "refutes")] * 6 + [(4, "neutral")] * 6


async def test_a_real_gain_is_kept_serves_at_once_and_is_marked_in_sample(lyra):
    await review(lyra, *OVERCONFIDENT)
    [before] = (await lyra.judge("something new margin=4", "A claim.")).pairs

    outcome, current = await fit(lyra)

    assert (outcome.is_kept, current.version) == (True, 1)
    # 60 % right among three labels: e^(4/T) / (e^(4/T) + 2) = .6.
    assert outcome.temperature == pytest.approx(4 / math.log(3), rel=1e-6)
    judged = await lyra.judge("something new margin=4", "A claim.")
    assert (judged.served_by.calibration, judged.pairs[0].confidence) == (1, pytest.approx(0.6))
    assert judged.pairs[0].label == before.label
    await review(lyra, (4, "supports"))
    measured = await evaluate(lyra)
    assert (measured.in_sample, measured.holdout, measured.evaluation.calibration_version) == (30, 1, 1)
    edges = await lyra.sql("SELECT calibration_version AS version, count(*) AS n FROM edges GROUP BY 1")
    assert edges == [{"version": 0, "n": 30}, {"version": 1, "n": 1}]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([(math.log(3), "supports")] * 18 + [(math.log(3), "refutes")] * 12, "may be chance"),
        ([(2, "supports")] * 12, "only right answers"),
    ],
)
async def test_a_gain_that_is_not_real_is_not_kept(lyra, answers, reason):
    await review(lyra, *answers)

    outcome, current = await fit(lyra)

    assert (outcome.is_kept, current.version) == (False, 0)
    assert reason in outcome.reason
    assert await lyra.count("calibrations") == await lyra.count("calibration_events") == 0


async def test_rolling_back_step_by_step_and_never_reusing_a_number(lyra):
    await review(lyra, *OVERCONFIDENT)
    assert (await fit(lyra))[1].version == 1
    await review(lyra, *[(4, "supports")] * 200)
    assert (await fit(lyra))[1].version == 2

    assert await roll_back(lyra) == (2, 1)
    assert await roll_back(lyra) == (1, 0)
    with pytest.raises(Conflict, match="there is nothing to go back to"):
        await roll_back(lyra)
    assert await roll_back(lyra, 1) == (0, 1)
    with pytest.raises(Conflict, match="version 1 serves already"):
        await roll_back(lyra, 1)
    with pytest.raises(NotFound, match="no calibration version 9; there are 0, 1, 2"):
        await roll_back(lyra, 9)
    assert (await fit(lyra))[1].version == 3
    assert await roll_back(lyra) == (3, 1)

    stats = await calibration.read_stats(lyra.services, adapter=None)
    assert [version.version for version in stats.versions] == [1, 2, 3]
    assert [(event.action, event.from_version, event.to_version) for event in stats.events] == [
        ("fit", 0, 1),
        ("fit", 1, 2),
        ("rollback", 2, 1),
        ("rollback", 1, 0),
        ("rollback", 0, 1),
        ("fit", 1, 3),
        ("rollback", 3, 1),
    ]


async def test_without_reviews_there_is_nothing_to_roll_back(lyra):
    with pytest.raises(TooFewReviews):
        await roll_back(lyra)


async def test_evaluations_are_found_by_adapter_time_and_number(lyra, worker, clock):
    await review(lyra, (2, "supports"))
    await evaluate(lyra)
    middle = clock()
    lyra.services.by_hand.adapter = "nli/v1"
    await review(lyra, (2, "refutes"), claim="Another claim.")
    await evaluate(lyra)
    await evaluate(lyra, adapter="")

    async def adapters(adapter=None, since=None, limit=20):
        found = await calibration.list_evaluations(lyra.services, adapter=adapter, since=since, limit=limit)
        return [one.adapter for one in found]

    assert await adapters() == ["", "nli/v1", ""]
    assert await adapters(adapter="") == ["", ""]
    assert await adapters(adapter="nli/v1") == ["nli/v1"]
    assert await adapters(limit=1) == [""]
    for spelled in (
        middle.isoformat(),
        middle.isoformat().replace("T", " "),
        middle.isoformat().replace("+00:00", "Z"),
        middle.replace(tzinfo=None).isoformat(),
    ):
        assert await adapters(since=spelled) == ["", "nli/v1"]
    assert await adapters(since="2026-03-01T00:00:00-09:00") == []
    assert len(await adapters(since="2026-02-28")) == 3
    with pytest.raises(Invalid, match="since is no date or time"):
        await adapters(since="2026-13-45")


async def test_reviews_before_since_are_left_out(lyra, clock):
    await review(lyra, (2, "supports"), (2, "supports"))
    middle = clock().isoformat()
    await review(lyra, (2, "refutes"))

    assert (await evaluate(lyra, since=middle)).all_reviews.accuracy == 0.0
    with pytest.raises(TooFewReviews, match="no review to evaluate"):
        await evaluate(lyra, since="2030-01-01")


async def test_stats_before_any_review_are_empty_and_no_error(lyra):
    assert await calibration.read_stats(lyra.services, adapter=None) == calibration.Stats(0, 0, None, [], [], None)
