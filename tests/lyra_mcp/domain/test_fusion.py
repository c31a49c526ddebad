"""One ranking from two arms; who speaks, how new and how well rated tip the balance."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.fusion import (
    RANK_CONSTANT,
    Candidate,
    Ranked,
    fuse,
    meaning_arm,
    neighbours,
    words_arm,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG_AGO = "2020-01-01T00:00:00+00:00"


def candidate(seq, *, created_at=LONG_AGO, kind="fact", topic="talk", speaker=None, rating=None):
    return Candidate(seq, kind, topic, created_at, speaker, rating)


def order(words, meaning, candidates, *, named=(), weight=1.0):
    ranked = fuse(words_arm(words), meaning_arm(meaning, weight=weight), candidates, named=named, now=NOW)
    return [one.seq for one in ranked]


def test_what_both_arms_find_stands_before_what_one_finds():
    found = [candidate(seq) for seq in (10, 20, 30)]

    assert order({10: 3.0, 20: 2.0}, {20: 0.9, 30: 0.8}, found) == [20, 10, 30]


def test_a_hit_says_where_it_came_from():
    [first] = fuse(words_arm({10: 3.0}), meaning_arm({10: 0.5}, weight=1.0), [candidate(10)], named=(), now=NOW)

    assert first == Ranked(10, pytest.approx(2 / (RANK_CONSTANT + 1)), 1, 1, 0.5, None, None)


def test_an_answer_without_a_word_of_the_question_is_found_beside_it():
    question = candidate(10, kind="episode")
    answer = candidate(11, kind="episode")
    [_, beside] = fuse(words_arm({10: 3.0}), meaning_arm({}, weight=1.0), [question, answer], named=(), now=NOW)

    assert (beside.seq, beside.is_beside, beside.words_rank) == (11, True, None)


@pytest.mark.parametrize(
    "other",
    [
        candidate(11, kind="fact"),
        candidate(11, kind="episode", topic="another"),
        candidate(11, kind="episode", created_at="2020-01-01T01:00:00+00:00"),
    ],
)
def test_another_kind_topic_or_hour_is_no_neighbour(other):
    assert order({10: 3.0}, {}, [candidate(10, kind="episode"), other]) == [10]


def test_neighbours_are_those_of_the_best():
    assert neighbours([words_arm({10: 3.0}), meaning_arm({20: 0.5}, weight=1.0)]) == {8, 9, 11, 12, 18, 19, 21, 22}


def test_a_memory_whose_speaker_is_named_comes_first():
    found = [candidate(10, speaker="Ann"), candidate(20, speaker="Ben")]

    assert order({10: 3.0, 20: 2.9}, {}, found, named={"ben"}) == [20, 10]
    assert order({10: 3.0, 20: 2.9}, {}, found, named={"bridge"}) == [10, 20]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (candidate(10, rating=1), candidate(20, rating=5)),
        (candidate(10), candidate(20, created_at=(NOW - timedelta(days=1)).isoformat())),
    ],
)
def test_of_two_that_are_alike_the_newer_or_better_rated_comes_first(one, other):
    assert order({10: 3.0, 20: 2.0}, {10: 0.8, 20: 0.9}, [one, other])[0] == 20


def test_age_and_rating_do_not_outweigh_relevance():
    best = candidate(10, rating=2)
    fresh = [candidate(seq, created_at=NOW.isoformat(), rating=5) for seq in range(20, 60, 4)]
    words = {10: 9.0, **{one.seq: 8.0 - n / 10 for n, one in enumerate(fresh)}}
    meaning = {10: 0.9, **{one.seq: 0.3 - n / 100 for n, one in enumerate(reversed(fresh))}}

    assert order(words, meaning, [best, *fresh])[0] == 10


def test_a_clock_that_went_backwards_counts_as_now():
    ahead = candidate(10, created_at=(NOW + timedelta(days=400)).isoformat())
    [one] = fuse(words_arm({10: 1.0}), meaning_arm({}, weight=1.0), [ahead], named=(), now=NOW)

    assert one.score == pytest.approx(1.05 / (RANK_CONSTANT + 1))


@given(
    st.dictionaries(st.integers(1, 60), st.floats(0.1, 20), max_size=30),
    st.dictionaries(st.integers(1, 60), st.floats(-1, 1), max_size=30),
    st.sets(st.integers(1, 60)),
)
def test_every_hit_is_a_candidate_and_stands_once(words, meaning, gone):
    found = [candidate(seq, kind="episode") for seq in range(1, 61) if seq not in gone]
    ranked = order(words, meaning, found)

    assert len(set(ranked)) == len(ranked)
    assert (set(words) | set(meaning)) - gone <= set(ranked) <= {one.seq for one in found}


@given(st.dictionaries(st.integers(1, 60), st.floats(0.1, 20), min_size=1, max_size=30))
def test_two_arms_that_agree_are_not_contradicted(scores):
    found = [candidate(4 * seq) for seq in range(1, 61)]
    apart = {4 * seq: score for seq, score in scores.items()}

    assert order(apart, apart, found) == sorted(apart, key=lambda seq: (-apart[seq], -seq))
