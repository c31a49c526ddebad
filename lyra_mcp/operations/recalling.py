"""Find memories again: by their words and by their meaning, fused; by words alone where no model answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lyra_mcp.domain import fusion
from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.fusion import Candidate, Ranked
from lyra_mcp.domain.words import cjk_share, match_expressions, matching, query_words, without
from lyra_mcp.errors import LyraError
from lyra_mcp.operations.indexing import QueryVector
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memories, memory_index, memory_search
from lyra_mcp.storage.database import Transaction
from lyra_mcp.storage.memories import Memory

#: What the encoder reads of a query.
QUERY_CHARS_READ = 2_000
BUILTIN = "builtin"
#: Of the vectors, where an encoder that reads no CJK is asked in it; measured in docs/experiments.md.
CJK_WEIGHT = 0.1
CJK_SHARE_MIN = 0.3
#: Words that are named in a reason.
WORDS_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Search:
    filters: Filters = field(default_factory=Filters)
    limit: int = 5
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    memory: Memory
    #: Comparable within one answer only.
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Recalled:
    hits: list[Hit]
    #: Of all that were ranked; a page is a part of them.
    total: int
    #: `ready`, or `pending: 37 of 1,204`.
    index_state: str
    #: Why the vectors did not answer; empty when they did.
    degraded_reason: str


async def recall(
    services: Services, query: str, *, filters: Filters | None = None, limit: int = 5, offset: int = 0
) -> Recalled:
    """The memories that answer a query best; a query without a letter or digit finds the newest ones.

    Raises:
        StorageFailed: the database cannot be read.
    """
    [recalled] = await recall_each(services, query, [Search(filters or Filters(), limit, offset)])
    return recalled


async def recall_each(services: Services, query: str, searches: Sequence[Search]) -> list[Recalled]:
    """Likewise, for several searches with one query: it gets one vector, and none where there is nothing to find."""
    words = query_words(query)
    async with services.database.reading() as tx:
        if not words or not any([await memory_search.is_any(tx, search.filters) for search in searches]):
            return [await _newest(tx, search) for search in searches]
        by_words = [await memory_search.search_words(tx, match_expressions(query), one.filters) for one in searches]
        found = [
            await memory_search.list_candidates(tx, seqs, search.filters)
            for seqs, search in zip(by_words, searches, strict=True)
        ]
    speakers = {speaker for candidates in found for speaker in _speakers(candidates, words)}
    vector, degraded_reason = await _embed(services, without(query, speakers))
    recalled = []
    async with services.database.reading() as tx:
        state, is_ready = await _index_state(tx)
        for search, seqs, candidates in zip(searches, by_words, found, strict=True):
            ranked = await _rank(services, tx, query, seqs, candidates, search.filters, vector)
            hits = await _hits(tx, ranked[search.offset : search.offset + search.limit], words)
            recalled.append(Recalled(hits, len(ranked), state, degraded_reason))
    if not is_ready:
        services.index.wake()
    return recalled


def _speakers(candidates: list[Candidate], words: list[str]) -> set[str]:
    """Names in the query whose bearers speak: to the encoder all that they say is near, whatever it is about."""
    speakers = {one.speaker for one in candidates if one.speaker is not None}
    return {word for speaker in speakers if fusion.is_named(speaker, words) for word in query_words(speaker)}


async def _embed(services: Services, query: str) -> tuple[QueryVector | None, str]:
    try:
        return await services.index.embed_query(query[:QUERY_CHARS_READ]), ""
    except LyraError as error:
        return None, f"found by words alone; {error}"


async def _rank(
    services: Services,
    tx: Transaction,
    query: str,
    by_words: Mapping[int, float],
    found: list[Candidate],
    filters: Filters,
    vector: QueryVector | None,
) -> list[Ranked]:
    by_meaning = {}
    if vector is not None:
        by_meaning = await memory_search.search_vectors(tx, vector.encoder, vector.vector, filters)
    is_foreign = vector is not None and vector.encoder.model == BUILTIN and cjk_share(query) >= CJK_SHARE_MIN
    words = fusion.words_arm(by_words)
    meaning = fusion.meaning_arm(by_meaning, weight=CJK_WEIGHT if is_foreign else 1.0)
    known = {one.seq for one in found}
    others = (set(by_meaning) | fusion.neighbours([words, meaning])) - known
    candidates = [*found, *await memory_search.list_candidates(tx, others, filters)]
    return fusion.fuse(words, meaning, candidates, named=query_words(query), now=services.clock())


async def _hits(tx: Transaction, page: list[Ranked], words: list[str]) -> list[Hit]:
    found = {memory.seq: memory for memory in await memories.get_many(tx, [one.seq for one in page])}
    return [
        Hit(found[one.seq], one.score, _why(one, matching(found[one.seq].text, words)))
        for one in page
        if one.seq in found
    ]


def _why(ranked: Ranked, words: list[str]) -> str:
    reasons = []
    if ranked.words_rank is not None:
        named = ", ".join(f"'{word}'" for word in words[:WORDS_NAMED_MAX]) or "other forms of them"
        reasons.append(f"words {named} (rank {ranked.words_rank})")
    if ranked.meaning_rank is not None:
        reasons.append(f"meaning {ranked.similarity:.2f} (rank {ranked.meaning_rank})")
    if ranked.is_beside:
        reasons.append("beside what was found")
    if ranked.is_spoken_by is not None:
        reasons.append(f"said by {ranked.is_spoken_by}")
    if ranked.rating is not None:
        reasons.append(f"rated {ranked.rating}")
    return "; ".join(reasons)


async def _newest(tx: Transaction, search: Search) -> Recalled:
    listed = await memory_search.list_newest(tx, search.filters, limit=search.limit, offset=search.offset)
    hits = [
        Hit(memory, 0.0, "among the newest; the query has no word")
        for memory in await memories.get_many(tx, listed.seqs)
    ]
    state, _ = await _index_state(tx)
    return Recalled(hits, listed.total, state, "")


async def _index_state(tx: Transaction) -> tuple[str, bool]:
    waiting = await memory_index.count_waiting(tx)
    if not waiting:
        return "ready", True
    return f"pending: {waiting:,} of {await memory_index.count_findable(tx):,}", False
