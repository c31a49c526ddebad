"""Fitting an intent classifier: what it reports is about examples it has not seen, and the server can read it."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from lyra_mcp.domain.intents import IntentModel, predict, read_classifier
from ml_worker import intents
from schema.wire import FitIntents

DIMENSION = 24
NAMES = ("a", "b", "c", "d")


def examples(count, *, names=NAMES, noise=0.25, seed=0, dimension=DIMENSION):
    """(intents, vectors) around one direction for each intent."""
    chance = np.random.default_rng(seed)
    centres = np.eye(dimension)[: len(names)]
    labels = [names[number % len(names)] for number in range(count)]
    vectors = np.array([centres[names.index(label)] for label in labels])
    vectors = vectors + noise * chance.standard_normal(vectors.shape)
    return labels, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")


def order(labels, vectors, *, seed=0):
    encoded = base64.b64encode(vectors.tobytes()).decode()
    return FitIntents(intents=labels, vectors=encoded, dimension=vectors.shape[1], seed=seed)


def as_kept(fitted):
    return IntentModel(1, "e", "f", 1, fitted.facts, base64.b64decode(fitted.weights), 1, "")


def test_the_same_seed_gives_the_same_bytes_and_another_splits_otherwise():
    given_order = order(*examples(80, noise=0.5))

    first, again = intents.fit(given_order), intents.fit(given_order)
    other = intents.fit(given_order.model_copy(update={"seed": 1}))

    assert first == again
    assert other.weights == first.weights  # every example is in it, whatever the folds
    assert other.facts.threshold != first.facts.threshold


@pytest.mark.parametrize("names", [("a", "b"), NAMES], ids=["two intents", "four"])
def test_the_server_says_what_the_worker_computed(names):
    labels, vectors = examples(60, names=names)
    fitted = intents.fit(order(labels, vectors))
    codes = np.array([names.index(label) for label in labels])
    weight, bias = intents.regress(vectors, codes)
    logits = vectors @ weight.T + bias
    expected = softmax(logits / fitted.facts.temperature, axis=1)

    classifier = read_classifier(as_kept(fitted))
    said = [predict(classifier, vector.tolist()) for vector in vectors]

    assert [one.familiarity for one in said] == pytest.approx(logsumexp(logits, axis=1).tolist(), abs=1e-4)
    for one, probabilities in zip(said, expected, strict=True):
        assert {guess.intent: guess.confidence for guess in one.guesses} == pytest.approx(
            dict(zip(names, probabilities.tolist(), strict=True)), abs=1e-4
        )


def test_labels_by_chance_are_told_by_every_score_but_the_one_on_the_training_part():
    _, vectors = examples(200, noise=1.0, dimension=120)
    labels = np.random.default_rng(3).choice(NAMES, 200).tolist()

    facts = intents.fit(order(labels, vectors)).facts

    assert facts.train_accuracy > 0.9
    assert facts.cross_validated.accuracy < 0.45
    assert facts.validation.accuracy < 0.5
    assert facts.is_overfit


def test_what_is_easy_is_not_called_overfit_and_keeps_95_percent():
    facts = intents.fit(order(*examples(200))).facts

    assert facts.cross_validated.n == 200
    assert facts.cross_validated.accuracy > 0.95
    assert facts.cross_validated.macro_f1 == pytest.approx(facts.cross_validated.accuracy, abs=0.02)
    assert facts.cross_validated.kept == pytest.approx(0.95, abs=0.006)
    assert (facts.validation.n, facts.is_overfit, facts.folds) == (40, False, 10)
    assert [(one.intent, one.examples) for one in facts.per_intent] == [(name, 50) for name in NAMES]


@given(st.lists(st.integers(3, 40), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_a_fifth_of_each_intent_is_held_out_as_near_as_whole_examples_allow(counts, seed):
    codes = np.repeat(np.arange(len(counts)), counts)

    chosen = intents.held_out(codes, np.random.default_rng(seed))

    assert abs(chosen.sum() - len(codes) / 5) <= 1
    for code, count in enumerate(counts):
        assert abs(chosen[codes == code].sum() - count / 5) <= 1
        assert (~chosen[codes == code]).sum() >= 2


@given(st.lists(st.integers(2, 40), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_every_fold_leaves_examples_of_every_intent_to_learn_from(counts, seed):
    codes = np.repeat(np.arange(len(counts)), counts)

    folds = intents.assign_folds(codes, np.random.default_rng(seed))

    sizes = np.bincount(folds, minlength=intents.FOLDS)
    assert sizes.max() - sizes.min() <= 1
    for fold in range(intents.FOLDS):
        assert set(codes[folds != fold]) == set(range(len(counts)))


def test_the_temperature_that_made_the_labels_is_found():
    chance = np.random.default_rng(5)
    logits = 4 * chance.standard_normal((4000, 5)).astype(np.float32)
    codes = np.array([chance.choice(5, p=row) for row in softmax(logits.astype(float) / 2.5, axis=1)])

    assert intents.fit_temperature(logits, codes) == pytest.approx(2.5, rel=0.06)


def test_a_set_without_a_mistake_does_not_make_it_certain():
    fitted = intents.fit(order(*examples(60, noise=0.01)))

    said = predict(read_classifier(as_kept(fitted)), np.eye(DIMENSION)[0].tolist())

    assert fitted.facts.cross_validated.accuracy == 1.0
    assert 0.9 < said.guesses[0].confidence < 0.999


def test_a_vector_like_no_example_is_unknown():
    classifier = read_classifier(as_kept(intents.fit(order(*examples(80)))))

    assert predict(classifier, np.eye(DIMENSION)[1].tolist()).intent == "b"
    assert predict(classifier, np.eye(DIMENSION)[-1].tolist()).intent == "unknown"


def test_numbers_that_are_not_finite_are_refused():
    labels, vectors = examples(40)
    vectors[3, 3] = np.nan

    with pytest.raises(ValueError, match="finite"):
        intents.fit(order(labels, vectors))
