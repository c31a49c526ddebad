"""Twenty everyday pairs that any person would judge alike, put to the shipped base."""

import random
import re

import pytest
import torch

from ml_worker.base_models import load_base
from ml_worker.evaluation.labelled_pairs import judge_pairs
from ml_worker.nli import NliModel
from ml_worker.training.base_pairs import read_everyday
from ml_worker.training.opposite_pairs import opposite_pair
from schema.vocabulary import LABELS

#: Wanted were 17. The second base gets 16, none of them by a hair; the first got 15. The pairs stay as they were
#: written before anybody saw an answer.
RIGHT_MIN = 17

PAIRS = (
    ("The bakery on the corner opens at six every morning.", "The bakery is open before noon.", "supports"),
    ("My sister adopted two cats from the shelter last week.", "My sister has pets.", "supports"),
    ("All the tickets for tonight's concert have been sold.", "The concert is sold out.", "supports"),
    ("Heavy rain flooded the cellar during the night.", "It rained.", "supports"),
    ("The old dog slept on the sofa all afternoon.", "An animal was resting.", "supports"),
    ("Tom drove his father to the airport.", "Tom's father was taken to the airport by car.", "supports"),
    ("The company hired thirty engineers this year.", "The company employed new people this year.", "supports"),
    ("The shop is closed on Sundays.", "You can buy something in the shop on Sunday.", "refutes"),
    ("The soup was far too salty to eat.", "The soup tasted delicious.", "refutes"),
    ("Nobody came to the meeting on Monday.", "The room was full of people at Monday's meeting.", "refutes"),
    ("The window has been broken since the storm.", "The window is intact.", "refutes"),
    ("She has never been to Paris.", "She lived in Paris for years.", "refutes"),
    ("The train left ten minutes early.", "The train departed late.", "refutes"),
    ("The patient's fever has gone down since yesterday.", "The patient's fever is higher than yesterday.", "refutes"),
    ("A woman is reading a newspaper in a café.", "The woman is waiting for her brother.", "neutral"),
    ("The children built a snowman in the garden.", "The children are cousins.", "neutral"),
    ("He bought a red bicycle at the market.", "The bicycle was a present for his daughter.", "neutral"),
    ("The museum shows paintings from the nineteenth century.", "The museum's café serves good cake.", "neutral"),
    ("Our neighbours are painting their house.", "Our neighbours want to sell their house.", "neutral"),
    ("The library lends books for four weeks.", "The librarian speaks three languages.", "neutral"),
)


@pytest.fixture(name="builtin", scope="module")
def _builtin():
    return NliModel(load_base("builtin"), torch.device("cpu"))


def test_the_shipped_base_judges_everyday_pairs_as_a_person_would(builtin):
    judged = judge_pairs(builtin, [(premise, hypothesis) for premise, hypothesis, _ in PAIRS])

    answers = [LABELS[column] for column in judged.logits.argmax(axis=1)]
    wrong = [(*pair, answer) for pair, answer in zip(PAIRS, answers, strict=True) if pair[2] != answer]
    assert len(wrong) <= len(PAIRS) - RIGHT_MIN, wrong


def words(*texts):
    return {word for word in re.findall(r"[a-zé']+", " ".join(texts).lower()) if len(word) > 3}


def test_no_pair_that_the_base_was_trained_on_has_more_than_half_of_its_words_in_common_with_one_of_these():
    chance = random.Random(1)
    made = [opposite_pair(chance) for _ in range(5000)]
    learned = [words(row["premise"], row["hypothesis"]) for row in read_everyday() + made]
    asked = [words(premise, hypothesis) for premise, hypothesis, _ in PAIRS]

    assert all(len(one & other) <= max(2, min(len(one), len(other)) / 2) for one in learned for other in asked)


def test_the_everyday_pairs_need_all_three_labels():
    labels = [label for *_, label in PAIRS]

    assert {label: labels.count(label) for label in LABELS} == {"supports": 7, "refutes": 7, "neutral": 6}
