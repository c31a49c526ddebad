"""Pairs nobody corrected, whose answers by the base are rehearsed so that training does not overwrite them.

The person's unreviewed pairs come first. Where they are too few, pairs are built from the texts of
the samples: the base's own answer to them is known without anybody reading them.
"""

import random
import re
from collections.abc import Callable, Collection, Sequence

from schema.jobs import Sample

Texts = tuple[str, str]

#: A shorter text is not cut further.
WORDS_MIN = 4

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s*,\s+")


def _clause(text: str, chance: random.Random) -> str:
    """One sentence or clause of the text, which follows from the whole or nearly so."""
    return chance.choice([part for part in _SENTENCE_END.split(text) if part.strip()] or [text])


def _shortened(text: str, chance: random.Random) -> str:
    """The text without a run of words: half grammatical, and near enough to be hard."""
    words = text.split()
    if len(words) < WORDS_MIN:
        return text
    start = chance.randrange(len(words) - 1)
    end = min(len(words), start + chance.randint(1, max(1, len(words) // 3)))
    return " ".join(words[:start] + words[end:]) or text


def _crossed(samples: Sequence[Sample], chance: random.Random) -> Texts:
    return chance.choice(samples).premise, chance.choice(samples).hypothesis


def _turned(samples: Sequence[Sample], chance: random.Random) -> Texts:
    sample = chance.choice(samples)
    return sample.hypothesis, sample.premise


def _claims(samples: Sequence[Sample], chance: random.Random) -> Texts:
    return chance.choice(samples).hypothesis, chance.choice(samples).hypothesis


def _part(samples: Sequence[Sample], chance: random.Random) -> Texts:
    sample = chance.choice(samples)
    text = chance.choice([sample.premise, sample.hypothesis])
    return text, _clause(text, chance)


def _cut(samples: Sequence[Sample], chance: random.Random) -> Texts:
    sample = chance.choice(samples)
    text = chance.choice([sample.premise, sample.hypothesis])
    return text, _shortened(text, chance)


_WAYS: tuple[Callable[[Sequence[Sample], random.Random], Texts], ...] = (_crossed, _turned, _claims, _part, _cut)


def build_pairs(
    samples: Sequence[Sample], count: int, *, seed: int, without: Collection[Texts] = frozenset()
) -> list[Texts]:
    """Distinct pairs from the texts of the samples, none of which is a sample itself or one of `without`.

    Fewer if the texts run out.
    """
    chance = random.Random(f"rehearsal {seed}")  # noqa: S311 - repeatable, not secret
    known = {(sample.premise, sample.hypothesis) for sample in samples}.union(without)
    built: dict[Texts, None] = {}
    for attempt in range(4 * count):
        if len(built) == count or not samples:
            break
        pair = _WAYS[attempt % len(_WAYS)](samples, chance)
        if pair not in known:
            built[pair] = None
    return list(built)


def rehearsal_pairs(reviewed: Sequence[Sample], unreviewed: Sequence[Sample], count: int, *, seed: int) -> list[Texts]:
    """At most `count` pairs: unreviewed ones, then ones built from `reviewed`, which is the training part alone."""
    chance = random.Random(f"unreviewed {seed}")  # noqa: S311 - repeatable, not secret
    own = [(sample.premise, sample.hypothesis) for sample in unreviewed]
    chance.shuffle(own)
    return own[:count] + build_pairs(reviewed, count - len(own[:count]), seed=seed)
