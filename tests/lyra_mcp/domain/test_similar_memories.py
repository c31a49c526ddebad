"""What says the same is found by words alone: digests, shares of word pairs, and sketches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.similar_memories import NEAR_MIN, SKETCH_SIZE, similarity, sketch, text_digest, word_pairs

WORDS = st.lists(st.text("abcdefg", min_size=1, max_size=3), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("one", "other"),
    [("The bridge is open.", "the  BRIDGE\nis open."), ("ダークモード", "ﾀﾞｰｸﾓｰﾄﾞ"), ("ＡＢＣ　１２", "abc 12")],
)
def test_case_width_and_white_space_make_no_difference_to_a_digest(one, other):
    assert text_digest("episode", one) == text_digest("episode", other)


def test_a_digest_tells_texts_and_kinds_apart():
    digests = {text_digest("episode", "a b"), text_digest("episode", "ab"), text_digest("fact", "a b")}

    assert len(digests) == 3


@pytest.mark.parametrize(
    ("one", "other", "is_near"),
    [
        (
            "The meeting about the north bridge was moved to Tuesday at ten in the small room.",
            "The meeting about the north bridge was moved to Tuesday at eleven in the small room.",
            True,
        ),
        ("会議は火曜日の十時に小さな部屋に移りました", "会議は火曜日の十一時に小さな部屋に移りました", True),
        ("The meeting was moved to Tuesday.", "The bridge was closed for repair in winter.", False),
        ("会議は火曜日に移りました", "橋は冬の間に修理されました", False),
        ("one two three", "three two one", False),
        ("!?", "!?", True),
    ],
)
def test_nearly_the_same_means_most_word_pairs_in_their_order(one, other, is_near):
    assert (similarity(word_pairs(one), word_pairs(other)) >= NEAR_MIN) is is_near


@given(WORDS, WORDS)
def test_similarity_is_symmetric_and_one_for_the_same_words(some, others):
    one, other = word_pairs(" ".join(some)), word_pairs(" ".join(others))

    assert 0.0 <= similarity(one, other) == similarity(other, one) <= 1.0
    assert similarity(one, one) == 1.0
    assert sketch(one) == sketch(frozenset(sorted(one, reverse=True)))


def test_sketches_of_near_texts_nearly_always_share_a_hash():
    """Two thousand pairs of sets that share 60 %: at most 1.5 % are missed, where theory says 0.8 %."""
    missed = 0
    for trial in range(2_000):
        common = [(f"common {trial}", str(number)) for number in range(60)]
        one = frozenset(common + [(f"one {trial}", str(number)) for number in range(20)])
        other = frozenset(common + [(f"other {trial}", str(number)) for number in range(20)])
        assert similarity(one, other) == 0.6
        missed += not set(sketch(one)) & set(sketch(other))

    assert missed <= 30
    assert len(sketch(one)) == SKETCH_SIZE
