"""How a preference is learned: from ratings, credited to the value that was in force, and from hints in the words.

Each value of a key has a chance of pleasing the person, unknown, with a Beta distribution. A rating of an answer moves
the value that shaped it, a hint moves all values of its key, and both fade with their age. What is learned is the value
that most probably pleases most, once enough speaks for it; docs/personalization.md has the formulas.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate

from lyra_mcp.domain.preferences import values_of
from schema.vocabulary import EvidenceOrigin

#: An observation counts half after this time.
HALF_LIFE_DAYS = 90.0
#: Observations of a key below which nothing is learned of it.
EVIDENCE_MIN = 3
#: Probability of being the best below which nothing is learned.
CONFIDENCE_MIN = 0.75
#: Tosses of a coin that a rating counts as. Ratings of equal answers scatter by about a star, a fourth of what a coin
#: does (variance 1/16 of the range against 1/4), so four would be right if they were independent; two is the half of
#: it, and ratings without any pattern then teach something in one of six cases (docs/personalization.md).
RATING_TOSSES = 2.0
#: A hint weighs a fourth of a rating of five: words are ambiguous, a rating is a decision.
HINT_WEIGHT = 0.5
#: Points at which the densities are computed; a distribution after some hundred ratings is about five of them wide.
GRID_POINTS = 200
#: Stands for every value of an open key that was never seen, with the prior of one value.
UNSEEN = ""

_SECONDS_PER_DAY = 86_400.0
_GRID = tuple((number + 0.5) / GRID_POINTS for number in range(GRID_POINTS))
_LOGS = tuple((math.log(x), math.log1p(-x)) for x in _GRID)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation of one key."""

    key: str
    value: str
    #: In [-1, 1]; below zero it speaks against the value.
    weight: float
    origin: EvidenceOrigin
    #: The conversation it was seen in.
    memory_id: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Beta:
    """What is believed about the chance, in [0, 1], that a value pleases: pseudo-counts, both at least 1."""

    pleased: float
    displeased: float


@dataclass(frozen=True, slots=True)
class Learned:
    value: str
    #: Probability that it pleases more than every other value, in [0, 1].
    confidence: float


def rating_weight(rating: int) -> float:
    """1 to 5 stars as -1 to 1; three speak neither for nor against."""
    return (rating - 3) / 2


def beliefs(key: str, evidence: Iterable[Evidence], *, now: datetime) -> dict[str, Beta]:
    """What is believed of each value of a key.

    A rating of weight w is, after its decay d and with n tosses, nd(1 + w)/2 of a person pleased and nd(1 - w)/2 of
    one displeased with the value in force. A hint is dw of a person pleased with its value, and displeased with every
    other.
    Source: Beta-Bernoulli bandits with rewards in [0, 1] (Thompson 1933; Agrawal and Goyal 2012, section 2).
    """
    observed = list(evidence)
    values = values_of(key) or (*dict.fromkeys(one.value for one in observed), UNSEEN)
    pleased, displeased = dict.fromkeys(values, 1.0), dict.fromkeys(values, 1.0)
    for one in observed:
        if one.value not in pleased:
            continue
        decay = 0.5 ** (age_days(one.created_at, now) / HALF_LIFE_DAYS)
        if one.origin == "rating":
            pleased[one.value] += RATING_TOSSES * decay * (1 + one.weight) / 2
            displeased[one.value] += RATING_TOSSES * decay * (1 - one.weight) / 2
        else:
            pleased[one.value] += decay * one.weight
            for other in values:
                displeased[other] += 0.0 if other == one.value else decay * one.weight
    return {value: Beta(pleased[value], displeased[value]) for value in values}


def chances_of_being_best(believed: Mapping[str, Beta]) -> dict[str, float]:
    """For each value the probability that its chance of pleasing is the largest; they sum to 1.

    The integral over x of the value's density times the probabilities that each other lies below x, on a grid.
    """
    densities = {value: _density(beta) for value, beta in believed.items()}
    below = {value: _cumulated(density) for value, density in densities.items()}
    raw = {}
    for value, density in densities.items():
        others = [below[other] for other in believed if other != value]
        raw[value] = sum(map(math.prod, zip(density, *others, strict=True)))
    total = sum(raw.values())  # 1 up to the error of the grid
    return {value: chance / total for value, chance in raw.items()}


def learn(key: str, evidence: Sequence[Evidence], *, now: datetime) -> Learned | None:
    """What the evidence of one key teaches; None where it does not suffice."""
    if len(evidence) < EVIDENCE_MIN:
        return None
    chances = chances_of_being_best(beliefs(key, evidence, now=now))
    best = max(chances, key=lambda value: chances[value])
    if best == UNSEEN or chances[best] < CONFIDENCE_MIN:
        return None
    return Learned(best, chances[best])


def age_days(created_at: str, now: datetime) -> float:
    """Never below zero: a clock may have been set back."""
    return max(0.0, (now - datetime.fromisoformat(created_at)).total_seconds() / _SECONDS_PER_DAY)


@lru_cache(maxsize=256)
def _density(beta: Beta) -> tuple[float, ...]:
    """The mass of each cell of the grid; it sums to 1."""
    logs = [(beta.pleased - 1) * low + (beta.displeased - 1) * high for low, high in _LOGS]
    top = max(logs)
    masses = [math.exp(log - top) for log in logs]
    total = sum(masses)
    return tuple(mass / total for mass in masses)


def _cumulated(density: Sequence[float]) -> list[float]:
    """For each cell the mass below its middle."""
    return [total - mass / 2 for total, mass in zip(accumulate(density), density, strict=True)]
