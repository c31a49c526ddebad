"""Temperature: it finds the best one, keeps it only if the gain is real, and never trusts a degenerate set."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from lyra_mcp.domain.calibration import Fit, cross_validate, fit_temperature, is_degraded
from lyra_mcp.domain.edges import softmax
from lyra_mcp.domain.statistics import Sample
from lyra_mcp.errors import TooFewReviews


def overconfident(n, seed, *, temperature=2.5):
    """Logits and golds where the golds follow the softmax at `temperature`, the best one to find."""
    chance = random.Random(seed)
    logits = [tuple(chance.gauss(0, 4) for _ in range(3)) for _ in range(n)]
    golds = [chance.choices(range(3), softmax(row, temperature))[0] for row in logits]
    return logits, golds


def samples_of(logits, golds):
    return [Sample(softmax(row), gold) for row, gold in zip(logits, golds, strict=True)]


def validated(samples, current=1.0, seed=0):
    return cross_validate(samples, current, chance=random.Random(seed))


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_agrees_with_scipy(seed):
    logits, golds = overconfident(150, seed)
    weights = [random.Random(seed).choice([0.5, 1.0, 3.0]) for _ in golds]

    def loss(log_temperature):
        rows = log_softmax(np.array(logits) / np.exp(log_temperature), axis=1)[np.arange(150), golds]
        return -np.average(rows, weights=weights)

    oracle = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-10})

    assert fit_temperature(logits, golds, weights) == pytest.approx(math.exp(oracle.x), rel=1e-5)


def test_the_temperature_the_golds_were_drawn_with_is_found_again():
    assert fit_temperature(*overconfident(4000, 3)) == pytest.approx(2.5, rel=0.08)


@given(st.floats(0.2, 5))
@settings(deadline=None, max_examples=20)
def test_scaling_all_logits_scales_the_temperature(factor):
    logits, golds = overconfident(60, 1, temperature=1.5)
    scaled = [tuple(factor * logit for logit in row) for row in logits]

    expected = min(max(factor * fit_temperature(logits, golds), 0.05), 20.0)
    assert fit_temperature(scaled, golds) == pytest.approx(expected, rel=1e-6)


def test_a_weight_counts_like_as_many_copies():
    logits, golds = overconfident(30, 2)
    weights = [index % 3 + 1 for index in range(30)]
    copies = [index for index, weight in enumerate(weights) for _ in range(weight)]

    assert fit_temperature(logits, golds, weights) == pytest.approx(
        fit_temperature([logits[i] for i in copies], [golds[i] for i in copies])
    )


@pytest.mark.parametrize(
    ("logits", "golds", "temperature"),
    [
        ([(3.0, 0.0, 0.0)] * 3, [0, 0, 0], 0.05),
        ([(3.0, 0.0, 0.0)] * 3, [1, 1, 1], 20.0),
        ([(0.0, 0.0, 0.0)] * 3, [0, 1, 2], 20.0),
        ([(700.0, -700.0, 0.0)] * 3, [0, 0, 0], 0.05),
        ([(0.0, -708.0, -708.0)] * 3, [1, 1, 0], 20.0),
    ],
)
def test_a_set_without_a_best_temperature_ends_at_a_bound(logits, golds, temperature):
    assert fit_temperature(logits, golds) == temperature


def test_one_class_with_some_mistakes_has_a_best_temperature():
    logits = [(3.0, 0.0, 0.0)] * 8 + [(-2.0, 1.0, 0.0)] * 2

    assert 0.05 < fit_temperature(logits, [0] * 10) < 20.0


def test_an_overconfident_model_gets_a_higher_temperature_that_is_kept():
    fit = validated(samples_of(*overconfident(200, 4)))

    assert fit.is_kept
    assert fit.temperature == pytest.approx(2.5, rel=0.25)
    assert 0 < fit.gain_low <= fit.gain <= fit.gain_high
    assert fit.gain == pytest.approx(fit.nll_before - fit.nll_after)
    assert fit.reason.startswith("kept")


def test_a_model_that_is_honest_already_keeps_its_temperature():
    logits, golds = overconfident(200, 5, temperature=2.5)

    fit = validated(samples_of(logits, golds), current=2.5)

    assert not fit.is_kept
    assert fit.reason.startswith("not kept")


def test_chance_alone_is_rarely_taken_for_a_gain():
    kept = [validated(samples_of(*overconfident(40, seed)), current=2.5).is_kept for seed in range(40)]

    assert sum(kept) <= 3


def test_reviews_that_were_all_right_do_not_make_the_model_certain():
    fit = validated([Sample((0.8, 0.1, 0.1), 0)] * 12)

    assert not fit.is_kept
    assert "only right answers" in fit.reason


def test_a_certain_mistake_is_no_crash():
    samples = [Sample((1.0, 0.0, 0.0), 1)] * 2 + [Sample((1.0, 0.0, 0.0), 0)] * 10

    assert math.isfinite(validated(samples).nll_before)


def test_the_same_seed_gives_the_same_fit():
    samples = samples_of(*overconfident(50, 6))

    assert validated(samples, seed=1) == validated(samples, seed=1)
    assert isinstance(validated(samples, seed=1), Fit)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_fewer_than_ten_reviews_are_refused_with_both_numbers(n):
    with pytest.raises(TooFewReviews, match=rf"at least 10 reviews .* there are {n};.*review_queue"):
        validated([Sample((0.8, 0.1, 0.1), 0)] * n)


def test_ten_reviews_are_enough():
    assert validated(samples_of(*overconfident(10, 7))).samples == 10


@pytest.mark.parametrize(
    ("previous", "now", "degraded"),
    [
        (0.2, 0.2, False),
        (0.2, 0.1, False),
        (0.2, 0.21, False),
        (0.2, 0.2101, True),
        (0.0, 0.0, False),
        (0.0, 0.01, True),
    ],
)
def test_a_rise_of_the_brier_score_beyond_five_percent_is_a_degradation(previous, now, degraded):
    assert is_degraded(previous, now) is degraded
