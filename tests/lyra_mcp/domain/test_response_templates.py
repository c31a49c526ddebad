"""Which earlier answer fits, and what fills it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.response_templates import VARIABLE, Template, choose, fill, find_values


def template(response, *, rating=None, similarity=0.8):
    return Template(f"example of {response}", response, rating, similarity)


def chosen(*templates, seed=0, **values):
    found = choose(templates, values, random.Random(seed))
    return found and found.response


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Set up a call with Sarah Lind on Friday at 3pm", {"name": "Sarah Lind", "date": "Friday", "time": "3pm"}),
        ("Move it to 2026-03-05, 14:30", {"date": "2026-03-05", "time": "14:30"}),
        ("Remind me on 3 March", {"date": "3 March"}),
        ('Find the file "budget 7" please', {"quoted": "budget 7"}),
        ("「会議」を探して", {"quoted": "会議"}),
        ("Write to ann@example.com about 12 chairs", {"email": "ann@example.com", "number": "12"}),
        ("Read https://example.com/a?b=1.", {"url": "https://example.com/a?b=1"}),
        ("Translate this", {}),
        ("Shall I call?", {}),
        ("", {}),
    ],
)
def test_a_text_brings_values(text, values):
    assert find_values(text) == values


@given(st.text(max_size=200))
def test_any_text_can_be_searched(text):
    assert all(value in text or value.strip() for value in find_values(text).values())


def test_a_better_rating_outweighs_a_little_likeness_but_not_much():
    assert chosen(template("far", rating=5, similarity=0.75), template("near", rating=3, similarity=0.8)) == "far"
    assert chosen(template("far", rating=5, similarity=0.6), template("near", rating=3, similarity=0.8)) == "near"


def test_a_badly_rated_response_is_never_given_again():
    assert chosen(template("bad", rating=2, similarity=1.0)) is None
    assert chosen(template("bad", rating=1, similarity=1.0), template("unrated", similarity=0.1)) == "unrated"
    assert chosen() is None


def test_a_response_that_can_be_filled_is_preferred():
    assert chosen(template("Hello {name}"), template("Hello")) == "Hello"
    assert chosen(template("Hello {name}", rating=5), template("Hello"), name="Ann") == "Hello Ann"


def test_chance_chooses_among_equals_and_the_seed_is_chance():
    equals = [template(name) for name in "abcd"]

    said = [chosen(*equals, seed=seed) for seed in range(40)]

    assert set(said) == set("abcd")
    assert said == [chosen(*reversed(equals), seed=seed) for seed in range(40)]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text(max_size=20)), st.text(max_size=50))
def test_values_are_put_in_once_and_not_looked_into(values, rest):
    response = f"{{a}}{rest}{{b}}"

    filled = fill(template(response), values)

    assert set(filled.missing) == set(VARIABLE.findall(response)) - set(values)
    assert filled.response.startswith(values.get("a", "{a}"))
    assert filled.response.endswith(values.get("b", "{b}"))


def test_nothing_but_a_plain_name_is_a_variable():
    odd = "{0} {a.b} {a!r} {a:>9} {} {{a}}"

    assert fill(template(odd), {"a": "x"}).response == "{0} {a.b} {a!r} {a:>9} {} {x}"
