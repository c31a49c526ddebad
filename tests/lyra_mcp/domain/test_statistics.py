"""Metrics: a golden set by hand, the agreement with independent implementations, and the laws of weights and order."""

import math
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from lyra_mcp.domain.statistics import (
    RESAMPLE_DRAWS_MAX,
    Bin,
    Interval,
    Sample,
    evaluate,
    interval,
    mean_interval,
)
from lyra_mcp.errors import TooFewReviews

SUPPORTS, REFUTES, NEUTRAL = 0, 1, 2
#: Ten pairs whose metrics fit on paper; probabilities of 0 and 1 are among them.
GOLDEN = [
    Sample((1.0, 0.0, 0.0), SUPPORTS),
    Sample((0.0, 1.0, 0.0), SUPPORTS),
    Sample((0.8, 0.1, 0.1), SUPPORTS),
    Sample((0.1, 0.8, 0.1), NEUTRAL),
    Sample((0.1, 0.1, 0.8), NEUTRAL),
    Sample((0.65, 0.25, 0.1), SUPPORTS),
    Sample((0.25, 0.65, 0.1), SUPPORTS),
    Sample((0.5, 0.3, 0.2), SUPPORTS),
    Sample((0.2, 0.3, 0.5), NEUTRAL),
    Sample((0.4, 0.35, 0.25), REFUTES),
]
EXACT = {"rel": 0, "abs": 1e-9}
SCALARS = ("accuracy", "brier", "nll", "ece", "ece_equal_mass", "ece_debiased", "mce")


def report_of(samples, resamples=200):
    return evaluate(samples, chance=random.Random(7), resamples=resamples)


def scalars(report):
    return {name: getattr(report, name) for name in SCALARS}


def drawn(n, seed, *, sharpness=2.0, weights=(1.0,)):
    """Samples whose golds are drawn from their own probabilities, so that the truth is perfect calibration."""
    chance = random.Random(seed)
    samples = []
    for _ in range(n):
        raw = [chance.random() ** sharpness + 1e-3 for _ in range(3)]
        probabilities = tuple(value / sum(raw) for value in raw)
        samples.append(Sample(probabilities, chance.choices(range(3), probabilities)[0], chance.choice(weights)))
    return samples


@st.composite
def sample_lists(draw, min_size=1):
    raws = draw(st.lists(st.tuples(*[st.integers(1, 50)] * 3), min_size=min_size, max_size=60))
    return [
        Sample(
            tuple(value / sum(raw) for value in raw), draw(st.integers(0, 2)), draw(st.sampled_from([1.0, 2.0, 0.5]))
        )
        for raw in raws
    ]


def test_the_golden_set_has_the_metrics_computed_by_hand():
    report = report_of(GOLDEN)

    log = math.log
    nll = -(log(1e-12) + 2 * log(0.8) + log(0.1) + log(0.65) + log(0.25) + 2 * log(0.5) + log(0.35)) / 10
    assert scalars(report) == pytest.approx(
        {
            "accuracy": 6 / 10,
            "brier": (0 + 2 + 0.06 + 1.46 + 0.06 + 0.195 + 0.995 + 0.38 + 0.38 + 0.645) / 10,
            "nll": nll,
            # Gaps of the bins at .4, .5, .65, .8 and 1, each times its number of samples.
            "ece": (0.4 + 1.0 + 0.3 + 0.4 + 1.0) / 10,
            "ece_equal_mass": (0.4 + 1.0 + 0.3 + 0.4 + 1.0) / 10,
            # 2*.25 - 2*.2275 - 3*.0933 + 0 is below zero: no error beyond the noise.
            "ece_debiased": 0.0,
            "mce": 0.5,
        },
        **EXACT,
    )


def test_the_golden_set_has_the_label_metrics_computed_by_hand():
    per_label = report_of(GOLDEN).per_label

    got = {label: (row.n, row.precision, row.recall, row.f1) for label, row in per_label.items()}
    assert got == {
        "supports": (6, pytest.approx(4 / 5), pytest.approx(4 / 6), pytest.approx(8 / 11)),
        "refutes": (1, 0.0, 0.0, 0.0),
        "neutral": (3, pytest.approx(1.0), pytest.approx(2 / 3), pytest.approx(4 / 5)),
    }


