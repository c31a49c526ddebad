"""Fits an intent classifier on embedded examples and measures it on examples it has not seen; a program of its own.

It reads a `FitIntents` on standard input and writes a `FittedIntents` on standard output, so that it can be killed,
leaves its libraries out of the worker, and never stands in the model thread's way.
"""

import base64
import os
import sys
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from schema.wire import FitIntents, FittedIntents, IntentFacts, IntentRecall, IntentScores

#: Inverse strength of the regularisation (docs/experiments.md): from 20 to 300 it hardly matters.
STRENGTH = 50.0
STEPS_MAX = 300
#: Of few examples a fold must not take many: the threshold would suit a classifier that knows less.
FOLDS, FOLDS_OF_MANY, MANY = 10, 5, 2_000
VALIDATION_SHARE = 0.2
#: Share of held-out examples that the threshold lets pass.
KEPT_SHARE = 0.95
#: Natural logarithm of the temperature lies within.
LOG_TEMPERATURE_MAX = 4.0
#: A gap between training and validation below this is usual where an intent has ten examples.
GAP_MAX = 0.1
#: How much a fit gives way to the worker that serves.
NICENESS = 10
#: Two-sided 95 %.
NORMAL_QUANTILE = 1.96

Floats = NDArray[np.float32]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Learned:
    """A classifier with what its cross-validation found."""

    weight: Floats  # (C, D)
    bias: Floats  # (C,)
    temperature: float
    threshold: float
    folds: int
    #: (N, C), every example answered by the classifier of the other folds.
    unseen_logits: Floats

    def logits(self, vectors: Floats) -> Floats:
        return vectors @ self.weight.T + self.bias  # (N, C)


def fit(request: FitIntents) -> FittedIntents:
    """The classifier of all examples, and the scores of one that was made without a fifth of them."""
    names, codes = np.unique(np.array(request.intents), return_inverse=True)
    vectors = _vectors(request)
    chance = np.random.default_rng(request.seed)
    is_validation = held_out(codes, chance)
    part = learn(vectors[~is_validation], codes[~is_validation], chance)
    whole = learn(vectors, codes, chance)

    train_accuracy = float((part.logits(vectors[~is_validation]).argmax(axis=1) == codes[~is_validation]).mean())
    validation = scores(part.logits(vectors[is_validation]), codes[is_validation], part.threshold)
    hits = whole.unseen_logits.argmax(axis=1) == codes
    facts = IntentFacts(
        intents=names.tolist(),
        temperature=whole.temperature,
        threshold=whole.threshold,
        folds=whole.folds,
        cross_validated=scores(whole.unseen_logits, codes, whole.threshold),
        validation=validation,
        train_accuracy=train_accuracy,
        is_overfit=is_overfit(train_accuracy, validation),
        per_intent=[
            IntentRecall(intent=name, examples=int((codes == code).sum()), recall=float(hits[codes == code].mean()))
            for code, name in enumerate(names.tolist())
        ],
    )
    weights = save({"weight": whole.weight, "bias": whole.bias})
    return FittedIntents(weights=base64.b64encode(weights).decode(), facts=facts)


def _vectors(request: FitIntents) -> Floats:
    """
    Raises:
        ValueError: not as many numbers as the request says, or numbers that are not finite.
    """
    flat = np.frombuffer(base64.b64decode(request.vectors, validate=True), dtype="<f4")
    vectors = flat.reshape(len(request.intents), request.dimension)  # (N, D)
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")
    return vectors.astype(np.float32)


def learn(vectors: Floats, codes: Codes, chance: np.random.Generator) -> Learned:
    """Fit on everything; temperature and threshold come from folds that were held out in turn."""
    unseen = np.empty((len(codes), codes.max() + 1), dtype=np.float32)  # (N, C)
    folds = assign_folds(codes, chance)
    for fold in range(folds.max() + 1):
        outside = folds != fold
        weight, bias = regress(vectors[outside], codes[outside])
        unseen[~outside] = vectors[~outside] @ weight.T + bias
    temperature = fit_temperature(unseen, codes)
    threshold = float(np.quantile(familiarity(unseen), 1 - KEPT_SHARE, method="lower"))
    return Learned(*regress(vectors, codes), temperature, threshold, int(folds.max()) + 1, unseen)


