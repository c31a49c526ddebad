"""Judge a file of labelled pairs and sum up per source: what a model card reports."""

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml_worker.evaluation import nli as scores
from ml_worker.nli import NliModel
from schema.vocabulary import LABELS, Label
from schema.wire import Pair

#: As in the literature on NLI (Guo et al. 2017; Desai and Durrett 2020 use 10 to 15).
BINS = 15
BATCH_PAIRS = 64
#: So many pairs are in tokens at a time.
WINDOW_PAIRS = 4096
POOLED = "all"


@dataclass(frozen=True)
class LabelledPair:
    premise: str
    hypothesis: str
    label: Label
    source: str


def read_pairs(path: Path, *, split: str | None = None) -> list[LabelledPair]:
    """Gzipped JSON lines with premise, hypothesis, label, and source (by default the file's name).

    Rows that name another split are left out.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    name = path.name.partition(".")[0]
    return [
        LabelledPair(row["premise"], row["hypothesis"], row["label"], row.get("source", name))
        for row in rows
        if row.get("split", split) == split or split is None
    ]


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; elsewhere autocast is slower than float32."""
    return bool(torch.backends.cpu.get_cpu_capability().startswith("AVX512") and torch.cpu._is_avx512_bf16_supported())  # noqa: SLF001  # there is no public question


@dataclass(frozen=True)
class Judged:
    """Logits (N, 3) float64 in the order of `LABELS`, and how fast they came."""

    logits: npt.NDArray[np.float64]
    pairs_per_s: float


def judge_pairs(model: NliModel, pairs: Sequence[tuple[str, str]], *, bfloat16: bool = False) -> Judged:
    """Judge (premise, hypothesis) pairs in batches of similar length."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    logits = np.zeros((len(pairs), len(LABELS)), dtype=np.float64)
    since = time.perf_counter()
    precision = torch.autocast(model.device.type, torch.bfloat16) if bfloat16 else nullcontext()
    with precision:
        for start in range(0, len(order), WINDOW_PAIRS):
            window = order[start : start + WINDOW_PAIRS]
            encoded = model.encode([Pair(premise=pairs[i][0], hypothesis=pairs[i][1]) for i in window])
            for at in range(0, len(window), BATCH_PAIRS):
                judged = model.judge(encoded[at : at + BATCH_PAIRS], None, representation=False)
                for i, judgement in zip(window[at : at + BATCH_PAIRS], judged, strict=True):
                    logits[i] = [getattr(judgement.logits, label) for label in LABELS]
    return Judged(logits, len(pairs) / (time.perf_counter() - since))


def majority_share(labels: Sequence[Label]) -> float:
    """Accuracy of whoever always gives the commonest label of these."""
    return max(labels.count(label) for label in LABELS) / len(labels)


def sum_up(logits: npt.NDArray[np.float64], labels: Sequence[Label], temperature: float) -> dict[str, float | int]:
    """Accuracy, macro-F1 and shares in [0, 1]; `nll` in nats; each of ECE and NLL raw and at the temperature."""
    gold = scores.as_columns(labels)
    raw, tempered = (scores.probabilities(logits, LABELS, t) for t in (1.0, temperature))
    found = scores.score(raw, labels, temperature=1.0)
    return {
        "n": found.n,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "majority": majority_share(labels),
        "ece_raw": expected_calibration_error(raw, gold),
        "ece": expected_calibration_error(tempered, gold),
        "nll_raw": found.nll,
        "nll": scores.negative_log_likelihood(tempered, gold),
    }


def expected_calibration_error(found: npt.NDArray[np.float64], gold: npt.NDArray[np.int64]) -> float:
    return scores.expected_calibration_error(scores.reliability(found, gold, count=BINS))


def by_source(pairs: Sequence[LabelledPair]) -> Mapping[str, list[int]]:
    """Places of each source's pairs, and of all of them under `all`."""
    places: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        places.setdefault(pair.source, []).append(i)
    return {**dict(sorted(places.items())), POOLED: list(range(len(pairs)))}


def sum_up_by_source(
    pairs: Sequence[LabelledPair], logits: npt.NDArray[np.float64], temperature: float
) -> dict[str, dict[str, Any]]:
    return {
        source: sum_up(logits[places], [pairs[i].label for i in places], temperature)
        for source, places in by_source(pairs).items()
    }
