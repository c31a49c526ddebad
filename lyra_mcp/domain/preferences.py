"""What a person may prefer: the keys, their values, the history of what was said, and the prefix of a prompt."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lyra_mcp.errors import Conflict, Invalid
from schema.vocabulary import PreferenceChange

#: The dimensions with a closed list of values.
CHOICES: dict[str, tuple[str, ...]] = {
    "communication_style": ("professional", "casual", "friendly", "technical"),
    "detail_level": ("brief", "medium", "detailed"),
    "tone": ("formal", "neutral", "friendly", "humorous"),
    "response_format": ("conversational", "structured", "bullet_points"),
    "time_format": ("12h", "24h"),
}
LANGUAGE = "language"
EXPERTISE = "expertise_level"
#: From the least to the most.
LEVELS = ("beginner", "intermediate", "advanced", "expert")
#: What holds where nothing was said and nothing learned; the other keys are then open.
DEFAULTS: dict[str, str] = {
    "communication_style": "professional",
    "detail_level": "medium",
    "tone": "neutral",
    "response_format": "conversational",
}
#: The keys that every person has; topics of expertise come on top.
KEYS = (*CHOICES, LANGUAGE)
TOPIC_CHARS_MAX = 60

Source = Literal["explicit", "learned", "default"]

_TOPIC = re.compile(r"[\w+#.-]+")
#: A language tag of RFC 5646, 2.1: language, script, region, variants, extensions, private use. Languages of more
#: than three letters are left out: none is registered, and `english` is no tag.
_TAG = re.compile(
    r"(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3})(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|\d{3}))?"
    r"(?P<rest>(?:-(?:[a-z\d]{5,8}|\d[a-z\d]{3}))*(?:-[a-wy-z\d](?:-[a-z\d]{2,8})+)*(?:-x(?:-[a-z\d]{1,8})+)?)"
)


def parse_key(written: str) -> str:
    """A key in its one form: a dimension, or `expertise_level.` and a topic.

    Raises:
        Invalid: there is no such key.
    """
    head, dot, topic = written.strip().partition(".")
    head = _plain(head)
    if head == EXPERTISE and dot:
        return f"{EXPERTISE}.{parse_topic(topic)}"
    if not dot and head in KEYS:
        return head
    raise Invalid(f"no preference has this key; the keys are {', '.join(KEYS)} and {EXPERTISE}.<topic>")


def parse_topic(written: str) -> str:
    """`Data Science` and `data_science` are one topic.

    Raises:
        Invalid: it cannot be a topic.
    """
    topic = _plain(written)
    if len(topic) > TOPIC_CHARS_MAX or not _TOPIC.fullmatch(topic):
        raise Invalid(
            f"a topic has up to {TOPIC_CHARS_MAX} letters, digits and + # . - _, as in {EXPERTISE}.python; name another"
        )
    return topic


def parse_value(key: str, written: str) -> str:
    """A value in its one form; `key` as `parse_key` gives it.

    Raises:
        Invalid: the key does not take it.
    """
    if key == LANGUAGE:
        return _parse_tag(written)
    value = _plain(written)
    if value not in values_of(key):
        raise Invalid(f"{key} is one of {', '.join(values_of(key))}; choose one of them")
    return value


def values_of(key: str) -> tuple[str, ...]:
    """The closed list of a key's values; empty for a language, which can be any."""
    return LEVELS if key.startswith(f"{EXPERTISE}.") else CHOICES.get(key, ())


def topic_of(key: str) -> str | None:
    return key.partition(".")[2] or None


def _plain(written: str) -> str:
    """Half width, lower case, underscores: `Bullet-Points` and `bullet points` are `bullet_points`."""
    folded = unicodedata.normalize("NFKC", written).strip().casefold()
    return re.sub(r"\s+|(?<=[a-z])-(?=[a-z])", "_", folded)


def _parse_tag(written: str) -> str:
    tag = _TAG.fullmatch(written.strip().replace("_", "-").lower())
    if tag is None:
        raise Invalid("language is a BCP 47 tag such as ja, en or pt-BR; write it so")
    script, region = tag["script"] or "", tag["region"] or ""
    return "-".join(part for part in (tag["language"], script.title(), region.upper()) if part) + tag["rest"]


# What was said: a history that is only added to


@dataclass(frozen=True, slots=True)
class Event:
    key: str
    #: What holds after it; None: what was learned.
    value: str | None
    change: PreferenceChange
    created_at: str


