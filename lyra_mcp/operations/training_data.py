"""What a training would learn from: the last word on every pair, and what is left out and why."""

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import anyio

from lyra_mcp.domain.corrections import Review
from lyra_mcp.domain.screening import Outcome, Screen
from lyra_mcp.operations import consent
from lyra_mcp.storage import corrections, edges, jobs
from lyra_mcp.storage.database import Transaction
from schema.jobs import Sample, premise_key
from schema.wire import TEXT_CHARS_MAX

#: Confirmed reviews are taken up to this many for each correction: the model should keep what it does well.
CONFIRMED_PER_CORRECTION = 2
#: Unreviewed pairs on which the base's own answers are rehearsed.
REHEARSED_MAX = 2_000
#: Why a pair with private data is left out; the first that holds is told.
REASONS: dict[Outcome, str] = {
    "not_scanned": "could not be scanned for private data",
    "quarantined": "private data, held until you looked at it",
    "excluded": "private data",
}


@dataclass(frozen=True, slots=True)
class TrainingData:
    samples: list[Sample]
    #: How many reviews and rehearsed pairs were left out, by reason.
    excluded: dict[str, int]
    #: Samples in which tags stand for private data.
    redacted: int = 0
    #: Left out until the person has looked at them.
    quarantined: tuple[str, ...] = ()

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


async def collect(tx: Transaction, screen: Screen, *, only_new: bool = False) -> TrainingData:
    """What people said, all of it or what no version learned from, and without private data.

    What an earlier version held out stays so. Nothing where the person withdrew their consent to learning.
    """
    found = await corrections.list_last_words(tx)
    if not await consent.may_learn(tx):
        return TrainingData([], {"consent to learning withdrawn": len(found)} if found else {})
    # Labels an agent or a program gave are no ground truth: a model must not be trained on its own kind.
    by_people = await corrections.list_last_words(tx, source_type="human")
    spoken_of = {review.pair_digest for review in by_people}
    excluded = Counter(f"reviewed by {review.source_type}" for review in found if review.pair_digest not in spoken_of)
    if only_new:
        used = await jobs.find_used_reviews(tx)
        new = [review for review in by_people if review.review_id not in used]
        if len(by_people) > len(new):
            excluded["used by an earlier version"] = len(by_people) - len(new)
        by_people = new
    corrected = [review for review in by_people if review.is_correction]
    confirmed = sorted((review for review in by_people if not review.is_correction), key=_shuffled)
    kept = confirmed[: CONFIRMED_PER_CORRECTION * len(corrected)]
    if len(confirmed) > len(kept):
        excluded["confirmed beyond two for each correction"] = len(confirmed) - len(kept)
    earlier = await _Earlier.read(tx)
    samples = [
        Sample(
            sample_id=review.review_id,
            premise=review.premise,
            hypothesis=review.hypothesis,
            label=review.correct_label,
            source="correction" if review.is_correction else "confirmed",
            page_id=review.page_id,
            domain=review.domain,
            earlier=earlier.part_of(review),
        )
        for review in sorted([*corrected, *kept], key=lambda review: review.seq)
    ]
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
    # Scanning hundreds of texts takes a while, in which the server answers others.
    return await anyio.to_thread.run_sync(_screened, samples, screen, excluded)


@dataclass(frozen=True, slots=True)
class _Earlier:
    """Where pairs were in earlier trainings. Also reviews that are left out today, or were taken back, count."""

    #: Of what was trained on.
    pages: frozenset[str]
    premises: frozenset[str]
    #: Digests of pairs.
    held_out: frozenset[str]

    @classmethod
    async def read(cls, tx: Transaction) -> "_Earlier":
        neighbours = await jobs.list_trained_neighbours(tx)
        pages = frozenset(page for page, _ in neighbours if page is not None)
        premises = frozenset(premise_key(premise) for _, premise in neighbours)
        return cls(pages, premises, await jobs.find_held_out(tx))

    def part_of(self, review: Review) -> Literal["train", "holdout"] | None:
        """A pair on a page, or with a premise, that was trained on is never held out, though it may have been once."""
        if review.page_id in self.pages or premise_key(review.premise) in self.premises:
            return "train"
        return "holdout" if review.pair_digest in self.held_out else None


def _screened(samples: list[Sample], screen: Screen, excluded: Counter[str]) -> TrainingData:
    """The samples as the person's mode leaves them."""
    kept: list[Sample] = []
    redacted = 0
    quarantined: list[str] = []
    for sample in samples:
        premise, hypothesis = screen.screen(sample.premise), screen.screen(sample.hypothesis)
        outcomes = {premise.outcome, hypothesis.outcome}
        if outcomes == {"clean"}:
            kept.append(sample)
        elif premise.text is not None and hypothesis.text is not None:
            changed = _with_texts(sample, premise.text, hypothesis.text)
            if changed is None:
                excluded["too long with tags for private data"] += 1
            else:
                kept.append(changed)
                redacted += 1
        else:
            reason = next(outcome for outcome in REASONS if outcome in outcomes)
            excluded[REASONS[reason]] += 1
            if reason == "quarantined":
                quarantined.append(sample.sample_id)
    return TrainingData(kept, dict(excluded), redacted, tuple(quarantined))


def _with_texts(sample: Sample, premise: str, hypothesis: str) -> Sample | None:
    if max(len(premise), len(hypothesis)) > TEXT_CHARS_MAX:
        return None
    return sample.model_copy(update={"premise": premise, "hypothesis": hypothesis})


def _shuffled(review: Review) -> str:
    """An order that depends on nothing but the review's id: the same data give the same training set."""
    return sha256(review.review_id.encode()).hexdigest()
