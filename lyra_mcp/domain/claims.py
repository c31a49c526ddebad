"""How strongly the stored evidence supports a claim; not a probability that the claim is true."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from schema.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Score:
    #: Mean of Beta(1 + supports, 1 + refutes), in (0, 1); .5 without evidence.
    support_ratio: float
    #: Standard deviation of the same distribution, in (0, .289].
    uncertainty: float
    #: Share of the weaker side in the evidence, in [0, .5].
    controversy: float
    #: How many edges carry each label.
    supports: int
    refutes: int
    neutral: int


def score(edges: Iterable[tuple[Label, float]]) -> Score:
    """Score a claim from the effective (label, confidence) of its edges.

    The caller leaves out what does not count: `cites` edges and blocked domains.
    """
    confidences: dict[Label, list[float]] = {"supports": [], "refutes": [], "neutral": []}
    for label, confidence in edges:
        assert 0.0 <= confidence <= 1.0, f"confidence {confidence} outside [0, 1]"
        confidences[label].append(confidence)
    # fsum: the same edges in another order give the same score to the last bit.
    supporting, refuting = math.fsum(confidences["supports"]), math.fsum(confidences["refutes"])
    alpha, beta = 1.0 + supporting, 1.0 + refuting
    total = alpha + beta
    evidence = supporting + refuting
    return Score(
        support_ratio=alpha / total,
        uncertainty=math.sqrt(alpha * beta / (total * total * (total + 1.0))),
        controversy=min(supporting, refuting) / evidence if evidence > 0.0 else 0.0,
        supports=len(confidences["supports"]),
        refutes=len(confidences["refutes"]),
        neutral=len(confidences["neutral"]),
    )
