"""What ratings and hints teach: the right value, with the right confidence, and nothing from nothing."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lyra_mcp.domain.preference_learning import (
    CONFIDENCE_MIN,
    HALF_LIFE_DAYS,
    HINT_WEIGHT,
    Beta,
    Evidence,
    beliefs,
    chances_of_being_best,
    learn,
    rating_weight,
)
from lyra_mcp.domain.preferences import CHOICES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STYLE = "communication_style"
STYLES = CHOICES[STYLE]


def rated(value, rating, key=STYLE, days_ago=0.0):
    at = (NOW - timedelta(days=days_ago)).isoformat()
    return Evidence(key, value, rating_weight(rating), "rating", "mem_1", at)


def hinted(value, key="detail_level", days_ago=0.0):
    return Evidence(key, value, HINT_WEIGHT, "hint", "mem_1", (NOW - timedelta(days=days_ago)).isoformat())


def learned(evidence, key=STYLE):
    found = learn(key, evidence, now=NOW)
    return found and found.value


@pytest.mark.parametrize("liked", STYLES)
def test_twelve_rated_turns_find_the_style_that_pleases(liked):
    turns = [rated(style, 5 if style == liked else 2) for style in STYLES] * 3

    found = learn(STYLE, turns, now=NOW)

    assert found.value == liked
    assert found.confidence > 0.95


def test_twelve_good_ratings_of_one_style_are_enough_and_leave_doubt_about_the_untried():
    found = learn(STYLE, [rated("casual", 5)] * 12, now=NOW)

    assert found.value == "casual"
    assert found.confidence == pytest.approx(25 / 28, abs=1e-3)  # E[x³] under Beta(25, 1)


def test_too_little_evidence_teaches_nothing():
    assert learned([hinted("brief")] * 2, "detail_level") is None
    assert learned([rated("casual", 5)] * 3) is None


def test_a_style_that_displeases_is_not_replaced_by_a_guess():
    assert learned([rated("professional", 1)] * 12) is None


def test_ratings_of_three_say_nothing():
    assert learned([rated(style, 3) for style in STYLES] * 5) is None


def test_three_wishes_for_brevity_are_enough_and_later_ratings_overrule_them():
    wishes = [hinted("brief")] * 3

    assert learned(wishes, "detail_level") == "brief"
    disappointed = [rated("brief", 1, "detail_level"), rated("detailed", 5, "detail_level")] * 4
    assert learned([*wishes, *disappointed], "detail_level") == "detailed"


def test_an_observation_counts_half_after_the_half_life():
    [old] = [
        one
        for value, one in beliefs(STYLE, [rated("casual", 5, days_ago=HALF_LIFE_DAYS)], now=NOW).items()
        if value == "casual"
    ]

    assert (old.pleased, old.displeased) == (pytest.approx(2.0), 1.0)


def test_what_was_learned_fades_and_a_change_of_taste_wins():
    def turns(liked, days_ago):
        return [rated(style, 5 if style == liked else 2, days_ago=days_ago) for style in STYLES] * 4

    old = turns("casual", 3 * HALF_LIFE_DAYS)

    assert learned([*old, *turns("technical", 0)]) == "technical"
    assert learned(turns("casual", 6 * HALF_LIFE_DAYS)) is None


def test_a_clock_that_was_set_back_counts_as_now():
    ahead = [rated("casual", 5, days_ago=-400)] * 12

    assert learn(STYLE, ahead, now=NOW) == learn(STYLE, [rated("casual", 5)] * 12, now=NOW)


def test_an_open_key_can_always_be_something_unseen():
    few = [rated("ja", 5, "language")] * 3
    found = learn("language", few, now=NOW)

    assert (found.value, found.confidence) == ("ja", pytest.approx(7 / 8, abs=1e-3))  # E[x] under Beta(7, 1)
    assert learn("language", [rated("ja", 1, "language")] * 5, now=NOW) is None


def test_values_that_are_no_longer_known_are_passed_over():
    assert learned([rated("grumpy", 5)] * 5) is None


@pytest.mark.parametrize(("turns", "share_max"), [(6, 0.1), (12, 0.2), (48, 0.25)])
def test_ratings_without_a_pattern_seldom_teach(turns, share_max):
    chance = random.Random(3)

    wrong = sum(
        learned([rated(chance.choice(STYLES), chance.randint(1, 5)) for _ in range(turns)]) is not None
        for _ in range(200)
    )

    assert wrong / 200 <= share_max


def test_noisy_ratings_find_the_style_and_hardly_ever_another():
    chance = random.Random(4)

    def turn(style):
        return rated(style, min(5, max(1, round(chance.gauss(4.5 if style == "technical" else 2.5, 1)))))

    found = [learned([turn(style) for style in STYLES * 6]) for _ in range(200)]

    assert found.count("technical") >= 160
    assert len(found) - found.count("technical") - found.count(None) <= 2


@settings(max_examples=30, deadline=None)  # the integral takes its time
@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.builds(Beta, st.floats(1, 60), st.floats(1, 60)), min_size=2, max_size=4
    )
)
def test_the_chances_of_being_best_sum_to_one_and_are_those_of_the_integral(believed):
    chances = chances_of_being_best(believed)

    assert sum(chances.values()) == pytest.approx(1)
    first, *others = believed
    exact, _ = integrate.quad(
        lambda x: (
            stats.beta.pdf(x, believed[first].pleased, believed[first].displeased)
            * stats.beta.cdf(x, *[[getattr(believed[o], n) for o in others] for n in ("pleased", "displeased")]).prod()
        ),
        0,
        1,
        limit=200,
    )
    assert chances[first] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("key", ["detail_level", STYLE])
def test_the_confidence_asked_for_is_reached_by_three_wishes_and_not_by_two(key):
    value = CHOICES[key][0]

    def best(count):
        return chances_of_being_best(beliefs(key, [hinted(value, key)] * count, now=NOW))[value]

    assert best(2) < CONFIDENCE_MIN <= best(3)
