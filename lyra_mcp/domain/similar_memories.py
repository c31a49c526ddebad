"""When two memories say the same or nearly the same: by their words alone, so that no model is needed to write."""

import hashlib
import heapq
import unicodedata
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lyra_mcp.domain.words import index_words
from schema.vocabulary import MemoryKind

#: Share of common word pairs from which two texts are nearly the same.
NEAR_MIN = 0.6
#: How many similar memories are named.
SIMILAR_MAX = 5
#: Word pairs are taken from the beginning of a text; the digest covers all of it.
COMPARED_CHARS_MAX = 8_000
#: Two texts that share 60 % of their word pairs have one of these hashes in common in 99.2 % of all cases, and those
#: that share 80 % always; each more costs a page of the index at every write.
SKETCH_SIZE = 4

#: `same`: equal but for case, width and white space; `near`: most word pairs are equal; `contradicts`: another value
#: of the same fact.
Relation = Literal["same", "near", "contradicts"]


@dataclass(frozen=True, slots=True)
class Similar:
    id: str
    relation: Relation
    #: Share of common word pairs, in [0, 1]; null where the words were not compared.
    similarity: float | None = None


def normalise(text: str) -> str:
    """Without differences of case, width and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_digest(kind: MemoryKind, text: str) -> str:
    return hashlib.sha256(f"{kind}\n{normalise(text)}".encode()).hexdigest()


def word_pairs(text: str) -> frozenset[tuple[str, ...]]:
    """Pairs of neighbouring words, as the index knows words; one word alone is its own pair."""
    tokens = index_words(text[:COMPARED_CHARS_MAX]).split()
    return frozenset(pairwise(tokens)) or frozenset({tuple(tokens)})


def similarity(some: AbstractSet[tuple[str, ...]], others: AbstractSet[tuple[str, ...]]) -> float:
    """Jaccard's index, in [0, 1]."""
    return len(some & others) / len(some | others)


def sketch(pairs: AbstractSet[tuple[str, ...]]) -> list[int]:
    """The smallest hashes of a set of word pairs: similar sets have some in common, so an index finds them.

    Source: A. Broder, On the resemblance and containment of documents, 1997 (bottom-k sketch).
    """
    return heapq.nsmallest(SKETCH_SIZE, map(_hash, pairs))


def _hash(pair: tuple[str, ...]) -> int:
    """In the range of SQLite's integers."""
    digest = hashlib.blake2b("\n".join(pair).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
