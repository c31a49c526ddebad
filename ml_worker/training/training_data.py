"""What a training learns from, is stopped by, is judged by, rehearses, and is compared on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ml_worker.job_folders import JobRefused
from ml_worker.training.rehearsal import Texts, build_pairs, rehearsal_pairs
from ml_worker.training.splits import Split, split
from schema.jobs import NliLoraRecipe, Sample

#: Pairs on which candidate and base are compared, at most.
CHECK_PAIRS = 400
#: Share of the unreviewed pairs that is compared instead of rehearsed.
CHECK_SHARE = 0.25


@dataclass(frozen=True)
class TrainingData:
    parts: Split
    rehearsal: list[Texts]
    rehearsal_unreviewed: int
    #: Never rehearsed: unreviewed pairs first, then ones built from held-out texts. Claims may be shared with training.
    check: list[Texts]
    check_unreviewed: int


def prepare_data(samples: Sequence[Sample], recipe: NliLoraRecipe, *, seed: int) -> TrainingData:
    """Divide the samples, and gather what is rehearsed and what is compared.

    Raises:
        JobRefused: `too_few_samples`, when a part would be empty.
    """
    parts = split(samples, seed=seed, validation_share=recipe.validation_share)
    if not (parts.train and parts.validation and parts.holdout):
        raise JobRefused(
            "too_few_samples",
            f"{sum(sample.label is not None for sample in samples)} reviewed samples cannot be divided into training, "
            f"validation and hold-out; review pairs of more premises and pages",
        )
    unreviewed = [sample for sample in samples if sample.label is None]
    random.Random(f"check {seed}").shuffle(unreviewed)  # noqa: S311 - repeatable, not secret
    kept = min(CHECK_PAIRS // 2, int(len(unreviewed) * CHECK_SHARE))
    checked, rehearsed = unreviewed[:kept], unreviewed[kept:]
    count = recipe.rehearsal_pairs if recipe.rehearsal_weight and recipe.rehearsal_batch else 0
    rehearsal = rehearsal_pairs(parts.train, rehearsed, count, seed=seed)
    # A claim may stand on both sides, and what is built from claims alone would be found there twice.
    taken = set(rehearsal)
    own = [pair for pair in texts(checked) if pair not in taken]
    built = build_pairs(parts.holdout, CHECK_PAIRS - len(own), seed=seed, without=taken.union(own))
    return TrainingData(
        parts=parts,
        rehearsal=rehearsal,
        rehearsal_unreviewed=min(count, len(rehearsed)),
        check=own + built,
        check_unreviewed=len(own),
    )


def texts(samples: Sequence[Sample]) -> list[Texts]:
    return [(sample.premise, sample.hypothesis) for sample in samples]