def test_the_golden_set_falls_into_the_bins_drawn_by_hand():
    filled = [row for row in report_of(GOLDEN).bins if row.n]

    def near(value):
        return pytest.approx(value, **EXACT)

    assert filled == [
        Bin(0.4, 0.5, 1, near(0.1), near(0.4), near(0.0)),
        Bin(0.5, 0.6, 2, near(0.2), near(0.5), near(1.0)),
        Bin(0.6, 0.7, 2, near(0.2), near(0.65), near(0.5)),
        Bin(0.8, 0.9, 3, near(0.3), near(0.8), near(2 / 3)),
        Bin(0.9, 1.0, 2, near(0.2), near(1.0), near(0.5)),
    ]


def test_the_debiased_error_takes_away_the_noise_of_the_accuracy():
    samples = [Sample((0.9, 0.05, 0.05), gold) for gold in (0, 1, 1, 1)]

    report = report_of(samples)

    # Gap .9 - .25 = .65, noise .25 * .75 / 3: sqrt(.4225 - .0625).
    assert report.ece_debiased == pytest.approx(0.6, **EXACT)
    assert report.ece == pytest.approx(0.65, **EXACT)


def test_a_label_nobody_predicted_or_reviewed_has_no_metrics_instead_of_zeros():
    report = report_of([Sample((0.7, 0.2, 0.1), REFUTES)] * 3)

    rows = {label: (row.precision, row.recall, row.f1) for label, row in report.per_label.items()}
    assert rows == {"supports": (0.0, None, 0.0), "refutes": (None, 0.0, 0.0), "neutral": (None, None, None)}
    assert report.per_label["neutral"].ci95 == {}


def test_one_sample_is_enough_for_everything_but_the_debiased_error():
    report = report_of([Sample((0.6, 0.3, 0.1), SUPPORTS)])

    assert scalars(report) == pytest.approx(
        {"accuracy": 1, "brier": 0.26, "nll": -math.log(0.6), "ece": 0.4, "ece_equal_mass": 0.4, "mce": 0.4}
        | {"ece_debiased": None}
    )


def test_no_sample_is_an_error_that_names_the_next_step():
    with pytest.raises(TooFewReviews, match="review_queue"):
        report_of([])


@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_agree_with_scikit_learn(seed):
    samples = drawn(200, seed, weights=(0.5, 1.0, 4.0))
    report = report_of(samples)

    probabilities = np.array([sample.probabilities for sample in samples])
    gold, weight = [sample.gold for sample in samples], [sample.weight for sample in samples]
    predicted = probabilities.argmax(axis=1)
    one_hot = np.eye(3)[gold]
    oracle = precision_recall_fscore_support(gold, predicted, sample_weight=weight, labels=[0, 1, 2])
    assert report.accuracy == pytest.approx(accuracy_score(gold, predicted, sample_weight=weight))
    assert report.nll == pytest.approx(log_loss(gold, probabilities, sample_weight=weight, labels=[0, 1, 2]))
    assert report.brier == pytest.approx(np.average(((probabilities - one_hot) ** 2).sum(axis=1), weights=weight))
    rows = list(report.per_label.values())
    assert [row.precision for row in rows] == pytest.approx(oracle[0])
    assert [row.recall for row in rows] == pytest.approx(oracle[1])
    assert [row.f1 for row in rows] == pytest.approx(oracle[2])


@pytest.mark.parametrize("seed", range(3))
def test_the_calibration_errors_agree_with_an_independent_implementation(seed):
    samples = drawn(300, seed)
    report = report_of(samples)

    probabilities = np.array([sample.probabilities for sample in samples])
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == np.array([sample.gold for sample in samples])
    width = [np.flatnonzero(np.digitize(confidence, np.arange(1, 10) / 10) == index) for index in range(10)]
    width = [rows for rows in width if len(rows)]
    mass = np.array_split(np.argsort(confidence), 10)
    gaps = {
        name: [(len(g) / 300, confidence[g].mean() - hit[g].mean()) for g in bins]
        for name, bins in [("width", width), ("mass", mass)]
    }
    noise = [hit[g].mean() * (1 - hit[g].mean()) / (len(g) - 1) for g in mass]
    squared = sum(share * (gap**2 - n) for (share, gap), n in zip(gaps["mass"], noise, strict=True))
    assert report.ece == pytest.approx(sum(share * abs(gap) for share, gap in gaps["width"]))
    assert report.mce == pytest.approx(max(abs(gap) for _, gap in gaps["width"]))
    assert report.ece_equal_mass == pytest.approx(sum(share * abs(gap) for share, gap in gaps["mass"]))
    assert report.ece_debiased == pytest.approx(math.sqrt(max(squared, 0)))


