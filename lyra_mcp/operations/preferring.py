"""Preferences: what holds and why, what the person says of them, and what a conversation teaches."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lyra_mcp.domain.memories import NewConversation
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


async def read_known(
    services: Services, tx: Transaction, *, keys: Collection[str] | None = None, at: str | None = None
) -> Known:
    """What is known now, or was known at a moment in the past, of all keys or of some."""
    before = at or preferences.EVER
    evidence: dict[str, list[Evidence]] = {}
    if services.settings.auto_learn:
        evidence = await preferences.list_evidence(tx, keys=keys, before=before)
    now = datetime.fromisoformat(at) if at else services.clock()
    return Known(replay(await preferences.list_events(tx, before=before)), evidence, now)


def build_prefix(known: Known, task: str = "") -> list[str]:
    """The sentences of the personal prefix, the most important first."""
    return prefix_sentences({key: known.preference(key).value for key in known.keys}, task)


async def read_prefix(services: Services, task: str = "") -> str:
    async with services.database.reading() as tx:
        known = await read_known(services, tx)
    return " ".join(build_prefix(known, task))


async def learn_wishes(
    services: Services, tx: Transaction, memory_id: str, conversation: NewConversation, *, created_at: str
) -> None:
    """Take from a conversation, as it is stored, the wishes in its words. Without any, nothing is read or written."""
    if not services.settings.auto_learn:
        return
    hints = _hints([(said.role, said.content) for said in conversation.messages], _topic(conversation.topic))
    if evidence := _hint_evidence(hints, memory_id, created_at):
        await preferences.replace_evidence(tx, memory_id, evidence)


async def learn_from(services: Services, tx: Transaction, memory_id: str) -> None:
    """Take from a conversation, as it is rated, what it teaches; what it taught before is replaced."""
    interaction = await preferences.find_interaction(tx, memory_id) if services.settings.auto_learn else None
    if interaction is None:
        return
    topic = _topic(interaction.topic)
    hints = _hints([(said["role"], said["content"]) for said in interaction.messages], topic)
    evidence = _hint_evidence(hints, memory_id, interaction.created_at)
    if interaction.rating is not None:
        weight, rated_at = rating_weight(interaction.rating), interaction.rated_at or services.now()
        in_force = await _in_force(services, tx, interaction, topic, hints)
        evidence += [Evidence(key, value, weight, "rating", memory_id, rated_at) for key, value in in_force.items()]
    await preferences.replace_evidence(tx, memory_id, evidence)


def _hint_evidence(hints: Sequence[Mapping[str, str]], memory_id: str, created_at: str) -> list[Evidence]:
    return [
        Evidence(key, value, HINT_WEIGHT, "hint", memory_id, created_at)
        for message in hints
        for key, value in message.items()
    ]


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
    interaction: Interaction,
    topic: str | None,
    hints: Sequence[Mapping[str, str]],
) -> dict[str, str]:
    """What shaped the answer: what the metadata say, else what the person asked for there, else what held then."""
    settled: dict[str, str] = {}
    for message in hints:
        settled |= message
    settled |= _stated(interaction.metadata.get("preferences"))
    keys = {*KEYS, *([f"{EXPERTISE}.{topic}"] if topic else [])} - settled.keys()
    known = await read_known(services, tx, keys=keys, at=interaction.created_at)
    held = {key: known.preference(key).value for key in keys}
    return settled | {key: value for key, value in held.items() if value is not None}


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


def _topic(written: str | None) -> str | None:
    try:
        return parse_topic(written) if written else None
    except Invalid:
        return None  # a topic of many words is none that one can be an expert in


def _hints(messages: Sequence[tuple[str, str]], topic: str | None) -> list[dict[str, str]]:
    """The wishes in each message the response answers: those since the last answer. `messages`: role and content.

    An agent may hand over its whole history with every turn; earlier messages were read with their own turn.
    """
    asked: list[str] = []
    for role, content in reversed(messages):
        if role == "assistant":
            break
        if role == "user":
            asked.append(content)
    return [find_hints(text, topic) for text in reversed(asked)]
