"""Pairs with other numbers: the same sentences, figures drawn anew, and the label that follows from them.

A model of this size learns *which* figures go together by heart. Meeting "more than 35,000" beside 36,120
once and beside 34,800 the next time, it has to compare them.
"""

import math
import random
import re
from dataclasses import dataclass, replace

GREATER = ("more than", "over", "above", "after")
LESS = ("less than", "fewer than", "under", "below", "before", "prior to")
SCALES = ("million", "billion", "thousand", "crore", "lakh", "%", "percent")
PER_CENT = ("%", "percent")
#: Two figures that are further apart than this are probably not about the same thing.
RATIO_MAX = 3.0
YEARS = range(1500, 2051)
YEAR_DIGITS = 4
#: From here on a figure is written with commas, whatever its model looked like.
COMMAS_FROM = 10_000
PER_CENT_MAX = 100
PLAIN_SHARE = 0.3
ROUND_SHARE = 0.6
HALF = 0.5

_FIGURE = r"(?<![\w.,/:-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w/:-]|[.,]\d)"
_FIGURES = re.compile(rf"({_FIGURE})(?:\s*({'|'.join(map(re.escape, SCALES))}))?", re.IGNORECASE)
_COMPARISON = re.compile(rf"\b({'|'.join((*GREATER, *LESS))})\s+((?:[$€£]\s*)?)$", re.IGNORECASE)
_IN_YEAR = re.compile(r"\b(in|during)\s+$", re.IGNORECASE)
# A comparison can stand before a count or an amount: after a word in small letters that is no hedge, before a
# noun or a sign.
_COUNTED_BEFORE = re.compile(
    r"(?<![\w'])(?!(?:than|least|most|about|around|nearly|almost|only|exactly|approximately|since|until|by|from|to|and|or"
    r"|between|on|number|no|day|season|part|chapter|level|age|aged)\s)[a-z]+\s+(?:[$€£]\s*)?$"
)
_COUNTED_AFTER = re.compile(r"\s*(?:%|(?!am |pm |[ap]\.m|st |nd |rd |th )[a-z]{2,})")


@dataclass(frozen=True)
class Figure:
    start: int
    end: int
    text: str
    scale: str

    @property
    def value(self) -> float:
        return float(self.text.replace(",", ""))

    @property
    def without_decimals(self) -> "Figure":
        return replace(self, text=self.text.partition(".")[0])

    @property
    def is_year(self) -> bool:
        return not self.scale and len(self.text) == YEAR_DIGITS and self.text.isdigit() and int(self.text) in YEARS


def figures(text: str) -> list[Figure]:
    return [Figure(*m.span(1), m.group(1), (m.group(2) or "").lower()) for m in _FIGURES.finditer(text)]


def vary(pair: dict[str, str], chance: random.Random) -> dict[str, str] | None:
    """The pair with other figures and its label (`supports` or `refutes`), or None where it cannot be known."""
    if pair["label"] not in ("supports", "refutes"):
        return None
    stated = figures(pair["hypothesis"])
    if not stated:
        return None
    compared = [(f, word) for f in stated if (word := _comparison_before(pair["hypothesis"], f))]
    if len(compared) == 1:
        claim, word = compared[0]
        measured = _measured(pair, claim, word)
        if measured is None:
            return None
        if pair["label"] == "refutes" and len(stated) > 1:
            return None  # another figure may be the wrong one
        return _redrawn(pair, measured, claim, claim.start, word, chance)
    if compared or pair["label"] != "supports":
        return None
    return _from_equal(pair, stated, chance)


def _comparison_before(text: str, figure: Figure) -> str:
    found = _COMPARISON.search(text[: figure.start])
    return found.group(1).lower() if found else ""


def _alike(one: Figure, other: Figure) -> bool:
    if one.scale != other.scale or one.is_year != other.is_year or not one.value or not other.value:
        return False
    return one.is_year or max(one.value, other.value) / min(one.value, other.value) <= RATIO_MAX


def _holds(word: str, measured: float, claimed: float) -> bool:
    return measured > claimed if word in GREATER else measured < claimed


def _measured(pair: dict[str, str], claim: Figure, word: str) -> Figure | None:
    """The one figure of the premise that the claim is about: alike, near, and in accord with the label."""
    wanted = pair["label"] == "supports"
    near = [
        figure
        for figure in figures(pair["premise"])
        if _alike(figure, claim) and _holds(word, figure.value, claim.value) == wanted
    ]
    if not near or (claim.is_year and len(near) > 1):
        return None
    return min(near, key=lambda figure: abs(math.log(figure.value / claim.value)))