def test_the_debiased_error_is_nearer_to_the_truth_than_the_plain_one():
    """On perfectly calibrated samples the truth is zero, and the plain error is mostly noise."""
    reports = [report_of(drawn(200, seed)) for seed in range(30)]

    assert np.mean([report.ece_debiased for report in reports]) < 0.75 * np.mean([report.ece for report in reports])


def test_an_interval_interpolates_as_numpy_does():
    values = list(map(random.Random(3).gauss, [0.0] * 137, [1.0] * 137))
    low, high = np.percentile(values, [2.5, 97.5])

    assert interval(values) == Interval(pytest.approx(low), pytest.approx(high))


def test_the_intervals_cover_the_truth_about_as_often_as_they_say():
    """Means of 40 perfectly calibrated sets, against a set so large that it is the truth."""
    truth = report_of(drawn(5_000, 99))
    reports = [report_of(drawn(200, seed)) for seed in range(40)]

    for name in ("accuracy", "brier", "nll"):
        covered = sum(r.ci95[name].low <= getattr(truth, name) <= r.ci95[name].high for r in reports)
        assert covered >= 34, name


def test_the_interval_of_a_mean_agrees_with_the_normal_one():
    chance = random.Random(4)
    values = [chance.gauss(2, 1) for _ in range(400)]

    got = mean_interval(values, [1.0] * 400, chance=chance)

    half = 1.96 * np.std(values) / 20
    assert (got.low, got.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.02)


@given(sample_lists())
@settings(deadline=None, max_examples=40)
def test_every_metric_stays_within_its_bounds(samples):
    report = report_of(samples)

    highest = {"brier": 2.0, "nll": math.inf}
    for name, value in scalars(report).items():
        if value is not None:
            assert 0 <= value <= highest.get(name, 1.0) + 1e-12, name
            assert len(samples) == 1 or report.ci95[name].low <= report.ci95[name].high
    assert (report.ci95 == {}) == (len(samples) == 1), "a single review says nothing of chance"
    assert report.ece <= report.mce + 1e-12
    assert sum(row.n for row in report.bins) == report.n == sum(row.n for row in report.per_label.values())
    assert math.fsum(row.share for row in report.bins) == pytest.approx(1)


@given(sample_lists(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_the_order_of_the_samples_changes_nothing_not_even_the_intervals(samples, chance):
    shuffled = samples.copy()
    chance.shuffle(shuffled)

    assert report_of(shuffled) == report_of(samples)


@given(sample_lists(min_size=20))
@settings(deadline=None, max_examples=25)
def test_a_weight_counts_like_as_many_copies(samples):
    weighted = [Sample(s.probabilities, s.gold, 2 * s.weight) for s in samples]
    copies = [Sample(s.probabilities, s.gold) for s in weighted for _ in range(int(s.weight))]

    got, expected = scalars(report_of(weighted)), scalars(report_of(copies))

    # Copies claim to be further evidence, a weight does not: only the debiased error tells them apart.
    del got["ece_debiased"], expected["ece_debiased"]
    assert got == pytest.approx(expected)


@given(sample_lists(), st.sampled_from([0.25, 5.0, 1000.0]))
@settings(deadline=None, max_examples=25)
def test_only_the_ratio_of_weights_matters(samples, factor):
    scaled = [Sample(s.probabilities, s.gold, s.weight * factor) for s in samples]

    assert scalars(report_of(scaled)) == pytest.approx(scalars(report_of(samples)), abs=1e-6)


def test_the_work_for_the_intervals_has_a_bound_and_the_report_says_it():
    assert report_of(drawn(10, 1), resamples=1000).resamples == 1000
    assert report_of(drawn(1000, 1), resamples=1000).resamples == RESAMPLE_DRAWS_MAX // 1000
    assert report_of(drawn(4000, 1), resamples=1000).resamples == 200


def test_a_thousand_reviews_are_evaluated_in_a_moment():
    samples = drawn(1000, 5, weights=(1.0, 5.0))
    started = time.process_time()

    evaluate(samples, chance=random.Random(1))

    assert time.process_time() - started < 1.5
