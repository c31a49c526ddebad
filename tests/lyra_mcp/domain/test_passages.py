"""Long memories are read by the encoder in passages."""

from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.passages import PASSAGE_CHARS, PASSAGES_MAX, passages


def test_a_short_text_is_one_passage():
    assert passages("It is open. ") == ["It is open. "]


def test_a_long_text_is_cut_after_sentences():
    sentences = [f"This is sentence number {number} of a long report." for number in range(100)]
    found = passages(" ".join(sentences))

    assert " ".join(found) == " ".join(sentences)
    assert all(passage.endswith("report.") for passage in found)


def test_japanese_is_cut_after_its_full_stop():
    assert all(passage.endswith("。") for passage in passages("今日は会議で予算の話をした。" * 200))


@given(st.text(min_size=1, max_size=5_000))
def test_every_passage_fits_and_says_something(text):
    found = passages(text)

    assert len(found) <= PASSAGES_MAX
    assert all(len(passage) <= PASSAGE_CHARS for passage in found)
    assert len(text) <= PASSAGE_CHARS or all(passage.strip() for passage in found)


@given(st.text(st.characters(categories=["L", "Zs", "Po"]), min_size=1, max_size=5_000))
def test_nothing_is_lost_before_the_last_passage(text):
    found = passages(text)

    assert "".join("".join(found).split()) == "".join(text.split())
