"""The score of a claim: golden values, and the laws every set of edges obeys."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.claims import Score, score

EDGES = st.lists(st.tuples(st.sampled_from(["supports", "refutes", "neutral"]), st.floats(0, 1)), max_size=30)


@pytest.mark.parametrize(
    ("edges", "support_ratio", "uncertainty", "controversy"),
    [
        ([], 0.500, 0.289, 0.0),
        ([("supports", 0.9)], 0.655, 0.241, 0.0),
        ([("supports", 1.0)], 0.667, 0.236, 0.0),
        ([("supports", 0.9)] * 3 + [("refutes", 0.9)], 0.661, 0.184, 0.25),
        ([("supports", 0.9)] * 5 + [("refutes", 0.9)] * 5, 0.500, 0.144, 0.50),
        ([("neutral", 0.9)] * 4, 0.500, 0.289, 0.0),
    ],
)
def test_the_golden_values_hold(edges, support_ratio, uncertainty, controversy):
    result = score(edges)

    rounded = (round(result.support_ratio, 3), round(result.uncertainty, 3), round(result.controversy, 3))
    assert rounded == (support_ratio, uncertainty, controversy)


def test_a_score_counts_the_edges_of_each_label():
    edges = [("supports", 0.5), ("refutes", 0.25), ("neutral", 0.9), ("supports", 0.5)]

    assert score(edges) == Score(
        support_ratio=2.0 / 3.25,
        uncertainty=math.sqrt(2.0 * 1.25 / (3.25**2 * 4.25)),
        controversy=0.25 / 1.25,
        supports=2,
        refutes=1,
        neutral=1,
    )


@given(EDGES)
def test_every_score_stays_within_its_bounds(edges):
    result = score(edges)

    assert 0 < result.support_ratio < 1
    assert 0 < result.uncertainty <= math.nextafter(math.sqrt(1 / 12), 1)  # with nothing but crumbs
    assert 0 <= result.controversy <= 0.5


@given(EDGES, st.randoms(use_true_random=False))
def test_the_order_of_the_edges_does_not_matter(edges, chance: random.Random):
    shuffled = edges.copy()
    chance.shuffle(shuffled)

    assert score(shuffled) == score(edges)


@given(EDGES)
def test_swapping_supports_and_refutes_mirrors_the_score(edges):
    swap = {"supports": "refutes", "refutes": "supports", "neutral": "neutral"}
    result, mirrored = score(edges), score([(swap[label], confidence) for label, confidence in edges])

    assert mirrored.support_ratio == pytest.approx(1 - result.support_ratio)
    assert mirrored.uncertainty == pytest.approx(result.uncertainty)
    assert mirrored.controversy == result.controversy


@given(EDGES, st.floats(0.01, 1))
def test_another_support_never_lowers_the_ratio(edges, confidence):
    assert score([*edges, ("supports", confidence)]).support_ratio > score(edges).support_ratio
