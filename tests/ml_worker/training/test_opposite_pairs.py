"""Short sentences and their opposites: what is drawn follows from the table."""

import random

import pytest

from ml_worker.training.opposite_pairs import SUBJECTS, opposite_pair, read_opposites
from schema.vocabulary import LABELS


def drawn(count, seed=1):
    chance = random.Random(seed)
    return [opposite_pair(chance) for _ in range(count)]


def test_few_pairs_are_neutral_and_no_sentence_stands_beside_itself():
    pairs = drawn(3000)

    shares = {label: sum(pair["label"] == label for pair in pairs) / 3000 for label in LABELS}
    assert shares == pytest.approx({"supports": 0.45, "refutes": 0.45, "neutral": 0.1}, abs=0.03)
    assert all(pair["premise"] != pair["hypothesis"] for pair in pairs)
    assert not any("{" in pair["premise"] + pair["hypothesis"] for pair in pairs)


def test_the_label_follows_from_the_lines_and_the_sides():
    said = {
        f"{text[0].upper()}{text[1:]}.": (line, side)
        for line in read_opposites()
        for side in (0, 1)
        for text in (words.format(s="the ferry", a="", b="") for words in line.sides[side])
    }
    pairs = [pair for pair in drawn(20_000) if pair["premise"] in said]
    labels = set()
    for pair in pairs:
        (line, side), (other_line, other_side) = said[pair["premise"]], said[pair["hypothesis"]]
        alike = "supports" if side == other_side else "refutes"
        assert pair["label"] == (alike if line == other_line else "neutral")
        labels.add(pair["label"])
    assert labels == set(LABELS)


def test_a_pair_of_people_is_two_people():
    people = [pair for pair in drawn(2000) if "tennis" in pair["premise"]]

    assert len(people) > 5
    assert all(len({word for word in pair["premise"][:-1].split() if word.istitle()}) == 2 for pair in people)


def test_every_line_says_each_side_three_times_in_other_words_and_can_be_about_something():
    lines = read_opposites()

    assert len(lines) == 103
    for line in lines:
        assert [len(set(side)) for side in line.sides] == [3, 3]
        assert not set(line.sides[0]) & set(line.sides[1])
        assert line.about in {*SUBJECTS, "people", "person"}
    said = [(line.about, words) for line in lines for side in line.sides for words in side]
    assert len(said) == len(set(said))


def test_the_same_seed_draws_the_same_pairs():
    assert drawn(20) == drawn(20)
    assert drawn(20) != drawn(20, seed=2)
