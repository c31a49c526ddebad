"""Preferences: what holds and why, what the person says of them, and what a conversation teaches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lyra_mcp.domain.preference_hints import find_hints
from lyra_mcp.domain.preference_learning import HINT_WEIGHT, Evidence, learn, rating_weight
from lyra_mcp.domain.preferences import (
    DEFAULTS,
    EXPERTISE,
    KEYS,
    Event,
    Preference,
    Said,
    parse_key,
    parse_topic,
    parse_value,
    prefix_sentences,
    replay,
    undone,
)
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import preferences
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.preferences import Interaction
from schema.vocabulary import PreferenceChange

#: Conversations that are named as evidence of a preference; the others are counted.
EVIDENCE_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Known:
    """Everything preferences are decided by, at one moment."""

    said: Mapping[str, Said]
    #: Of each key, newest first.
    evidence: Mapping[str, Sequence[Evidence]]
    now: datetime

    @property
    def keys(self) -> list[str]:
        return [*KEYS, *sorted((self.said.keys() | self.evidence.keys()) - set(KEYS))]

    def preference(self, key: str) -> Preference:
        """What the person said beats what was learned, which beats the default."""
        said = self.said.get(key, Said())
        evidence = [one for one in self.evidence.get(key, ()) if one.created_at > said.learned_since]
        ids = tuple(dict.fromkeys(one.memory_id for one in evidence))
        shown, count = ids[:EVIDENCE_SHOWN], len(evidence)
        if said.value is not None:
            return Preference(said.value, "explicit", 1.0, shown, count)
        learned = learn(key, evidence, now=self.now)
        if learned is not None:
            return Preference(learned.value, "learned", learned.confidence, shown, count)
        return Preference(DEFAULTS.get(key), "default", None, shown, count)


async def get_preferences(services: Services, key: str | None = None) -> dict[str, Preference]:
    """Every preference, or one; `expertise_level` alone means all its topics.

    Raises:
        Invalid: there is no such key.
    """
    wanted = None if key in (None, EXPERTISE) else parse_key(key or "")
    async with services.database.reading() as tx:
        known = await read_known(services, tx)
    keys = [wanted] if wanted else [one for one in known.keys if key is None or one.startswith(f"{EXPERTISE}.")]
    return {one: known.preference(one) for one in keys}


async def set_preference(services: Services, key: str, value: str) -> dict[str, Preference]:
    """Raises Invalid: the key does not exist, or does not take the value."""
    key = parse_key(key)
    said = {key: parse_value(key, value)}
    async with services.database.transaction() as tx:
        return await _record(services, tx, said, "set")


async def reset_preferences(services: Services, key: str | None) -> dict[str, Preference]:
    """Take back what the person said of a key, or of all; where they said nothing, set aside what was learned of it."""
    wanted = key and parse_key(key)
    async with services.database.transaction() as tx:
        said = replay(await preferences.list_events(tx))
        keys = [wanted] if wanted else [one for one, what in said.items() if what.value is not None]
        return await _record(services, tx, dict.fromkeys(keys), "reset")


async def undo_change(services: Services, key: str | None) -> dict[str, Preference]:
    """Raises Conflict: no change is left to undo."""
    wanted = key and parse_key(key)
    async with services.database.transaction() as tx:
        back = undone(await preferences.list_events(tx), wanted)
        return await _record(services, tx, {one: before.value for one, before in back}, "undo")


async def read_known(services: Services, tx: Transaction, *, at: str | None = None) -> Known:
    """What is known now, or was known at a moment in the past."""
    before = at or preferences.EVER
    evidence: dict[str, list[Evidence]] = {}
    if services.settings.auto_learn:
        for one in await preferences.list_evidence(tx, before=before):
            evidence.setdefault(one.key, []).append(one)
    now = datetime.fromisoformat(at) if at else services.clock()
    return Known(replay(await preferences.list_events(tx, before=before)), evidence, now)


def build_prefix(known: Known, task: str = "") -> list[str]:
    """The sentences of the personal prefix, the most important first."""
    return prefix_sentences({key: known.preference(key).value for key in known.keys}, task)


async def read_prefix(services: Services, task: str = "") -> str:
    async with services.database.reading() as tx:
        known = await read_known(services, tx)
    return " ".join(build_prefix(known, task))


async def learn_from(services: Services, tx: Transaction, memory_id: str) -> None:
    """Take from a conversation what it teaches: wishes in its words, and its rating, if it has one.

    To be called in the transaction that stores or rates it; what it taught before is replaced.
    """
    if not services.settings.auto_learn:
        return
    conversation = await preferences.find_interaction(tx, memory_id)
    if conversation is None:
        return
    topic = _topic(conversation)
    hints = _hints(conversation, topic)
    evidence = [
        Evidence(key, value, HINT_WEIGHT, "hint", memory_id, conversation.created_at)
        for message in hints
        for key, value in message.items()
    ]
    await preferences.replace_evidence(tx, memory_id, evidence)
    if conversation.rating is None:
        return
    weight, rated_at = rating_weight(conversation.rating), conversation.rated_at or services.now()
    in_force = await _in_force(services, tx, conversation, topic, hints)
    evidence += [Evidence(key, value, weight, "rating", memory_id, rated_at) for key, value in in_force.items()]
    await preferences.replace_evidence(tx, memory_id, evidence)


async def _record(
    services: Services, tx: Transaction, values: Mapping[str, str | None], change: PreferenceChange
) -> dict[str, Preference]:
    at = services.now()  # one moment for all, so that one undo takes all of them back
    for key, value in values.items():
        await preferences.insert_event(tx, Event(key, value, change, at))
    known = await read_known(services, tx)
    return {key: known.preference(key) for key in values}


async def _in_force(
    services: Services,
    tx: Transaction,
    conversation: Interaction,
    topic: str | None,
    hints: Sequence[Mapping[str, str]],
) -> dict[str, str]:
    """What shaped the answer: what the metadata say, else what the person asked for there, else what held then."""
    known = await read_known(services, tx, at=conversation.created_at)
    keys = [*KEYS, *([f"{EXPERTISE}.{topic}"] if topic else [])]
    held = {key: value for key in keys if (value := known.preference(key).value) is not None}
    for message in hints:
        held |= message
    return held | _stated(conversation.metadata.get("preferences"))


def _stated(written: Any, prefix: str = "") -> dict[str, str]:
    """The preferences that metadata name, dotted or nested; metadata are free, so the rest of them is left alone."""
    found: dict[str, str] = {}
    for name, value in written.items() if isinstance(written, dict) else ():
        if isinstance(value, dict) and not prefix:
            found |= _stated(value, f"{name}.")
        elif isinstance(value, str):
            try:
                key = parse_key(f"{prefix}{name}")
                found[key] = parse_value(key, value)
            except Invalid:
                continue
    return found


def _topic(conversation: Interaction) -> str | None:
    written = conversation.topic or conversation.metadata.get("topic")
    try:
        return parse_topic(written) if isinstance(written, str) else None
    except Invalid:
        return None  # a topic of many words is none that one can be an expert in


def _hints(conversation: Interaction, topic: str | None) -> list[dict[str, str]]:
    """The wishes in each message the response answers: those since the last answer.

    An agent may hand over its whole history with every turn; earlier messages were read with their own turn.
    """
    asked: list[str] = []
    for message in reversed(conversation.messages):
        if message.get("role") == "assistant":
            break
        if message.get("role") == "user" and isinstance(message.get("content"), str):
            asked.append(message["content"])
    return [find_hints(text, topic) for text in reversed(asked)]
