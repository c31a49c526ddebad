"""Build the prompt for a task from what is known of the person: read, recall, redact, compose."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import anyio

from lyra_mcp.domain import prompting
from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.prompting import Example, Note, Prompt, Section, Turn
from lyra_mcp.domain.redaction import redact
from lyra_mcp.domain.screening import Screen
from lyra_mcp.errors import Unavailable
from lyra_mcp.operations import preferring, recalling, redacting
from lyra_mcp.operations.recalling import Hit, Search
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memories
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.memories import Conversation, Memory

#: Memories that are looked at; more would hardly have to do with the task.
NOTES_MAX = 10
#: Of one memory, shown; the whole stands at its address.
NOTE_CHARS = 600
#: Of a task, searched for: what comes later is seldom what it is about.
QUERY_CHARS = 1_000
#: Exchanges that are looked at for each that may be shown: some are too long for the budget.
CANDIDATES_PER_EXAMPLE = 2


@dataclass(frozen=True, slots=True)
class Built:
    prompt: Prompt
    #: Why it is not as good as it could be; empty: it is.
    degraded_reason: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What recall found, the most relevant first: rated exchanges, and everything."""

    exchanges: Sequence[Hit] = ()
    anything: Sequence[Hit] = ()
    degraded_reason: str = ""


async def build_prompt(
    services: Services, task: str, *, budget_tokens: int, include: Collection[Section] = prompting.SECTIONS
) -> Built:
    """Raises NotScanned: private data cannot be searched for, so nothing is shown."""
    wants_examples = "examples" in include and services.settings.few_shot_max > 0
    found = await _recall(
        services, task[:QUERY_CHARS], wants_examples=wants_examples, wants_notes="memories" in include
    )
    async with services.database.reading() as tx:
        known = await preferring.read_known(services, tx)
        screen = await redacting.read_screen(services, tx)
        examples = await _read_examples(services, tx, found.exchanges) if wants_examples else []
    notes = _notes(services, found.anything, without={one.memory_id for one in examples})
    sentences = preferring.build_prefix(known, task) if "prefix" in include else []
    prompt = await anyio.to_thread.run_sync(
        lambda: prompting.compose(
            [_redact(screen, sentence) for sentence in sentences],
            _redact_examples(screen, prompting.rank(examples, now=known.now), budget_tokens),
            [replace(note, text=_shorten(_redact(screen, note.text))) for note in notes],
            budget_tokens=budget_tokens,
            examples_max=services.settings.few_shot_max,
        )
    )
    return Built(prompt, found.degraded_reason)


async def _recall(services: Services, query: str, *, wants_examples: bool, wants_notes: bool) -> _Found:
    """A worker that is down costs relevance and not the prompt."""
    settings = services.settings
    rated_well = Filters(kinds=("conversation",), min_rating=settings.few_shot_min_rating)
    searches = []
    if wants_examples:
        searches.append(Search(rated_well, limit=CANDIDATES_PER_EXAMPLE * settings.few_shot_max))
    if wants_notes:
        searches.append(Search(limit=NOTES_MAX + settings.few_shot_max))
    if not searches:
        return _Found()
    try:
        recalled = await recalling.recall_each(services, query, searches)
    except Unavailable as error:
        return _Found(degraded_reason=str(error))
    exchanges = recalled[0].hits if wants_examples else ()
    anything = recalled[-1].hits if wants_notes else ()
    return _Found(exchanges, anything, recalled[0].degraded_reason)


async def _read_examples(services: Services, tx: Transaction, hits: Sequence[Hit]) -> list[Example]:
    """The exchanges recall found, filled up with the latest that were rated well."""
    settings = services.settings
    best = max((hit.score for hit in hits), default=0.0) or 1.0
    relevance = {hit.memory.memory_id: hit.score / best for hit in hits}
    latest = await memories.conversations(
        tx, min_rating=settings.few_shot_min_rating, limit=CANDIDATES_PER_EXAMPLE * settings.few_shot_max
    )
    known = {one.memory_id for one in latest}
    opened = [await memories.open_memory(tx, hit.memory) for hit in hits if hit.memory.memory_id not in known]
    why = {hit.memory.memory_id: hit.why for hit in hits}
    return [
        _example(one, relevance.get(one.memory_id, 0.0), why.get(one.memory_id, "one of the latest rated so well"))
        for one in [*latest, *opened]
        if isinstance(one, Conversation) and (one.rating or 0) >= settings.few_shot_min_rating
    ]


def _example(one: Conversation, relevance: float, why: str) -> Example:
    assert one.rating is not None
    turns = prompting.exchange([Turn(said["role"], said["content"]) for said in one.messages], one.response)
    return Example(one.memory_id, turns, one.rating, one.created_at, relevance, why)


def _notes(services: Services, hits: Sequence[Hit], *, without: Collection[str]) -> list[Note]:
    """Conversations too, unless they are examples already or their answers were not liked."""
    kept = [hit for hit in hits if hit.memory.memory_id not in without and _is_welcome(services, hit.memory)]
    return [_note(hit.memory, hit.why) for hit in kept[:NOTES_MAX]]


def _is_welcome(services: Services, memory: Memory) -> bool:
    return memory.rating is None or memory.rating >= services.settings.few_shot_min_rating


def _note(memory: Memory, why: str) -> Note:
    # Twice what is shown: private data across the cut would not be recognised by its half.
    return Note(memory.memory_id, memory.kind, memory.text[: 2 * NOTE_CHARS], memory.created_at, why)


def _redact_examples(screen: Screen, examples: Sequence[Example], budget_tokens: int) -> list[Example]:
    """Those short enough to be worth the search for private data."""
    return [
        replace(example, turns=tuple(replace(turn, content=_redact(screen, turn.content)) for turn in example.turns))
        for example in examples
        if prompting.can_fit("".join(turn.content for turn in example.turns), budget_tokens)
    ]


def _redact(screen: Screen, text: str) -> str:
    return redact(text, screen.findings(text))


def _shorten(text: str) -> str:
    return text if len(text) <= NOTE_CHARS else f"{text[:NOTE_CHARS].rstrip()}…"
