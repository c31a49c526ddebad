"""The gate: a candidate serves only if it is good, not worse than the champion, and still agrees with its base."""

import random

import pytest
from scipy.stats import binomtest

from lyra_mcp.domain.promotion import Measured, Outcome, decide, mcnemar_p, wilson_interval


def outcomes(*, both=0, gained=0, lost=0, neither=0):
    return (
        [Outcome(True, True)] * both
        + [Outcome(False, True)] * gained
        + [Outcome(True, False)] * lost
        + [Outcome(False, False)] * neither
    )


def judge(held_out, *, before=0.3, after=0.2, compared=400, agreed=400, unreviewed=0):
    measured = Measured(held_out, before, after, compared=compared, agreed=agreed, unreviewed=unreviewed)
    return decide(measured, accuracy_min=0.85, agreement_min=0.95)


def failed(gate):
    return [condition.name for condition in gate.conditions if not condition.met]


GOOD = outcomes(both=900, gained=50, neither=50)


def test_a_candidate_that_is_better_in_all_passes_with_every_number_shown():
    gate = judge(GOOD)

    assert gate.passed
    assert [(condition.name, round(condition.value, 3), condition.threshold) for condition in gate.conditions] == [
        ("holdout_accuracy", 0.95, 0.85),
        ("accuracy_gain_over_champion", 0.05, 0.0),
        ("brier_gain_over_champion", 0.1, 0.0),
        ("agreement_with_base", 1.0, 0.95),
    ]
    assert [condition.detail for condition in gate.conditions] == [
        "950 of 1000; 95 % interval 0.935 to 0.962",
        "50 gained, 0 lost; exact McNemar p = 0.000",
        "0.300 before, 0.200 after",
        "400 of 400 pairs the base is sure of; none of them your own, all built from held-out texts",
    ]


@pytest.mark.parametrize(("right", "names"), [(849, ["holdout_accuracy"]), (850, [])])
def test_an_accuracy_of_exactly_the_threshold_is_enough(right, names):
    assert failed(judge(outcomes(gained=right, neither=1000 - right))) == names


@pytest.mark.parametrize(("gained", "lost", "names"), [(3, 4, ["accuracy_gain_over_champion"]), (3, 3, []), (4, 3, [])])
def test_as_good_as_the_champion_is_enough_and_worse_is_not(gained, lost, names):
    assert failed(judge(outcomes(both=100, gained=gained, lost=lost))) == names


@pytest.mark.parametrize(("after", "names"), [(0.301, ["brier_gain_over_champion"]), (0.3, []), (0.299, [])])
def test_a_worse_brier_score_fails(after, names):
    assert failed(judge(GOOD, after=after)) == names


@pytest.mark.parametrize(
    ("agreed", "compared", "names"),
    [(379, 400, ["agreement_with_base"]), (380, 400, []), (0, 0, ["agreement_with_base"])],
)
def test_the_candidate_must_still_agree_with_its_base_and_that_must_be_measured(agreed, compared, names):
    assert failed(judge(GOOD, agreed=agreed, compared=compared)) == names


@pytest.mark.parametrize(
    ("counts", "value", "detail"),
    [
        (
            {"compared": 400, "agreed": 380, "unreviewed": 37},
            0.95,
            (
                "380 of 400 pairs the base is sure of;"
                " 37 of them your own unreviewed ones, the rest built from held-out texts"
            ),
        ),
        (
            {"compared": 400, "agreed": 399, "unreviewed": 0},
            0.9975,
            "399 of 400 pairs the base is sure of; none of them your own, all built from held-out texts",
        ),
        (
            {"compared": 40, "agreed": 40, "unreviewed": 40},
            1.0,
            "40 of 40 pairs the base is sure of; all of them your own unreviewed ones",
        ),
        (
            {"compared": 0, "agreed": 0, "unreviewed": 0},
            None,
            "the base is sure of none of the pairs that nobody corrected",
        ),
    ],
)
def test_the_agreement_says_whose_pairs_it_rests_on(counts, value, detail):
    condition = judge(GOOD, **counts).conditions[-1]
    assert (condition.value, condition.detail) == (value, detail)


def test_without_a_hold_out_nothing_passes():
    gate = judge([])
    assert failed(gate) == ["holdout_accuracy", "accuracy_gain_over_champion"]
    assert [condition.value for condition in gate.conditions[:2]] == [None, None]


def test_identical_models_are_no_evidence_of_anything():
    gate = judge(outcomes(both=90, neither=10), before=0.2, after=0.2)
    assert gate.passed
    assert gate.conditions[1].detail == "0 gained, 0 lost; exact McNemar p = 1.000"


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (0, 5), (10, 10), (3, 17), (40, 60), (600, 500)])
def test_the_paired_test_is_the_exact_binomial_one(better, worse):
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert mcnemar_p(better, worse) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (17, 20), (850, 1000), (1, 1)])
def test_the_interval_is_wilsons(right, n):
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_what_was_learned_from_shuffled_labels_fails(seed):
    """Such a model's answers have nothing to do with the labels: one in three is right."""
    chance = random.Random(seed)
    held_out = [Outcome(chance.random() < 0.6, chance.random() < 1 / 3) for _ in range(60)]

    gate = judge(held_out, before=0.5, after=0.67)

    assert not gate.passed
    assert "holdout_accuracy" in failed(gate)
