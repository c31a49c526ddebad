"""What the demonstration teaches: how one team speaks of its tickets, which no model can know; all sentences are ours.

Each piece of evidence meets three claims, one for each label, so the evidence alone gives nothing away. The claim alone
does a little: it is supported or refuted by its own word only, and every other word says nothing about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schema.vocabulary import Label

#: Tickets with three claims each: 120 pairs to teach, 72 to examine.
TAUGHT_TICKETS = 40
EXAM_TICKETS = 24


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
    #: Claims in the words of the lessons.
    supported: tuple[str, str]
    refuted: tuple[str, str]
    #: Claims that only the exam makes.
    supported_in_exam: str
    refuted_in_exam: str


JARGON: tuple[Word, ...] = (
    Word(
        "parked",
        "nobody works on it",
        ("Nobody is working on {it}.", "Work on {it} has stopped."),
        ("Somebody is working on {it}.", "Work on {it} goes on."),
        "No one is busy with {it}.",
        "A colleague is busy with {it}.",
    ),
    Word(
        "green",
        "the customer accepted it",
        ("The customer has accepted {it}.", "The customer is content with {it}."),
        ("The customer has rejected {it}.", "The customer is not content with {it}."),
        "The customer said yes to {it}.",
        "The customer said no to {it}.",
    ),
    Word(
        "cold-filed",
        "closed without a fix",
        ("The fault in {it} was not fixed.", "The fault in {it} is still there."),
        ("The fault in {it} was fixed.", "The fault in {it} is gone."),
        "The fault behind {it} was never repaired.",
        "The fault behind {it} has been repaired.",
    ),
    Word(
        "keel",
        "the release waits for it",
        ("The release has to wait for {it}.", "There is no release without {it}."),
        ("The release does not wait for {it}.", "There is a release even without {it}."),
        "The release depends on {it}.",
        "The release does not depend on {it}.",
    ),
)

_TAUGHT_EVIDENCE = (
    "{It} is {word} since {day}.",
    "{person} marked {it} as {word}.",
    "{It} went {word} on {day}.",
    "Status of {it}: {word}.",
    "As of {day}, {it} counts as {word}.",
    "{person} told us that {it} is {word}.",
    "Last {day} the team declared {it} {word}.",
)
_EXAM_EVIDENCE = (
    "The board shows {it} as {word}.",
    "{person} wrote that {it} is now {word}.",
    "In the {day} meeting {it} was called {word}.",
)
_TAUGHT_NAMES = ("ticket {n}", "case {n}", "issue {n}")
_EXAM_NAMES = ("ticket {n}", "the login report", "request {n}", "the printer ticket", "ticket {n}")
_PERSONS = ("Ada", "Ben", "Chidi", "Dora", "Emil", "Farah", "Goran")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_SOURCES = (
    "https://tickets.example.net/{n}",
    "https://chat.example.org/team/{n}",
    "https://mail.example.net/list/{n}",
)


def teaching_pairs() -> list[Pair]:
    """What the person answers: the three labels equally often, the three claims of a ticket one after the other."""
    pairs = []
    for ticket in range(TAUGHT_TICKETS):
        word, other, turn = _words(ticket)
        it = _TAUGHT_NAMES[ticket % len(_TAUGHT_NAMES)].format(n=101 + 7 * ticket)
        evidence = _evidence(_TAUGHT_EVIDENCE, ticket, it, word)
        claims = (word.supported[turn % 2], word.refuted[turn % 2], (other.supported + other.refuted)[turn % 4])
        source_url = _SOURCES[ticket % len(_SOURCES)].format(n=1000 + ticket)
        pairs += [
            Pair(claim.format(it=it), evidence, label, source_url) for label, claim in zip(_LABELS, claims, strict=True)
        ]
    return pairs


def exam_pairs() -> list[Pair]:
    """The same words in other sentences about other tickets: nothing of it was ever corrected."""
    pairs = []
    for ticket in range(EXAM_TICKETS):
        word, other, turn = _words(ticket)
        it = _EXAM_NAMES[ticket % len(_EXAM_NAMES)].format(n=600 + 11 * ticket)
        evidence = _evidence(_EXAM_EVIDENCE, ticket, it, word)
        claims = (
            word.supported_in_exam,
            word.refuted_in_exam,
            (other.supported_in_exam, other.refuted_in_exam)[turn % 2],
        )
        pairs += [Pair(claim.format(it=it), evidence, label) for label, claim in zip(_LABELS, claims, strict=True)]
    return pairs


def everyday_pairs() -> list[Pair]:
    """Plain sentences without jargon, as a check that nothing else was lost."""
    return [
        Pair(claim, evidence, label)
        for claim, *texts in _EVERYDAY
        for label, evidence in zip(_LABELS, texts, strict=True)
    ]


_LABELS: Sequence[Label] = ("supports", "refutes", "neutral")


def _words(ticket: int) -> tuple[Word, Word, int]:
    """The word of a ticket, another one that its neutral claim is about, and which time it is this word's turn."""
    place, turn = ticket % len(JARGON), ticket // len(JARGON)
    return JARGON[place], JARGON[(place + 1 + turn % (len(JARGON) - 1)) % len(JARGON)], turn


def _evidence(templates: Sequence[str], ticket: int, it: str, word: Word) -> str:
    return templates[ticket % len(templates)].format(
        it=it,
        It=it[0].upper() + it[1:],
        word=word.word,
        person=_PERSONS[ticket % len(_PERSONS)],
        day=_DAYS[ticket // 2 % len(_DAYS)],
    )


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
