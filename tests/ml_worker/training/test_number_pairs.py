"""The label of a pair with other figures follows from the figures."""

import random
import re

import pytest

from ml_worker.training.number_pairs import figures, vary

CLAIM = "The film has more than 40 reviews."
PREMISE = "It holds a score of 83 % based on 45 reviews from 12 countries."


def drawn(premise, hypothesis, label, count=200):
    pair = {"premise": premise, "hypothesis": hypothesis, "label": label}
    return [vary(pair, random.Random(seed)) for seed in range(count)]


def value(pattern, text):
    found = re.search(pattern, text)
    assert found, text
    return float(found.group(1).replace(",", ""))


@pytest.mark.parametrize(
    ("premise", "claim", "label"), [(PREMISE, CLAIM, "supports"), (PREMISE, CLAIM.replace("40", "50"), "refutes")]
)
def test_a_comparison_is_true_exactly_where_it_is_said_to_be_supported(premise, claim, label):
    labels = set()
    for pair in drawn(premise, claim, label):
        labels.add(pair["label"])
        measured = value(r"based on ([\d,]+) reviews", pair["premise"])
        claimed = value(r"more than ([\d,]+) reviews", pair["hypothesis"])
        assert (measured > claimed) == (pair["label"] == "supports")
    assert labels == {"supports", "refutes"}


def test_an_equal_figure_becomes_a_comparison_or_another_figure():
    kinds = set()
    for pair in drawn(PREMISE, "The film has 45 reviews.", "supports"):
        measured = value(r"based on ([\d,]+) reviews", pair["premise"])
        word, claimed = re.fullmatch(r"The film has (\D*)([\d,]+) reviews\.", pair["hypothesis"]).groups()
        claimed = float(claimed.replace(",", ""))
        truth = {"": measured == claimed, "more than ": measured > claimed, "over ": measured > claimed}
        assert truth.get(word, measured < claimed) == (pair["label"] == "supports"), pair
        kinds.add(word)
    assert kinds == {"", "more than ", "over ", "less than ", "fewer than ", "under "}


def test_a_year_gets_before_and_after():
    for pair in drawn("The band was formed in 1979 in New York.", "The band began in 1979.", "supports"):
        measured = value(r"in (\d+) in", pair["premise"])
        word, claimed = re.fullmatch(r"The band began (in|before|after) (\d{4})\.", pair["hypothesis"]).groups()
        truth = {"in": measured == int(claimed), "before": measured < int(claimed), "after": measured > int(claimed)}
        assert truth[word] == (pair["label"] == "supports"), pair


def test_a_share_stays_below_a_hundred():
    claims = [pair["hypothesis"] for pair in drawn(PREMISE, "The score is 83 % at least in part.", "supports")]

    assert all(value(r"([\d.]+) %", claim) < 100 for claim in claims)


@pytest.mark.parametrize(
    ("premise", "hypothesis", "label"),
    [
        (PREMISE, "The film is liked.", "supports"),
        (PREMISE, "The film has 45 reviews.", "refutes"),
        (PREMISE, "The film has more than 45 fans.", "neutral"),
        (PREMISE, "The film has 46 reviews.", "supports"),
        (PREMISE, "More than 40 reviews, less than 20 countries.", "supports"),
        ("It took 45 minutes and 45 seconds.", "It took 45 minutes.", "supports"),
        ("It sold 45 million copies.", "It sold 45 copies.", "supports"),
        (PREMISE, "The film has more than 4000 reviews.", "refutes"),
    ],
)
def test_where_the_label_cannot_be_known_nothing_is_drawn(premise, hypothesis, label):
    assert drawn(premise, hypothesis, label, count=5) == [None] * 5


def test_dates_clock_times_and_names_with_letters_are_no_figures():
    assert [f.text for f in figures("On 2014-05-02 at 12:30 the B52 carried 1,204.5 million and 7 more, 3D.")] == [
        "1,204.5",
        "7",
    ]


def test_the_same_seed_draws_the_same_pair():
    assert drawn(PREMISE, CLAIM, "supports") == drawn(PREMISE, CLAIM, "supports")
