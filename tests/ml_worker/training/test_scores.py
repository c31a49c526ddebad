"""The numbers of the report, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from ml_worker.evaluation.nli import fit_temperature, probabilities, score
from schema.vocabulary import LABELS

CHANCE = np.random.default_rng(5)


@pytest.fixture
def found():
    return CHANCE.dirichlet((1, 1, 1), size=200)


@pytest.fixture
def gold():
    return [LABELS[i] for i in CHANCE.integers(0, 3, size=200)]


def test_the_scores_are_those_of_scikit_learn(found, gold):
    scores = score(found, gold, temperature=1.0)
    answers = [LABELS[i] for i in found.argmax(axis=1)]
    expected = metrics.precision_recall_fscore_support(gold, answers, labels=list(LABELS))

    for column, label in enumerate(LABELS):
        one = getattr(scores.per_label, label)
        assert (one.precision, one.recall, one.f1, one.support) == pytest.approx([row[column] for row in expected])
    assert scores.accuracy == metrics.accuracy_score(gold, answers)
    assert scores.confusion == metrics.confusion_matrix(gold, answers, labels=list(LABELS)).tolist()
    assert scores.nll == pytest.approx(
        -np.mean([np.log(row[LABELS.index(g)]) for row, g in zip(found, gold, strict=True)])
    )


def test_brier_and_calibration_error_by_hand():
    found = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.25, 0.25]])
    scores = score(found, ["supports", "supports", "neutral"], temperature=1.0)

    assert scores.brier == pytest.approx((0 + 2 + 0.25 + 0.0625 + 0.5625) / 3)
    assert scores.ece == pytest.approx((2 * abs(1 - 0.5) + 1 * abs(0.5 - 0)) / 3)
    assert sum(b.n for b in scores.reliability) == 3
    assert np.isfinite(scores.nll)


def test_a_label_nobody_gave_has_no_recall():
    scores = score(np.array([[0.9, 0.05, 0.05]]), ["supports"], temperature=1.0)

    assert (scores.per_label.neutral.recall, scores.per_label.neutral.precision) == (None, None)


def test_columns_follow_their_names():
    logits = np.array([[3.0, 1.0, 0.0]])
    found = probabilities(logits, ("refutes", "supports", "neutral"), 1.0)

    assert found.argmax() == LABELS.index("refutes")
    assert found.sum() == pytest.approx(1)


def test_overconfident_answers_get_a_higher_temperature():
    logits = np.repeat([[6.0, 0.0, 0.0]], 300, axis=0)
    gold = ["supports"] * 180 + ["refutes"] * 60 + ["neutral"] * 60

    assert fit_temperature(logits, LABELS, gold, shipped=1.0) > 3
    assert 1 < fit_temperature(logits[:5], LABELS, gold[178:183], shipped=1.0) < 3
