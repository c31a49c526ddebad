"""Temperature scaling: one number that makes confidences honest and changes no label. Source: Guo et al. 2017."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lyra_mcp.domain.edges import Triple, logits_of, softmax
from lyra_mcp.domain.statistics import RESAMPLES, Sample, mean_interval, nll_of
from lyra_mcp.errors import TooFewReviews

REVIEWS_MIN = 10
FOLDS = 5
TEMPERATURE_MIN, TEMPERATURE_MAX = 0.05, 20.0
#: A rise of the Brier score beyond this share of the previous one is reported as a degradation.
DEGRADED_RISE = 0.05
_STEPS_MAX = 60
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Fit:
    #: Fitted on all samples; it serves only if `is_kept`.
    temperature: float
    samples: int
    #: Mean out-of-fold negative log-likelihood in nats, with the current temperature and with the fitted ones.
    nll_before: float
    nll_after: float
    #: Before less after, so that more is better, with its paired bootstrap 95 % interval.
    gain: float
    gain_low: float
    gain_high: float
    is_kept: bool
    #: One sentence for a person: why it was kept or not.
    reason: str


def fit_temperature(logits: Sequence[Triple], golds: Sequence[int], weights: Sequence[float] | None = None) -> float:
    """Find the temperature in [0.05, 20] with the smallest weighted negative log-likelihood.

    The likelihood is convex in 1 / temperature, so its slope has one zero; without one inside, a bound is the answer
    (all predictions right: colder is always better; no better than chance: hotter is).
    """
    rows = list(zip(logits, golds, weights or [1.0] * len(golds), strict=True))
    assert rows, "a temperature needs at least one sample"
    low, high = 1.0 / TEMPERATURE_MAX, 1.0 / TEMPERATURE_MIN
    if _slope(rows, low)[0] >= 0.0:
        return TEMPERATURE_MAX
    if _slope(rows, high)[0] <= 0.0:
        return TEMPERATURE_MIN
    inverse = 1.0
    for _ in range(_STEPS_MAX):
        slope, curvature = _slope(rows, inverse)
        low, high = (inverse, high) if slope < 0.0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0.0 else math.inf
        # Newton's step where it stays between the bounds, else the middle: never slower than bisection for long.
        step = newton if low < newton < high else (low + high) / 2.0
        if abs(step - inverse) <= _TOLERANCE * inverse:
            break
        inverse = step
    return 1.0 / inverse


def cross_validate(
    samples: Sequence[Sample],
    current_temperature: float,
    *,
    folds: int = FOLDS,
    chance: random.Random,
    resamples: int = RESAMPLES,
) -> Fit:
    """Fit a temperature and judge it on samples it was not fitted on.

    The samples carry the model's probabilities before any temperature. Raises TooFewReviews below 10.
    """
    if len(samples) < REVIEWS_MIN:
        raise TooFewReviews(
            f"a temperature needs at least {REVIEWS_MIN} reviews of what serves now, and there are {len(samples)}; "
            "review_queue() offers edges, feedback(action='edge_correct') takes the answers"
        )
    logits = [logits_of(sample.probabilities) for sample in samples]
    golds, weights = [sample.gold for sample in samples], [sample.weight for sample in samples]
    before = [_nll(sample, logit, current_temperature) for sample, logit in zip(samples, logits, strict=True)]
    after = [0.0] * len(samples)
    for fold in _stratified_folds(golds, folds, chance):
        rest = sorted(set(range(len(samples))).difference(fold))
        temperature = fit_temperature([logits[i] for i in rest], [golds[i] for i in rest], [weights[i] for i in rest])
        for index in fold:
            after[index] = _nll(samples[index], logits[index], temperature)
    gains = [old - new for old, new in zip(before, after, strict=True)]
    gain = mean_interval(gains, weights, chance=chance, resamples=resamples)
    temperature = fit_temperature(logits, golds, weights)
    is_kept, reason = _verdict(temperature, gain.low)
    return Fit(
        temperature=temperature,
        samples=len(samples),
        nll_before=_mean(before, weights),
        nll_after=_mean(after, weights),
        gain=_mean(gains, weights),
        gain_low=gain.low,
        gain_high=gain.high,
        is_kept=is_kept,
        reason=reason,
    )


def is_degraded(previous_brier: float, brier: float) -> bool:
    """Say whether the Brier score rose by more than 5 % of the previous one; exactly 5 % is not more."""
    return brier - previous_brier > DEGRADED_RISE * previous_brier + 1e-12


def _slope(rows: Sequence[tuple[Triple, int, float]], inverse: float) -> tuple[float, float]:
    """First and second derivative of the summed negative log-likelihood by the inverse temperature."""
    slope, curvature = 0.0, 0.0
    for logits, gold, weight in rows:
        probabilities = softmax(logits, 1.0 / inverse)
        # Distances to the gold logit: the same derivative, and no large numbers that cancel.
        distances = [logit - logits[gold] for logit in logits]
        mean = sum(p * d for p, d in zip(probabilities, distances, strict=True))
        slope += weight * mean
        curvature += weight * sum(p * (d - mean) ** 2 for p, d in zip(probabilities, distances, strict=True))
    return slope, curvature


def _stratified_folds(golds: Sequence[int], folds: int, chance: random.Random) -> list[list[int]]:
    """Indices shuffled, then dealt out label by label, so that each fold has its share of every label."""
    order = list(range(len(golds)))
    chance.shuffle(order)
    order.sort(key=golds.__getitem__)
    return [order[start::folds] for start in range(folds)]


def _verdict(temperature: float, gain_low: float) -> tuple[bool, str]:
    if temperature in {TEMPERATURE_MIN, TEMPERATURE_MAX}:
        # Ten right answers would otherwise make every confidence 1.
        return False, (
            f"not kept: no best temperature exists between {TEMPERATURE_MIN} and {TEMPERATURE_MAX}, because the "
            "reviews show only right answers or no skill at all; review more edges of all kinds"
        )
    if gain_low > 0.0:
        return True, "kept: on reviews it was not fitted on, the likelihood is better beyond the doubt of chance"
    return False, "not kept: on reviews it was not fitted on, the gain in likelihood may be chance; review more edges"


def _nll(sample: Sample, logits: Triple, temperature: float) -> float:
    return nll_of(replace(sample, probabilities=softmax(logits, temperature)))


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)
