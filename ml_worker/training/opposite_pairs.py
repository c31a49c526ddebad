"""Short sentences in other words, and their opposites: what a small model does not find out from long pairs.

A line of `opposites.tsv` holds what its statements are about, three ways to say something and three ways to say
its contrary. Two lines about the same do not decide each other.
"""

import csv
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schema.vocabulary import LABELS

#: Of supports, refutes, neutral. With a third of each the base learned that what is not in the table is neutral.
LABEL_SHARES = (0.45, 0.45, 0.1)
OPPOSITES = Path(__file__).with_name("opposites.tsv")
NAMES = (
    "Anna", "Ben", "Carla", "David", "Elena", "Frank", "Greta", "Henry", "Ines", "Jonas", "Kira", "Leo", "Marta",
    "Nadia", "Oscar", "Paula", "Robert", "Sara", "Theo", "Ursula", "Victor", "Yasmin",
)  # fmt: skip
KIN = ("mother", "father", "brother", "sister", "uncle", "aunt", "cousin", "boss", "neighbour", "teacher")
SUBJECTS = {
    "place": (
        "the castle", "the gallery", "the swimming pool", "the town hall", "the hotel", "the old theatre", "the cinema",
        "the restaurant", "the gym", "the school", "the hospital", "the club", "the post office", "the market hall",
    ),
    "journey": (
        "the bus", "the ferry", "the coach", "the tram", "the ship", "the plane", "the night bus", "the boat",
        "the underground", "the express",
    ),
    "event": (
        "the festival", "the lecture", "the match", "the wedding", "the course", "the party", "the parade", "the race",
        "the opening", "the exhibition", "the play", "the conference",
    ),
    "food": (
        "the stew", "the pudding", "the cheese pie", "the pizza", "the sauce", "the curry", "the bread", "the pasta",
        "the omelette", "the lunch", "the pancake", "the dessert",
    ),
    "thing": (
        "the box", "the lamp", "the knife", "the radio", "the clock", "the camera", "the umbrella", "the toy",
        "the guitar", "the bag", "the drill", "the bowl",
    ),
    "company": (
        "the company", "the brewery", "the publisher", "the airline", "the bank", "the car maker", "the start-up",
        "the firm", "the furniture chain", "the newspaper",
    ),
    "town": ("Lisbon", "Bergen", "Graz", "Ghent", "Valencia", "Turin", "Malmö", "Cork", "Gdansk", "Basel", "the town"),
}  # fmt: skip


@dataclass(frozen=True)
class Opposites:
    about: str
    sides: tuple[tuple[str, ...], tuple[str, ...]]


@cache
def read_opposites() -> tuple[Opposites, ...]:
    with OPPOSITES.open(encoding="utf-8", newline="") as lines:
        return tuple(
            Opposites(row["about"], (tuple(row["statement"].split("; ")), tuple(row["contrary"].split("; "))))
            for row in csv.DictReader(lines, delimiter="\t")
        )


def opposite_pair(chance: random.Random) -> dict[str, str]:
    """A statement and the same in other words (`supports`), its contrary (`refutes`) or something else (`neutral`)."""
    label = chance.choices(LABELS, LABEL_SHARES)[0]
    chosen = chance.choice(read_opposites())
    side = chance.randrange(2)
    premise = chance.choice(chosen.sides[side])
    if label == "neutral":
        others = [other for other in read_opposites() if other.about == chosen.about and other != chosen]
        said = chance.choice(others).sides[chance.randrange(2)]
    elif label == "supports":
        said = tuple(words for words in chosen.sides[side] if words != premise)
    else:
        said = chosen.sides[1 - side]
    names = _subjects(chosen.about, chance)
    return {
        "premise": _sentence(premise, names),
        "hypothesis": _sentence(chance.choice(said), names),
        "label": label,
        "source": "opposites",
    }


def _subjects(about: str, chance: random.Random) -> dict[str, str]:
    if about == "people":
        first, second = chance.sample(NAMES, 2)
        return {"a": first, "b": second}
    if about == "person":
        kin = f"{chance.choice(('my', 'our', 'his', 'her'))} {chance.choice(KIN)}"
        return {"s": kin if chance.random() < 1 / 2 else chance.choice(NAMES)}
    return {"s": chance.choice(SUBJECTS[about])}


def _sentence(words: str, names: dict[str, str]) -> str:
    text = words.format(**names)
    return f"{text[0].upper()}{text[1:]}."