def familiarity(logits: Floats) -> Floats:
    """How much a text is like any example at all, (N,) in nats: the log of the summed exponentials of its logits.

    The confidence is a poor measure of that: at 95 % kept it rejects three fifths of the foreign texts where this
    rejects three quarters (docs/benchmarks.md).

    Source: Liu et al. 2020, "Energy-based out-of-distribution detection", equation 4, at temperature 1.
    """
    said: Floats = logsumexp(logits, axis=1)
    return said


def regress(vectors: Floats, codes: Codes) -> tuple[Floats, Floats]:
    """Multinomial logistic regression: weight (C, D) and bias (C,)."""
    model = LogisticRegression(C=STRENGTH, max_iter=STEPS_MAX)
    with warnings.catch_warnings():
        # Weights a little short of the optimum classify as well; the scores are measured, not assumed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, codes)
    # By rows: scikit-learn keeps columns, and safetensors writes memory as it lies.
    weight: Floats = np.ascontiguousarray(model.coef_, dtype=np.float32)
    bias: Floats = np.asarray(model.intercept_, dtype=np.float32)
    if len(weight) == 1:  # of two intents only the second has weights; softmax of halves is the same sigmoid
        half, middle = weight / np.float32(2), bias / np.float32(2)
        weight, bias = np.concatenate([-half, half]), np.concatenate([-middle, middle])
    return weight, bias


def held_out(codes: Codes, chance: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a fifth, and of each intent as near to its fifth as whole examples allow."""
    chosen = np.zeros(len(codes), dtype=bool)
    owed = 0.5
    for code in chance.permutation(codes.max() + 1):
        places = chance.permutation(np.flatnonzero(codes == code))
        owed += VALIDATION_SHARE * len(places)
        count = int(owed)
        chosen[places[:count]] = True
        owed -= count
    return chosen


def assign_folds(codes: Codes, chance: np.random.Generator) -> Codes:
    """A fold for each example; the examples of one intent are spread as evenly as they can be."""
    count = FOLDS if len(codes) < MANY else FOLDS_OF_MANY
    folds = np.empty(len(codes), dtype=np.int64)
    first = 0
    for code in range(codes.max() + 1):
        places = chance.permutation(np.flatnonzero(codes == code))
        folds[places] = (first + np.arange(len(places))) % count
        first += len(places)
    return folds


def fit_temperature(logits: Floats, codes: Codes) -> float:
    """The temperature with the smallest negative log-likelihood.

    The target leaves room for one mistake more than was seen, else a set without mistakes would claim certainty.

    Source: Guo et al. 2017, section 4.2; the target is Platt's (1999, section 2.2).
    """
    rows, others = np.arange(len(codes)), logits.shape[1] - 1
    room = 1.0 / (len(codes) + 2)

    def loss(log_temperature: float) -> float:
        said = log_softmax(logits.astype(np.float64) / np.exp(log_temperature), axis=1)
        right = said[rows, codes]
        wrong = (said.sum(axis=1) - right) / others
        return float(-((1 - room) * right + room * wrong).mean())

    found = minimize_scalar(loss, bounds=(-LOG_TEMPERATURE_MAX, LOG_TEMPERATURE_MAX), method="bounded")
    return float(np.exp(found.x))


def scores(logits: Floats, codes: Codes, threshold: float) -> IntentScores:
    """Accuracy and macro-F1 as if nothing were `unknown`, and the share that is not."""
    found = logits.argmax(axis=1)
    present = np.unique(codes)
    return IntentScores(
        n=len(codes),
        accuracy=float((found == codes).mean()),
        macro_f1=float(f1_score(codes, found, labels=present, average="macro", zero_division=0)),
        kept=float((familiarity(logits) >= threshold).mean()),
    )


def is_overfit(train_accuracy: float, validation: IntentScores) -> bool:
    """The gap is wide, and wider than so few validation examples could make it.

    Source: Wilson 1927, the upper end of the score interval.
    """
    n, p, z2 = validation.n, validation.accuracy, NORMAL_QUANTILE**2
    upper = (p + z2 / (2 * n) + NORMAL_QUANTILE * (p * (1 - p) / n + z2 / (4 * n * n)) ** 0.5) / (1 + z2 / n)
    return train_accuracy - p > GAP_MAX and train_accuracy > upper


def main() -> None:
    os.nice(NICENESS)
    request = FitIntents.model_validate_json(sys.stdin.buffer.read())
    sys.stdout.write(fit(request).model_dump_json())


if __name__ == "__main__":
    main()
