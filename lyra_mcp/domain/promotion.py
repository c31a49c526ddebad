"""May a trained adapter serve? It must beat what serves today on data it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

#: Of the standard normal distribution, for a 95 % interval.
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Condition:
    name: str
    #: Null where it could not be measured; then it is not met.
    value: float | None
    threshold: float
    met: bool
    #: One sentence with what the number rests on.
    detail: str


@dataclass(frozen=True, slots=True)
class Gate:
    passed: bool
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One held-out pair: was today's champion right, and was the candidate?"""

    champion_right: bool
    candidate_right: bool


@dataclass(frozen=True, slots=True)
class Measured:
    outcomes: Sequence[Outcome]
    champion_brier: float
    candidate_brier: float
    #: Pairs the base is sure of and nobody corrected: how many there are, on how many the candidate says the same, and
    #: how many of them are the user's unreviewed ones; the others were built from held-out texts.
    compared: int
    agreed: int
    unreviewed: int


def decide(measured: Measured, *, accuracy_min: float, agreement_min: float) -> Gate:
    """Judge a candidate on the hold-out.

    Accuracy and Brier are compared with the champion on the same pairs; equal is enough, worse is not. The paired test
    (McNemar, exact) and the interval (Wilson) are shown so that a person sees what a small hold-out can tell.
    """
    conditions = (
        _accuracy(measured.outcomes, accuracy_min),
        _not_worse(measured.outcomes),
        _brier(measured),
        _agreement(measured, agreement_min),
    )
    return Gate(all(condition.met for condition in conditions), conditions)


def mcnemar_p(better: int, worse: int) -> float:
    """Two-sided exact p of the discordant pairs under a fair coin. Source: McNemar 1947."""
    n = better + worse
    if n == 0:
        return 1.0
    tail: float = sum(comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(1.0, 2 * tail)


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson 1927."""
    share, z2 = right / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _accuracy(outcomes: Sequence[Outcome], threshold: float) -> Condition:
    n, right = len(outcomes), sum(outcome.candidate_right for outcome in outcomes)
    if n == 0:
        return Condition("holdout_accuracy", None, threshold, False, "nothing was held out")
    low, high = wilson_interval(right, n)
    value = right / n
    return Condition(
        "holdout_accuracy",
        value,
        threshold,
        value >= threshold,
        f"{right} of {n}; 95 % interval {low:.3f} to {high:.3f}",
    )


def _not_worse(outcomes: Sequence[Outcome]) -> Condition:
    better = sum(outcome.candidate_right and not outcome.champion_right for outcome in outcomes)
    worse = sum(outcome.champion_right and not outcome.candidate_right for outcome in outcomes)
    value = (better - worse) / len(outcomes) if outcomes else None
    detail = f"{better} gained, {worse} lost; exact McNemar p = {mcnemar_p(better, worse):.3f}"
    return Condition("accuracy_gain_over_champion", value, 0.0, value is not None and value >= 0, detail)


def _brier(measured: Measured) -> Condition:
    value = measured.champion_brier - measured.candidate_brier
    detail = f"{measured.champion_brier:.3f} before, {measured.candidate_brier:.3f} after"
    return Condition("brier_gain_over_champion", value, 0.0, value >= 0, detail)


def _agreement(measured: Measured, threshold: float) -> Condition:
    if measured.compared == 0:
        detail = "the base is sure of none of the pairs that nobody corrected"
        return Condition("agreement_with_base", None, threshold, False, detail)
    value = measured.agreed / measured.compared
    return Condition(
        "agreement_with_base",
        value,
        threshold,
        value >= threshold,
        f"{measured.agreed} of {measured.compared} pairs the base is sure of; {_origin(measured)}",
    )


def _origin(measured: Measured) -> str:
    """Built pairs say less about what the user asks than their own do, so a person should see which they are."""
    if measured.unreviewed == 0:
        return "none of them your own, all built from held-out texts"
    if measured.unreviewed == measured.compared:
        return "all of them your own unreviewed ones"
    return f"{measured.unreviewed} of them your own unreviewed ones, the rest built from held-out texts"
