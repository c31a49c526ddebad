"""Answers that were given before, as templates: which one fits a text, and what stands in for its variables."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Examples with a response from which templates are used: the design document's number.
RESPONSES_MIN = 100
#: A response that was rated lower is not given again; one without a rating counts as this.
RATING_MIN = 3
#: Cosine that the best rating is worth, and that a variable without a value costs.
RATING_WORTH, MISSING_COST = 0.1, 0.1
#: Templates this near to the best are as good as it, and chance chooses among them.
AS_GOOD = 0.02

#: `{name}`, and nothing else in braces: no attributes, no formats.
VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,39})\}")

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
#: What a text may bring, tried in this order; what one has found, the next do not see.
_FOUND: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("quoted", re.compile(r"[\"“「]([^\"”」]{1,200})[\"”」]")),
    ("url", re.compile(r"\bhttps?://[^\s<>\"]+[^\s<>\".,;:!?)]")),
    ("email", re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    (
        "date",
        re.compile(
            rf"\b(?:\d{{4}}-\d\d-\d\d|\d{{1,2}} (?:{_MONTHS})(?: \d{{4}})?|(?:{_MONTHS}) \d{{1,2}}(?:, \d{{4}})?"
            rf"|(?:next |on )?(?:{_DAYS})|today|tomorrow|tonight)\b",
            re.IGNORECASE,
        ),
    ),
    ("time", re.compile(r"\b(?:\d{1,2}:\d\d(?: ?[ap]m)?|\d{1,2} ?[ap]m|noon|midnight)\b", re.IGNORECASE)),
    ("number", re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?!\w)")),
    # A capital where no sentence begins.
    ("name", re.compile(r"(?<=[a-z,] )(?!I\b)[A-Z][a-zA-Z'’-]+(?: [A-Z][a-zA-Z'’-]+)*")),
)


@dataclass(frozen=True, slots=True)
class Template:
    example_id: str
    response: str
    rating: int | None
    #: Cosine of its example's text and the text to answer.
    similarity: float


@dataclass(frozen=True, slots=True)
class Filled:
    template: Template
    response: str
    #: Variables that stand in the response as they are.
    missing: tuple[str, ...]


def find_values(text: str) -> dict[str, str]:
    """The first quotation, address, date, time, number and name in a text, by the variable they can fill."""
    values = {}
    rest = text
    for name, pattern in _FOUND:
        if found := pattern.search(rest):
            values[name] = re.sub(r"^on ", "", found[found.lastindex or 0], flags=re.IGNORECASE)
            rest = pattern.sub(" ", rest) if name != "quoted" else rest.replace(found[0], " ")
    return values


def fill(template: Template, values: Mapping[str, str]) -> Filled:
    """Put the values in; a value is text and is not looked into again."""
    missing = dict.fromkeys(name for name in VARIABLE.findall(template.response) if name not in values)
    response = VARIABLE.sub(lambda found: values.get(found[1], found[0]), template.response)
    return Filled(template, response, tuple(missing))


def choose(templates: Sequence[Template], values: Mapping[str, str], chance: random.Random) -> Filled | None:
    """The template whose example is most like the text, better ratings and filled variables preferred."""
    usable = [fill(one, values) for one in templates if (one.rating or RATING_MIN) >= RATING_MIN]
    if not usable:
        return None
    best = max(map(_worth, usable))
    as_good = {one.response: one for one in usable if _worth(one) >= best - AS_GOOD}
    return chance.choice([as_good[response] for response in sorted(as_good)])


def _worth(filled: Filled) -> float:
    rating = filled.template.rating or RATING_MIN
    liked = RATING_WORTH * (rating - RATING_MIN) / (5 - RATING_MIN)
    return filled.template.similarity + liked - MISSING_COST * len(filled.missing)
