"""Edges: the fold of reviews, the digests of texts, and the way between logits and probabilities."""

import hashlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.edges import Effective, effective, is_correction, logits_of, pair_digest, softmax, text_digest
from schema.vocabulary import LABELS

MODEL = Effective("supports", 0.7, "model")
TEXTS = st.text(max_size=40)
LOGITS = st.tuples(*[st.floats(-30, 30)] * 3)


@pytest.mark.parametrize(
    ("correct_labels", "expected"),
    [
        ([], MODEL),
        (["supports"], MODEL),
        (["refutes"], Effective("refutes", 1.0, "review")),
        (["refutes", "refutes"], Effective("refutes", 1.0, "review")),
        (["refutes", "supports"], Effective("supports", 1.0, "review")),
        (["supports", "neutral"], Effective("neutral", 1.0, "review")),
    ],
)
def test_reviews_are_folded_in_their_order(correct_labels, expected):
    assert effective(MODEL, correct_labels) == expected


def test_a_review_that_agrees_with_the_memory_leaves_the_source_as_it_was():
    remembered = Effective("neutral", 1.0, "memory")

    assert effective(remembered, ["neutral"]) == remembered


@given(st.lists(st.sampled_from(LABELS), min_size=1))
def test_the_last_review_decides_the_label(correct_labels):
    assert effective(MODEL, correct_labels).label == correct_labels[-1]


def test_only_a_label_other_than_the_predicted_one_is_a_correction():
    corrections = {
        (predicted, correct) for predicted in LABELS for correct in LABELS if is_correction(predicted, correct)
    }

    assert len(corrections) == 6
    assert all(predicted != correct for predicted, correct in corrections)


@pytest.mark.parametrize(
    "variant",
    [
        "caf\u00e9 open",
        "cafe\u0301 open",
        "  caf\u00e9   open ",
        "caf\u00e9\n\topen",
        "caf\u00e9\u00a0open",
        "caf\u00e9\u3000open",
    ],
)
def test_white_space_and_unicode_spelling_do_not_change_a_digest(variant):
    assert text_digest(variant) == text_digest("caf\u00e9 open")
    assert pair_digest(variant, "x") == pair_digest("caf\u00e9 open", "x")


def test_a_digest_is_the_same_on_every_machine_and_in_every_version():
    assert text_digest(" a ") == hashlib.sha256(b'["a"]').hexdigest()
    assert pair_digest("a", "é") == hashlib.sha256(b'["a", "\\u00e9"]').hexdigest()


@given(TEXTS, TEXTS)
def test_a_pair_never_has_the_digest_of_a_text(premise, hypothesis):
    assert pair_digest(premise, hypothesis) not in {text_digest(premise), text_digest(hypothesis)}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("a b", "c"), ("a", "b c")),
        (("a", "b"), ("b", "a")),
        (('a","b', "c"), ("a", 'b","c')),
        (("", "ab"), ("ab", "")),
        (("a\\", "b"), ("a", "\\b")),
        (("Water boils.", "x"), ("water boils.", "x")),
    ],
)
def test_different_pairs_have_different_digests(left, right):
    assert pair_digest(*left) != pair_digest(*right)


def test_a_lone_surrogate_has_a_digest_too():
    assert text_digest("\ud800") != text_digest("\ud801")


@given(LOGITS, st.floats(0.05, 20))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(logits, temperature):
    probabilities = softmax(logits, temperature)

    assert math.fsum(probabilities) == pytest.approx(1)
    assert probabilities[logits.index(max(logits))] == max(probabilities)


@given(LOGITS, st.floats(-1000, 1000))
def test_adding_a_constant_to_all_logits_changes_nothing(logits, constant):
    shifted = tuple(logit + constant for logit in logits)

    assert softmax(shifted) == pytest.approx(softmax(logits), abs=1e-9)


def test_huge_logits_neither_overflow_nor_divide_by_zero():
    assert softmax((1e308, -1e308, 0.0), 0.05) == (1.0, 0.0, 0.0)


@given(LOGITS)
def test_logits_of_probabilities_give_the_probabilities_back(logits):
    probabilities = softmax(logits)

    assert softmax(logits_of(probabilities)) == pytest.approx(probabilities, abs=1e-12)


def test_a_probability_of_zero_has_a_finite_logit():
    logits = logits_of((1.0, 0.0, 0.0))

    assert all(map(math.isfinite, logits))
    assert softmax(logits) == pytest.approx((1.0, 0.0, 0.0), abs=1e-300)
