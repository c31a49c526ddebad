"""One ranking from two: reciprocal ranks of words and meaning, then who speaks, how new and how well rated."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lyra_mcp.domain.words import query_words
from schema.vocabulary import MemoryKind

#: RRF's constant. The usual 60 flattens the first ranks, which are what a page of ten consists of; measured.
RANK_CONSTANT = 10
#: What the memories just before and after, and those two away, lend of their score. Words are lent more freely: an
#: answer often has none of the question's words, while the vectors of neighbours are alike anyway.
LENT_WORDS = (0.4, 0.3)
LENT_MEANING = (0.2, 0.15)
#: Neighbours of so many of each arm's best come in.
LENDERS_MAX = 50
#: Episodes of one topic not further apart than this are of one occasion.
OCCASION_S = 600.0
#: A memory whose speaker the query names counts as much more.
SPEAKER_SHARE = 1.0
#: A memory of today counts as much more, halved every `RECENCY_DAYS`.
RECENCY_SHARE = 0.05
RECENCY_DAYS = 30.0
#: For each star above or below three.
RATING_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Candidate:
    seq: int
    kind: MemoryKind
    topic: str | None
    created_at: str
    #: Who says it, where the text begins like `Name: ...`.
    speaker: str | None
    rating: int | None


@dataclass(frozen=True, slots=True)
class Ranked:
    seq: int
    score: float
    #: From 1; None: this arm did not find it by itself.
    words_rank: int | None = None
    meaning_rank: int | None = None
    #: Cosine similarity in [-1, 1].
    similarity: float | None = None
    is_spoken_by: str | None = None
    rating: int | None = None
    #: Found because of what stands beside it.
    is_beside: bool = False


@dataclass(frozen=True, slots=True)
class Arm:
    """What one search found: a score by seq, larger is better."""

    scores: Mapping[int, float]
    weight: float = 1.0
    #: What neighbours at distance one and two lend of what they have above the floor.
    lent: tuple[float, float] = (0.0, 0.0)
    floor: float = 0.0


def words_arm(scores: Mapping[int, float]) -> Arm:
    return Arm(scores, lent=LENT_WORDS)


def meaning_arm(scores: Mapping[int, float], *, weight: float) -> Arm:
    """Any two texts of a language are somewhat alike: only what is above the last hit counts as nearness."""
    return Arm(scores, weight, LENT_MEANING, floor=min(scores.values(), default=0.0))


def neighbours(arms: Sequence[Arm]) -> set[int]:
    """The numbers beside each arm's best, which may be of the same occasion."""
    return {
        seq + step
        for arm in arms
        for seq in sorted(arm.scores, key=lambda seq: -arm.scores[seq])[:LENDERS_MAX]
        for step in (-2, -1, 1, 2)
    }


def fuse(
    words: Arm, meaning: Arm, candidates: Sequence[Candidate], *, named: Collection[str], now: datetime
) -> list[Ranked]:
    """Rank the candidates, best first; equals by age, newest first.

    `named`: the words of the query, as `query_words` gives them.
    """
    by_seq = {one.seq: one for one in candidates}
    beside = _beside(candidates)
    speakers = {one.speaker for one in candidates if one.speaker is not None}
    speaking = {speaker for speaker in speakers if is_named(speaker, named)}
    ranks = [_ranks(arm, by_seq, beside) for arm in (words, meaning)]
    own = [_own_ranks(arm, by_seq) for arm in (words, meaning)]
    ranked = []
    for seq in set(ranks[0]) | set(ranks[1]):
        one = by_seq[seq]
        score = sum(
            arm.weight / (RANK_CONSTANT + rank[seq])
            for arm, rank in zip((words, meaning), ranks, strict=True)
            if seq in rank
        )
        speaks = one.speaker in speaking
        score *= (1 + SPEAKER_SHARE * speaks) * _recency(one, now) * _rating(one)
        ranked.append(
            Ranked(
                seq=seq,
                score=score,
                words_rank=own[0].get(seq),
                meaning_rank=own[1].get(seq),
                similarity=meaning.scores.get(seq),
                is_spoken_by=one.speaker if speaks else None,
                rating=one.rating,
                is_beside=seq not in own[0] and seq not in own[1],
            )
        )
    return sorted(ranked, key=lambda one: (-one.score, -one.seq))


def is_named(speaker: str, named: Collection[str]) -> bool:
    """Whether the query names who says it."""
    return any(word in named for word in query_words(speaker))


def _beside(candidates: Sequence[Candidate]) -> dict[int, list[tuple[int, int]]]:
    """For each candidate its neighbours of the same occasion: (seq, distance of 1 or 2).

    Only episodes follow each other as the turns of a talk do; two facts that were told in a row are about two things.
    """
    episodes = {
        one.seq: (one.topic, datetime.fromisoformat(one.created_at)) for one in candidates if one.kind == "episode"
    }
    found: dict[int, list[tuple[int, int]]] = {one.seq: [] for one in candidates}
    for seq, (topic, at) in episodes.items():
        for step in (1, 2):
            topic_after, at_after = episodes.get(seq + step, (None, at))
            if topic_after == topic and abs((at_after - at).total_seconds()) <= OCCASION_S and seq + step in episodes:
                found[seq].append((seq + step, step))
                found[seq + step].append((seq, step))
    return found


def _ranks(arm: Arm, by_seq: Mapping[int, Candidate], beside: Mapping[int, list[tuple[int, int]]]) -> dict[int, int]:
    """Rank by score, with what neighbours lend."""
    above = {seq: arm.scores[seq] - arm.floor for seq in by_seq if seq in arm.scores}
    lent: dict[int, float] = {}
    for seq in by_seq:
        total = sum(arm.lent[distance - 1] * above.get(other, 0.0) for other, distance in beside[seq])
        if seq in above or total > 0:
            lent[seq] = above.get(seq, 0.0) + total
    return {seq: rank for rank, seq in enumerate(sorted(lent, key=lambda seq: (-lent[seq], -seq)), start=1)}


def _own_ranks(arm: Arm, by_seq: Mapping[int, Candidate]) -> dict[int, int]:
    found = sorted((seq for seq in arm.scores if seq in by_seq), key=lambda seq: (-arm.scores[seq], -seq))
    return {seq: rank for rank, seq in enumerate(found, start=1)}


def _recency(candidate: Candidate, now: datetime) -> float:
    days = max(0.0, (now - datetime.fromisoformat(candidate.created_at)).total_seconds() / 86_400)
    return float(1 + RECENCY_SHARE * 0.5 ** (days / RECENCY_DAYS))


def _rating(candidate: Candidate) -> float:
    return 1.0 if candidate.rating is None else 1 + RATING_SHARE * (candidate.rating - 3)