@dataclass(frozen=True, slots=True)
class Said:
    """What holds of a key by what the person said."""

    value: str | None = None
    #: Evidence up to this moment was set aside by a reset.
    learned_since: str = ""


def replay(events: Sequence[Event]) -> dict[str, Said]:
    """What holds after the events, in their order."""
    return _replay(events)[0]


def undone(events: Sequence[Event], key: str | None) -> list[tuple[str, Said]]:
    """The keys of the last change that was not taken back, of one key or of any, each with what held before it.

    Keys that were changed at one moment were changed by one call, and come back together.

    Raises:
        Conflict: there is none.
    """
    changes = [change for change in _replay(events)[1] if key in (None, change.key)]
    if not changes:
        raise Conflict("no change is left to undo; preferences(action='get') shows what holds")
    return [(change.key, change.before) for change in changes if change.at == changes[-1].at]


@dataclass(frozen=True, slots=True)
class _Change:
    key: str
    before: Said
    at: str


def _replay(events: Sequence[Event]) -> tuple[dict[str, Said], list[_Change]]:
    """What holds, and the changes that were not taken back."""
    state: dict[str, Said] = {}
    changes: list[_Change] = []
    for event in events:
        before = state.get(event.key, Said())
        if event.change == "undo":
            last = max(number for number, change in enumerate(changes) if change.key == event.key)
            state[event.key] = changes.pop(last).before
            continue
        changes.append(_Change(event.key, before, event.created_at))
        # A reset takes the spoken word away first; where there is none, what was learned so far.
        drops_learned = event.change == "reset" and before.value is None
        state[event.key] = Said(event.value, event.created_at if drops_learned else before.learned_since)
    return state, changes


# The prefix


@dataclass(frozen=True, slots=True)
class Preference:
    """What holds of a key, and why."""

    value: str | None
    source: Source
    #: Probability, in [0, 1], that no other value pleases more; 1: the person said it, None: nothing is known.
    confidence: float | None = None
    #: Conversations that speak for or against a value, newest first.
    evidence: tuple[str, ...] = ()
    evidence_count: int = 0


DETAIL = {
    "brief": "Keep answers short and to the point.",
    "detailed": "Provide detailed explanations with examples.",
}
FORMAT = {
    "structured": "Structure answers with headings and sections.",
    "bullet_points": "Use bullet points and numbered lists.",
}
TIME = {"12h": "Write times of day in the 12-hour format.", "24h": "Write times of day in the 24-hour format."}
LEVEL = {
    "beginner": "The person is new to {topic}: explain terms and begin with the basics.",
    "intermediate": "The person knows the basics of {topic}.",
    "advanced": "The person is advanced in {topic}: leave the basics out.",
    "expert": "The person is an expert in {topic}: answer as to a colleague.",
}
LANGUAGE_NAMES = {
    "ar": "Arabic",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
}


def prefix_sentences(preferences: Mapping[str, str | None], task: str = "") -> list[str]:
    """The personal prefix, the most important sentence first. Expertise is named where the task names its topic."""

    def of(key: str) -> str:
        return preferences.get(key) or DEFAULTS.get(key, "")

    sentences = [
        f"Respond in a {of('tone')} tone with a {of('communication_style')} style.",
        DETAIL.get(of("detail_level"), ""),
        _language_sentence(of(LANGUAGE)),
        FORMAT.get(of("response_format"), ""),
        TIME.get(of("time_format"), ""),
    ]
    for key, level in sorted(preferences.items()):
        topic = topic_of(key)
        if topic and level and names_topic(task, topic):
            sentences.append(LEVEL[level].format(topic=topic.replace("_", " ")))
    return [sentence for sentence in sentences if sentence]


def names_topic(text: str, topic: str) -> bool:
    """Whether the topic stands in the text as words of its own; in Japanese, which has no spaces, anywhere."""
    words = re.escape(topic).replace("_", r"[\s_-]")
    # `\b` would not end at the + of c++; letters of other scripts may follow, as in `pythonで`.
    pattern = rf"(?<![a-z0-9_]){words}(?![a-z0-9_+#])"
    return re.search(pattern, unicodedata.normalize("NFKC", text).casefold()) is not None


def _language_sentence(tag: str) -> str:
    if not tag:
        return ""
    language, _, rest = tag.partition("-")
    name = LANGUAGE_NAMES.get(language)
    if name is None:
        return f"Answer in the language with the tag {tag}."
    return f"Answer in {name} ({tag})." if rest else f"Answer in {name}."
