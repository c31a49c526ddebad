"""Scores of an NLI model on labelled pairs: what it got right, and whether its confidence means what it says."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schema.reports import LabelScores, ReliabilityBin, Scores, ScoresPerLabel
from schema.vocabulary import LABELS, Label
from schema.wire import PerLabel

Probabilities = npt.NDArray[np.float64]
BINS = 10

#: Weight of staying at the temperature the base was shipped with, in samples: a few samples may not move it far.
TEMPERATURE_PRIOR_SAMPLES = 10.0
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(5.0), 400))


def probabilities(logits: Probabilities, columns: Sequence[Label], temperature: float) -> Probabilities:
    """(N, 3) logits in the order of `columns` to (N, 3) probabilities in the order of `LABELS`; rows sum to 1."""
    ordered = logits[:, [columns.index(label) for label in LABELS]] / temperature
    powers = np.exp(ordered - ordered.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def as_columns(labels: Sequence[Label]) -> npt.NDArray[np.int64]:
    """(N,) indices into `LABELS`."""
    return np.array([LABELS.index(label) for label in labels], dtype=np.int64)


def per_label(row: Probabilities) -> PerLabel:
    return PerLabel(**{label: float(value) for label, value in zip(LABELS, row, strict=True)})


def negative_log_likelihood(found: Probabilities, gold: npt.NDArray[np.int64]) -> float:
    """Mean, in nats; a certain and wrong answer costs as much as the smallest float allows, not infinity."""
    of_gold = found[np.arange(len(gold)), gold]
    return float(-np.log(np.maximum(of_gold, np.finfo(np.float64).tiny)).mean())


def fit_temperature(
    logits: Probabilities, columns: Sequence[Label], labels: Sequence[Label], *, shipped: float
) -> float:
    """The temperature with the lowest negative log-likelihood, held near the shipped one while samples are few.

    The prior is the squared log distance, worth `TEMPERATURE_PRIOR_SAMPLES` samples.
    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """
    gold = as_columns(labels)

    def cost(temperature: float) -> float:
        fit = len(gold) * negative_log_likelihood(probabilities(logits, columns, temperature), gold)
        return fit + TEMPERATURE_PRIOR_SAMPLES * float(np.log(temperature / shipped) ** 2)

    return float(min(_TEMPERATURES, key=cost))


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def _label_scores(confusion: npt.NDArray[np.int64], column: int) -> LabelScores:
    right, answered, support = confusion[column, column], confusion[:, column].sum(), confusion[column].sum()
    return LabelScores(
        precision=_ratio(right, answered),
        recall=_ratio(right, support),
        f1=_ratio(2 * right, answered + support),
        support=int(support),
    )


def reliability(found: Probabilities, gold: npt.NDArray[np.int64], *, count: int = BINS) -> list[ReliabilityBin]:
    """Bins of equal width over the confidence of the answer; the lowest includes 0."""
    confidence, right = found.max(axis=1), found.argmax(axis=1) == gold
    index = np.clip(np.ceil(confidence * count).astype(int) - 1, 0, count - 1)
    bins = []
    for number in range(count):
        inside = index == number
        bins.append(
            ReliabilityBin(
                low=number / count,
                high=(number + 1) / count,
                n=int(inside.sum()),
                confidence=float(confidence[inside].mean()) if inside.any() else None,
                accuracy=float(right[inside].mean()) if inside.any() else None,
            )
        )
    return bins


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    total = sum(b.n for b in bins)
    return (
        sum(b.n * abs(b.confidence - b.accuracy) for b in bins if b.confidence is not None and b.accuracy is not None)
        / total
    )


def score(found: Probabilities, labels: Sequence[Label], *, temperature: float) -> Scores:
    """Score (N, 3) probabilities, columns in the order of `LABELS`, against the people's labels; N >= 1."""
    assert len(labels) == len(found) > 0, "a score needs samples"
    gold = as_columns(labels)
    confusion = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(confusion, (gold, found.argmax(axis=1)), 1)
    by_label = {label: _label_scores(confusion, column) for column, label in enumerate(LABELS)}
    defined = [scores.f1 for scores in by_label.values() if scores.f1 is not None]
    bins = reliability(found, gold)
    return Scores(
        n=len(gold),
        accuracy=float((found.argmax(axis=1) == gold).mean()),
        brier=float(((found - np.eye(len(LABELS))[gold]) ** 2).sum(axis=1).mean()),
        nll=negative_log_likelihood(found, gold),
        ece=expected_calibration_error(bins),
        macro_f1=sum(defined) / len(defined),
        per_label=ScoresPerLabel(**by_label),
        confusion=confusion.tolist(),
        reliability=bins,
        temperature=temperature,
    )