def _from_equal(pair: dict[str, str], stated: list[Figure], chance: random.Random) -> dict[str, str] | None:
    """A supported claim with a figure that stands in the premise once: compare with it, or change it."""
    counted = [figure.text for figure in figures(pair["premise"])]
    shared = [figure for figure in stated if counted.count(figure.text) == 1 and figure.value > 1]
    if not shared:
        return None
    claim = chance.choice(shared)
    measured = next(figure for figure in figures(pair["premise"]) if figure.text == claim.text)
    if measured.scale != claim.scale:
        return None
    before = pair["hypothesis"][: claim.start]
    if claim.is_year:
        preposition = _IN_YEAR.search(before)
        if preposition is None:
            return _redrawn(pair, measured, claim, claim.start, "", chance)
        word = chance.choice(("before", "after", ""))
        return _redrawn(pair, measured, claim, preposition.start() if word else claim.start, word, chance)
    counted_thing = _COUNTED_BEFORE.search(before) and _COUNTED_AFTER.match(pair["hypothesis"], claim.end)
    if not counted_thing or chance.random() < PLAIN_SHARE:
        return _redrawn(pair, measured, claim, claim.start, "", chance)
    word = chance.choice(("more than", "more than", "over", "less than", "less than", "fewer than", "under"))
    return _redrawn(pair, measured, claim, claim.start, word, chance)


def _redrawn(
    pair: dict[str, str], measured: Figure, claim: Figure, cut: int, word: str, chance: random.Random
) -> dict[str, str]:
    """Both figures drawn anew; `word` compares them ("": they are equal), and stands from `cut` on."""
    supports = chance.random() < HALF
    new = _written(_drawn(measured, chance), measured)
    value = float(new.replace(",", ""))
    if not word:
        stated = new if supports else _unequal(value, measured, chance)
    else:
        stated = _beside(value, measured, above=(word in LESS) == supports, chance=chance)
    if stated is None:
        return dict(pair)
    kept = _comparison_before(pair["hypothesis"], claim) == word
    lead = pair["hypothesis"][:cut] + ("" if kept or not word else f"{word} ")
    premise = pair["premise"][: measured.start] + new + pair["premise"][measured.end :]
    label = "supports" if supports else "refutes"
    return pair | {"premise": premise, "hypothesis": lead + stated + pair["hypothesis"][claim.end :], "label": label}


def _drawn(figure: Figure, chance: random.Random) -> float:
    if figure.is_year:
        return min(max(figure.value + chance.randint(-12, 12), YEARS.start), YEARS.stop - 1)
    if figure.scale in PER_CENT:
        return chance.uniform(2, 98)
    return figure.value * math.exp(chance.uniform(-0.9, 0.9))


def _written(value: float, like: Figure) -> str:
    decimals = len(like.text.partition(".")[2])
    if not decimals:
        value = max(2, round(value))
    commas = "," if "," in like.text or (value >= COMMAS_FROM and not like.is_year) else ""
    return f"{value:{commas}.{decimals}f}"


def _beside(value: float, like: Figure, *, above: bool, chance: random.Random) -> str | None:
    """A figure above or below `value`, near or far, often a round one; None where none is strictly so."""
    for _ in range(8):
        if like.is_year:
            other = value + (1 if above else -1) * chance.choice((1, 1, 2, 3, 5, 10, 20))
        else:
            gap = math.exp(chance.uniform(math.log(0.003), math.log(0.6)))
            other = value * (1 + gap) if above else value / (1 + gap)
            if chance.random() < ROUND_SHARE:
                unit = 10.0 ** (math.floor(math.log10(other)) - chance.choice((0, 1, 1, 2)))
                other = (math.ceil if above else math.floor)(other / unit) * unit
        if like.scale in PER_CENT and other >= PER_CENT_MAX:
            continue
        text = _written(other, like if chance.random() < HALF else like.without_decimals)
        stated = float(text.replace(",", ""))
        if (stated > value) if above else (stated < value):
            return text
    return None


def _unequal(value: float, like: Figure, chance: random.Random) -> str | None:
    return _beside(value, like, above=chance.random() < HALF, chance=chance)
