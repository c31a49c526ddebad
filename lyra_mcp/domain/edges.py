"""What counts of an edge after its reviews, and when two pairs of texts are the same pair."""

import hashlib
import json
import math
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from schema.vocabulary import Label, LabelSource

#: Three numbers in the order of `schema.vocabulary.LABELS`.
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Effective:
    """What counts of an edge now."""

    label: Label
    confidence: float
    label_source: LabelSource


def effective(start: Effective, correct_labels: Iterable[Label]) -> Effective:
    """Fold the labels of the active reviews, oldest first, over what counted before any of them.

    A review that agrees is kept by the caller but changes nothing here: the confidence stays the model's.
    """
    now = start
    for correct_label in correct_labels:
        if correct_label != now.label:
            now = Effective(correct_label, 1.0, "review")
    return now


def is_correction(predicted: Label, correct: Label) -> bool:
    """Say whether a review contradicts the model, whatever earlier reviews said."""
    return predicted != correct


def text_digest(text: str) -> str:
    """SHA-256 in hex of a text; spelling variants of Unicode and white space do not count."""
    return _digest(text)


def pair_digest(premise: str, hypothesis: str) -> str:
    """SHA-256 in hex of an ordered pair of texts, each normalised as in `text_digest`."""
    return _digest(premise, hypothesis)


def _digest(*texts: str) -> str:
    # A JSON array keeps ("a b", "c") and ("a", "b c") apart, and a text apart from a pair; ASCII never fails to encode.
    canonical = json.dumps([_normalised(text) for text in texts], ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def softmax(logits: Triple, temperature: float = 1.0) -> Triple:
    """Turn logits into probabilities at a temperature > 0; any finite logits are safe."""
    assert temperature > 0.0, f"temperature {temperature} is not positive"
    highest = max(logits)
    # The highest exponent is 0, so the sum is at least 1 and nothing overflows.
    first, second, third = (math.exp((logit - highest) / temperature) for logit in logits)
    total = first + second + third
    return first / total, second / total, third / total


def logits_of(probabilities: Triple) -> Triple:
    """Logits whose softmax gives these probabilities back; a probability of 0 becomes a logit of about -708."""
    first, second, third = (math.log(max(probability, sys.float_info.min)) for probability in probabilities)
    return first, second, third
