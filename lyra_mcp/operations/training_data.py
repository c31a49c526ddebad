"""What a training would learn from: the last word on every pair, and what is left out and why."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256

from lyra_mcp.domain.corrections import Review
from lyra_mcp.domain.screening import Screen
from lyra_mcp.operations import consent
from lyra_mcp.storage import corrections, edges, jobs
from lyra_mcp.storage.database import Transaction
from schema.jobs import Sample

#: Confirmed reviews are taken up to this many for each correction: the model should keep what it does well.
CONFIRMED_PER_CORRECTION = 2
#: Unreviewed pairs on which the base's own answers are rehearsed.
REHEARSED_MAX = 2_000


@dataclass(frozen=True, slots=True)
class TrainingData:
    samples: list[Sample]
    #: How many reviews were left out, by reason.
    excluded: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Samples by source: correction, confirmed, unreviewed."""
        return dict(Counter(sample.source for sample in self.samples))

    @property
    def reviewed(self) -> int:
        return sum(sample.label is not None for sample in self.samples)

    @property
    def chars_mean(self) -> float:
        """Mean length of premise and hypothesis together."""
        total = sum(len(sample.premise) + len(sample.hypothesis) for sample in self.samples)
        return total / len(self.samples) if self.samples else 1.0


async def collect(tx: Transaction) -> TrainingData:
    """Everything people said, cumulative; where an earlier version held a pair out, it stays held out.

    Nothing where the person withdrew their consent to learning. What it gives has not been redacted yet.
    """
    found = await corrections.list_last_words(tx)
    if not await consent.may_learn(tx):
        return TrainingData([], {"consent to learning withdrawn": len(found)} if found else {})
    # Labels an agent or a program gave are no ground truth: a model must not be trained on its own kind.
    by_people = [review for review in found if review.source_type == "human"]
    excluded = Counter(f"reviewed by {review.source_type}" for review in found if review.source_type != "human")
    corrected = [review for review in by_people if review.is_correction]
    confirmed = sorted((review for review in by_people if not review.is_correction), key=_shuffled)
    kept = confirmed[: CONFIRMED_PER_CORRECTION * len(corrected)]
    if len(confirmed) > len(kept):
        excluded["confirmed beyond two for each correction"] = len(confirmed) - len(kept)
    earlier = await jobs.find_earlier_parts(tx)
    samples = []
    for review in sorted([*corrected, *kept], key=lambda review: review.seq):
        part = earlier.get(review.pair_digest)
        samples.append(
            Sample(
                sample_id=review.review_id,
                premise=review.premise,
                hypothesis=review.hypothesis,
                label=review.correct_label,
                source="correction" if review.is_correction else "confirmed",
                page_id=review.page_id,
                domain=review.domain,
                earlier=None if part is None else "holdout" if part == "holdout" else "train",
            )
        )
    samples += [
        Sample(
            sample_id=edge.edge_id,
            premise=edge.premise,
            hypothesis=edge.hypothesis,
            label=None,
            source="unreviewed",
            page_id=edge.page_id,
            domain=edge.domain,
        )
        for edge in await edges.list_unreviewed(tx, claim_id=None, limit=REHEARSED_MAX)
    ]
    return TrainingData(samples, dict(excluded))


def screened(data: TrainingData, screen: Screen) -> TrainingData:
    """The same without personal data: tags in its place, or the sample left out, as the person's mode says.

    A text that cannot be scanned is left out too.
    """
    kept: list[Sample] = []
    excluded = Counter(data.excluded)
    for sample in data.samples:
        premise, hypothesis = screen.screen(sample.premise), screen.screen(sample.hypothesis)
        if premise.text is None or hypothesis.text is None:
            excluded[next(one.outcome for one in (premise, hypothesis) if one.text is None)] += 1
        elif (premise.outcome, hypothesis.outcome) == ("clean", "clean"):
            kept.append(sample)
        else:
            kept.append(sample.model_copy(update={"premise": premise.text, "hypothesis": hypothesis.text}))
    return TrainingData(kept, dict(excluded))


def _shuffled(review: Review) -> str:
    """An order that depends on nothing but the review's id: the same data give the same training set."""
    return sha256(review.review_id.encode()).hexdigest()
