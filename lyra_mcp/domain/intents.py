"""Intent examples: which of them count, when they are enough, and what a trained classifier says of a text."""

import json
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

from schema.wire import IntentFacts

#: The answer to a text that is like no example.
UNKNOWN = "unknown"
#: The design document's number, of all examples together.
EXAMPLES_MIN = 50
#: Of each intent: without these nothing can be held out, and with fewer than the second accuracy suffers.
EXAMPLES_OF_EACH_MIN, EXAMPLES_OF_EACH_ADVISED = 3, 10
INTENTS_MIN = 2
#: Intents named in one sentence.
NAMED_MAX = 10
#: Below this an intent is missed more often than found.
RECALL_WEAK = 0.5
#: Other intents an answer names.
ALTERNATIVES_MAX = 3

HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class NewExample:
    text: str
    intent: str
    #: What was answered; `{name}` stands for a value.
    response: str | None = None
    #: Of the response, 1 to 5.
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class Example:
    seq: int
    example_id: str
    text: str
    text_digest: str
    intent: str
    response: str | None
    rating: int | None
    created_at: str


@dataclass(frozen=True, slots=True)
class IntentModel:
    """A trained classifier as it is kept."""

    version: int
    #: Name and fingerprint of the model whose vectors it reads.
    encoder: str
    fingerprint: str
    example_seq_max: int
    facts: IntentFacts
    weights: bytes
    examples: int
    created_at: str


def is_known_already(newest: Example | None, example: NewExample) -> bool:
    """Whether it adds nothing to the newest example of the same text."""
    return newest is not None and newest.intent == example.intent and example.response in (None, newest.response)


# Enough?


def shortage(counts: Mapping[str, int]) -> str | None:
    """Why these many examples of each intent are too few; the first words are the design document's."""
    if sum(counts.values()) < EXAMPLES_MIN:
        return f"Need at least {EXAMPLES_MIN} training examples"
    if len(counts) < INTENTS_MIN:
        return f"Need at least {INTENTS_MIN} intents"
    if few := {intent: count for intent, count in counts.items() if count < EXAMPLES_OF_EACH_MIN}:
        return f"Need at least {EXAMPLES_OF_EACH_MIN} examples of every intent; fewer have {_named(few)}"
    return None


def advice(counts: Mapping[str, int], recalls: Mapping[str, float] | None = None) -> list[str]:
    """What more examples would help most."""
    found = []
    few = {intent: count for intent, count in counts.items() if count < EXAMPLES_OF_EACH_ADVISED}
    if few:
        found.append(f"{EXAMPLES_OF_EACH_ADVISED} examples of an intent are advised; fewer have {_named(few)}")
    weak = [intent for intent, recall in sorted((recalls or {}).items(), key=_by_value) if recall < RECALL_WEAK]
    if weak:
        missed = ", ".join(weak[:NAMED_MAX])
        found.append(
            f"missed more often than found: {missed}; add examples in other words, or join what means the same"
        )
    return found


def _named(counts: Mapping[str, int]) -> str:
    named = sorted(counts.items(), key=lambda item: (item[1], item[0]))
    rest = len(named) - NAMED_MAX
    shown = ", ".join(f"{intent} ({count})" for intent, count in named[:NAMED_MAX])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _by_value(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]


# Predicting


@dataclass(frozen=True, slots=True)
class Classifier:
    intents: tuple[str, ...]
    #: Rows of D numbers, in the order of `intents`.
    weight: tuple[Sequence[float], ...]
    bias: Sequence[float]
    temperature: float
    #: In nats; see `familiarity`.
    threshold: float


@dataclass(frozen=True, slots=True)
class Guess:
    intent: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Prediction:
    #: `unknown` where the text is like no example.
    intent: str
    #: All intents, the likeliest first; confidences sum to one.
    guesses: tuple[Guess, ...]
    #: Logarithm of the summed exponentials of the logits: how much the text is like any example at all.
    familiarity: float


def read_classifier(model: IntentModel) -> Classifier:
    """Read `weight` (C, D) and `bias` (C,), float32, from the bytes of a safetensors file.

    Raises:
        ValueError: these are other bytes.

    Source: the safetensors format: eight bytes of length, a header in JSON, the numbers.
    """
    weights = model.weights
    size = int.from_bytes(weights[:HEADER_BYTES], "little")
    header = json.loads(weights[HEADER_BYTES : HEADER_BYTES + size])
    numbers = weights[HEADER_BYTES + size :]
    rows, columns = header["weight"]["shape"]
    flat = _read_floats(numbers, header["weight"], rows * columns)
    bias = _read_floats(numbers, header["bias"], rows)
    facts = model.facts
    if rows != len(facts.intents):
        raise ValueError(f"{rows} rows for {len(facts.intents)} intents")
    weight = tuple(flat[start : start + columns] for start in range(0, len(flat), columns))
    return Classifier(tuple(facts.intents), weight, bias, facts.temperature, facts.threshold)


def _read_floats(numbers: bytes, entry: Mapping[str, Any], count: int) -> Sequence[float]:
    start, end = entry["data_offsets"]
    found = floats(numbers[start:end])
    if entry["dtype"] != "F32" or len(found) != count:
        raise ValueError("the weights are not float32, or not as many as announced")
    return found


def floats(stored: bytes) -> Sequence[float]:
    """Numbers as both processes store and send them: float32, little endian."""
    found = array("f")
    found.frombytes(stored)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def predict(classifier: Classifier, vector: Sequence[float]) -> Prediction:
    """Say which intent a vector (D,) means; plain Python, about two milliseconds for 150 intents of 384 numbers."""
    logits = [sum(map(mul, row, vector)) + bias for row, bias in zip(classifier.weight, classifier.bias, strict=True)]
    confidences = _softmax(logits, classifier.temperature)
    guesses = sorted(map(Guess, classifier.intents, confidences), key=lambda guess: -guess.confidence)
    highest = max(logits)
    familiarity = highest + math.log(sum(math.exp(logit - highest) for logit in logits))
    intent = guesses[0].intent if familiarity >= classifier.threshold else UNKNOWN
    return Prediction(intent, tuple(guesses), familiarity)


def _softmax(logits: Sequence[float], temperature: float) -> list[float]:
    highest = max(logits)
    exponentials = [math.exp((logit - highest) / temperature) for logit in logits]
    total = sum(exponentials)
    return [exponential / total for exponential in exponentials]
