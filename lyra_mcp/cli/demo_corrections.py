"""What the demonstration teaches: how one team speaks of its tickets, which no model can know; all sentences are ours.

Each claim comes with three pieces of evidence, one for each label, and every word of the jargon says yes to some
claims, no to others and nothing to the rest: neither the claim alone nor the evidence alone gives the label away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schema.vocabulary import Label

#: Teaching claims: with three pieces of evidence each, 120 pairs.
LESSONS = 40
EXAM_CLAIMS = 24


@dataclass(frozen=True, slots=True)
class Pair:
    claim: str
    evidence: str
    #: What the simulated person answers, or what is right in the exam.
    label: Label
    #: Where the evidence stands; empty in the exam, which is asked and not stored.
    source_url: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    word: str
    meaning: str
    #: Claims it supports; its opposite refutes them.
    taught: tuple[str, str]
    #: Said in the exam only.
    examined: str


#: Two words each that exclude each other; every pair is about another side of a ticket.
OPPOSITES: tuple[tuple[Word, Word], ...] = (
    (
        Word(
            "parked",
            "nobody works on it",
            ("Nobody is working on {it}.", "Work on {it} has stopped."),
            "No one is busy with {it}.",
        ),
        Word(
            "sailing",
            "somebody works on it",
            ("Somebody is working on {it}.", "Work on {it} goes on."),
            "A colleague is busy with {it}.",
        ),
    ),
    (
        Word(
            "green",
            "the customer accepted it",
            ("The customer has accepted {it}.", "The customer is content with {it}."),
            "The customer said yes to {it}.",
        ),
        Word(
            "sour",
            "the customer rejected it",
            ("The customer has rejected {it}.", "The customer is not content with {it}."),
            "The customer said no to {it}.",
        ),
    ),
    (
        Word(
            "sealed",
            "closed with a fix",
            ("The fault in {it} was fixed.", "The fault in {it} is gone."),
            "The fault behind {it} has been repaired.",
        ),
        Word(
            "cold-filed",
            "closed without a fix",
            ("The fault in {it} was not fixed.", "The fault in {it} is still there."),
            "The fault behind {it} has never been repaired.",
        ),
    ),
    (
        Word(
            "keel",
            "the release waits for it",
            ("The release has to wait for {it}.", "There is no release without {it}."),
            "The release depends on {it}.",
        ),
        Word(
            "ballast",
            "the release goes out without it",
            ("The release does not wait for {it}.", "There is a release even without {it}."),
            "The release does not depend on {it}.",
        ),
    ),
)

_TAUGHT_EVIDENCE = (
    "{It} is {word} since {day}.",
    "{person} marked {it} as {word}.",
    "{It} went {word} on {day}.",
    "Status of {it}: {word}.",
    "As of {day}, {it} counts as {word}.",
)
_EXAM_EVIDENCE = (
    "The board shows {it} as {word}.",
    "{person} wrote that {it} is now {word}.",
    "In the {day} meeting {it} was called {word}.",
)
_EXAM_NAMES = ("ticket {n}", "the login report", "request {n}", "the printer ticket")
_PERSONS = ("Ada", "Ben", "Chidi", "Dora", "Emil", "Farah", "Goran")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_SOURCES = (
    "https://tickets.example.net/{n}",
    "https://chat.example.org/team/{n}",
    "https://mail.example.net/list/{n}",
)


def teaching_pairs() -> list[Pair]:
    """What the person answers: the three labels equally often."""
    statements = [
        (side, polarity, claim)
        for place in range(2)
        for side, words in enumerate(OPPOSITES)
        for polarity, claim in enumerate(word.taught[place] for word in words)
    ]
    pairs = []
    for lesson in range(LESSONS):
        side, polarity, claim = statements[lesson % len(statements)]
        it = f"ticket {101 + 7 * lesson}"
        for turn, (label, word) in enumerate(_evidence_words(side, polarity, lesson)):
            number = 3 * lesson + turn
            evidence = _fill(_TAUGHT_EVIDENCE, number, it, word)
            source_url = _SOURCES[number % len(_SOURCES)].format(n=1000 + number)
            pairs.append(Pair(_sentence(claim, it=it), evidence, label, source_url))
    return pairs


def exam_pairs() -> list[Pair]:
    """The same words in other sentences about other tickets: nothing of it was ever corrected."""
    statements = [
        (side, polarity, word.examined) for side, words in enumerate(OPPOSITES) for polarity, word in enumerate(words)
    ]
    pairs = []
    for number in range(EXAM_CLAIMS):
        side, polarity, claim = statements[number % len(statements)]
        it = _EXAM_NAMES[number % len(_EXAM_NAMES)].format(n=600 + 11 * number)
        for turn, (label, word) in enumerate(_evidence_words(side, polarity, number)):
            evidence = _fill(_EXAM_EVIDENCE, number + turn + number // len(statements), it, word)
            pairs.append(Pair(_sentence(claim, it=it), evidence, label))
    return pairs


def everyday_pairs() -> list[Pair]:
    """Plain sentences without jargon, as a check that nothing else was lost."""
    labels: Sequence[Label] = ("supports", "refutes", "neutral")
    return [
        Pair(claim, evidence, label)
        for claim, *texts in _EVERYDAY
        for label, evidence in zip(labels, texts, strict=True)
    ]


def _evidence_words(side: int, polarity: int, number: int) -> Iterator[tuple[Label, str]]:
    words = OPPOSITES[side]
    yield "supports", words[polarity].word
    yield "refutes", words[1 - polarity].word
    elsewhere = OPPOSITES[(side + 1 + number % (len(OPPOSITES) - 1)) % len(OPPOSITES)]
    yield "neutral", elsewhere[number // len(OPPOSITES) % 2].word


def _fill(templates: Sequence[str], number: int, it: str, word: str) -> str:
    return _sentence(
        templates[number % len(templates)],
        it=it,
        word=word,
        person=_PERSONS[number % len(_PERSONS)],
        day=_DAYS[number // 2 % len(_DAYS)],
    )


def _sentence(template: str, *, it: str, **words: str) -> str:
    return template.format(it=it, It=it[0].upper() + it[1:], **words)


#: (claim, what supports it, what refutes it, what says nothing about it)
_EVERYDAY: tuple[tuple[str, str, str, str], ...] = (
    (
        "The bakery is open on Sundays.",
        "The baker sells bread every day of the week, Sundays included.",
        "On Sundays the bakery stays closed.",
        "The bakery sells a rye bread with walnuts.",
    ),
    (
        "A woman is playing the violin.",
        "A woman in a red dress plays her violin on the stage.",
        "A woman sits in silence with her hands in her lap.",
        "A woman is waiting at the station.",
    ),
    (
        "The train arrived late.",
        "The train reached the city forty minutes after its time.",
        "The train arrived five minutes before its time.",
        "The train had a dining car.",
    ),
    (
        "The children are outdoors.",
        "The children are running across the meadow.",
        "The children are sitting at the kitchen table inside the house.",
        "The children have known each other for years.",
    ),
    (
        "The river is safe to swim in.",
        "Doctors tested the water of the river and found that people can bathe in it without danger.",
        "Bathing in the river is dangerous because its water is poisoned.",
        "The river rises in the northern hills.",
    ),
    (
        "Nobody was hurt in the fire.",
        "Everybody left the burning house in time and without an injury.",
        "Three people were injured in the fire.",
        "The fire brigade bought a new engine last year.",
    ),
    (
        "The museum is free of charge.",
        "Visitors pay nothing to enter the museum.",
        "A ticket to the museum costs twelve crowns.",
        "The museum shows ships of the last century.",
    ),
    (
        "The dog is asleep.",
        "The dog is sleeping in its basket.",
        "The dog is chasing a ball over the lawn.",
        "The dog is brown and has long ears.",
    ),
    (
        "The village grew over the last ten years.",
        "Four hundred people live in the village today, twice as many as ten years ago.",
        "Half of the people have left the village in the last ten years.",
        "The village has a wooden church.",
    ),
    (
        "The concert was cancelled.",
        "The singer fell ill, so the concert did not take place.",
        "The concert took place as planned, before a full house.",
        "The singer was born in a small town by the sea.",
    ),
)
