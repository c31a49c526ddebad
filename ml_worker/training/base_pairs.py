"""What the base's training goes through: the pool's pairs, our own, crossed ones, and variants, by epoch."""

import csv
import gzip
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

from ml_worker.training.number_pairs import vary
from schema.vocabulary import LABELS

EVERYDAY = Path(__file__).with_name("everyday_pairs.tsv")
WINDOW_BATCHES = 64
#: Where a sentence about something else counts as neutral. To captions (SNLI) it counts as a contradiction.
CROSSED_SOURCES = ("mnli", "wanli_15k", "vitaminc_real_test", "everyday")
CROSSED_CANDIDATES = 32
WORD_LETTERS_MIN = 4


def read_pairs(path: Path, excluded: tuple[str, ...] = ()) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["source"] not in excluded]


def read_everyday() -> list[dict[str, str]]:
    """Our own sentences: a premise and a hypothesis of each label a line."""
    with EVERYDAY.open(encoding="utf-8", newline="") as lines:
        return [
            {"premise": row["premise"], "hypothesis": row[label], "label": label, "source": "everyday"}
            for row in csv.DictReader(lines, delimiter="\t")
            for label in LABELS
        ]


def crossed_pairs(rows: list[dict[str, str]], count: int, chance: random.Random) -> list[dict[str, str]]:
    """Premises beside hypotheses of other premises of the same source, of several the most alike: `neutral`."""
    sources = [[row for row in rows if row["source"] == source] for source in CROSSED_SOURCES]
    sources = [source for source in sources if source]
    return [_crossed_pair(chance.choice(sources), chance) for _ in range(count)]


def _crossed_pair(rows: list[dict[str, str]], chance: random.Random) -> dict[str, str]:
    premise = chance.choice(rows)["premise"]
    words = _words(premise)
    others = [row["hypothesis"] for row in chance.sample(rows, CROSSED_CANDIDATES) if row["premise"] != premise]
    hypothesis = max(others, key=lambda text: len(words & _words(text)))
    return {"premise": premise, "hypothesis": hypothesis, "label": "neutral", "source": "crossed"}


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) >= WORD_LETTERS_MIN}


def batches(lengths: list[int], *, batch: int, seed: int) -> list[list[int]]:
    """Shuffle, sort windows of many batches by length, shuffle the batches: little padding, still random."""
    chance = random.Random(seed)  # noqa: S311  # a reproducible order, no secret
    order = list(range(len(lengths)))
    chance.shuffle(order)
    result = []
    for start in range(0, len(order), batch * WINDOW_BATCHES):
        window = sorted(order[start : start + batch * WINDOW_BATCHES], key=lengths.__getitem__)
        result += [window[i : i + batch] for i in range(0, len(window), batch)]
    chance.shuffle(result)
    return result


def label_targets(rows: list[dict[str, str]]) -> torch.Tensor:
    """(N, 3) float32, one-hot."""
    labels = torch.tensor([LABELS.index(row["label"]) for row in rows], dtype=torch.int64)  # (N,)
    return functional.one_hot(labels, len(LABELS)).float()


@dataclass(frozen=True)
class Pairs:
    """What an epoch goes through: every pair once with its target, and variants of those with figures."""

    rows: list[dict[str, str]]
    targets: torch.Tensor  # (authored, 3) float32
    batch: int
    seed: int

    @property
    def batches_an_epoch(self) -> int:
        return math.ceil(len(self.rows) / self.batch)

    def plan(self, epochs: int) -> Iterator[tuple[int, list[int]]]:
        """The epoch and the indices of every batch."""
        lengths = [len(row["premise"]) + len(row["hypothesis"]) for row in self.rows]
        for epoch in range(epochs):
            for indices in batches(lengths, batch=self.batch, seed=self.seed * 1000 + epoch):
                yield epoch, indices

    def draw(self, epoch: int, index: int) -> tuple[dict[str, str], torch.Tensor]:
        """A pair as this epoch meets it, and its target (3,)."""
        if index < len(self.targets):
            return self.rows[index], self.targets[index]
        chance = random.Random(f"{self.seed} {epoch} {index}")  # noqa: S311  # reproducible, no secret
        row = vary(self.rows[index], chance) or self.rows[index]
        return row, label_targets([row])[0]
