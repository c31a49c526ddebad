"""Short sentences with one figure, from which `number_pairs` draws comparisons.

In long pairs alone a model of this size does not find out what "more than" means (docs/experiments.md).
"""

import math
import random

from schema.vocabulary import Label

WHO = (
    "The town", "The club", "The library", "The company", "The film", "The album", "The country", "The team",
    "The school", "The song", "The video", "The museum", "The region", "The website", "The book", "The festival",
    "The hospital", "The city", "The band", "The game",
)  # fmt: skip
VERBS = ("has", "had", "counted", "reported", "received", "got", "recorded", "listed")
THINGS = (
    "people", "houses", "schools", "books", "copies", "cases", "deaths", "reviews", "goals", "points", "votes", "trees",
    "cars", "animals", "films", "songs", "players", "students", "workers", "shops", "countries", "languages", "tickets",
    "letters", "visitors", "patients", "tests", "members", "stars", "kilometres", "days", "games", "albums",
    "subscribers", "views", "critics", "seats", "rooms", "wins", "losses", "hospitals", "ships", "bridges",
)  # fmt: skip
TAILS = ("", "", " in May", " so far", " last year", " by then")


def counting_pair(chance: random.Random) -> dict[str, str]:
    """Two sentences with the same figure: a count, an amount in millions, a share or a year."""
    who, verb, thing = chance.choice(WHO), chance.choice(VERBS), chance.choice(THINGS)
    kind = chance.choices(("count", "millions", "share", "year"), (60, 13, 12, 15))[0]
    if kind == "year":
        year = chance.randint(1850, 2022)
        return _supported(f"{who} was founded in {year}.", f"{who} began in {year}.")
    if kind == "share":
        share = f"{chance.uniform(3, 97):.{chance.choice((0, 0, 1))}f} %"
        return _supported(f"{who} {verb} a share of {share}.", f"{who} {verb} a share of {share}.")
    if kind == "millions":
        amount = f"{math.exp(chance.uniform(0.5, 6)):.{chance.choice((0, 1, 1, 2))}f} million"
        return _supported(f"{who} {verb} {amount} {thing}.", f"{who} {verb} {amount} {thing}.")
    count = round(math.exp(chance.uniform(1.2, chance.choice((5, 8, 13)))))
    figure = f"{count:,}" if chance.random() < 0.6 else str(count)  # noqa: PLR2004 - a share of figures with commas
    return _supported(f"{who} {verb} {figure} {thing}{chance.choice(TAILS)}.", f"{who} {verb} {figure} {thing}.")


def _supported(premise: str, hypothesis: str) -> dict[str, str]:
    label: Label = "supports"
    return {"premise": premise, "hypothesis": hypothesis, "label": label, "source": "counting"}
