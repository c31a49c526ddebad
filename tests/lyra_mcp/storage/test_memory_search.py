"""The two arms at ten thousand memories: in time, and the quantised first pass against the exact answer."""

import math
import random
import statistics
import struct
import time

import pytest

from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.words import match_expressions
from lyra_mcp.storage import memory_index, memory_search
from lyra_mcp.storage.memory_index import PartVector

MEMORIES = 10_000
DIMENSION = 64
WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprstv" for second in "aeiou" for third in ("", "b", "ck")]
#: What a user notices; a laptop needs a tenth.
SEARCH_MAX_S = 0.2


def _vector(chance, around=None):
    """A random one, or one near another as a question is near its answer (cosine of about 0.8)."""
    centre = struct.unpack(f"<{DIMENSION}f", around) if around else [0.0] * DIMENSION
    values = [value + chance.gauss(0, 0.75 / math.sqrt(DIMENSION)) for value in centre]
    norm = math.hypot(*values)
    return struct.pack(f"<{DIMENSION}f", *(value / norm for value in values))


@pytest.fixture(name="encoder")
async def _encoder(services):
    """The encoder of ten thousand memories of common and rare words, with random vectors."""
    chance = random.Random(3)
    async with services.database.transaction() as tx:
        encoder = await memory_index.serve(tx, fingerprint="random", model="random", dimension=DIMENSION)
        for number in range(1, MEMORIES + 1):
            text = " ".join([*chance.choices(WORDS, k=12), f"rare{number}"])
            await tx.execute(
                "INSERT INTO memories (memory_id, kind, text_digest, created_at, text) VALUES (?, 'episode', '', ?, ?)",
                (f"mem_{number}", services.now(), text),
            )
            await memory_index.add_words(tx, number, text)
        vectors = [PartVector(number, 0, _vector(chance)) for number in range(1, MEMORIES + 1)]
        await memory_index.insert_vectors(tx, encoder, vectors)
    return encoder


async def test_ten_thousand_memories_are_searched_in_time(services, encoder):
    chance = random.Random(4)
    taken, is_kept = [], []
    for _ in range(15):
        query = " ".join(chance.sample(WORDS, 6))
        async with services.database.reading() as tx:
            told = "SELECT vector FROM memory_vectors WHERE memory_seq = ?"
            row = await (await tx.execute(told, (chance.randint(1, MEMORIES),))).fetchone()
            vector = _vector(chance, around=row["vector"])
            started = time.process_time()
            await memory_search.search_words(tx, match_expressions(query), Filters())
            near = await memory_search.search_vectors(tx, encoder, vector, Filters())
            taken.append(time.process_time() - started)
            exact = "SELECT memory_seq FROM memory_vectors ORDER BY vec_distance_cosine(vector, ?) LIMIT 1"
            nearest = await (await tx.execute(exact, (vector,))).fetchone()
        is_kept.append(next(iter(near)) == nearest["memory_seq"])

    assert statistics.quantiles(taken, n=20)[-1] <= SEARCH_MAX_S
    assert all(is_kept)


async def test_a_rare_word_is_found_among_common_ones(services, encoder):
    query = " ".join(["rare777", *WORDS[:20]])
    async with services.database.reading() as tx:
        found = await memory_search.search_words(tx, match_expressions(query), Filters())

    assert 777 in sorted(found, key=lambda seq: -found[seq])[:3]


async def test_what_was_removed_is_not_found_by_a_common_word(services, encoder):
    async with services.database.transaction() as tx:
        await memory_index.remove(tx, [MEMORIES - 1, MEMORIES])
    async with services.database.reading() as tx:
        found = await memory_search.search_words(tx, match_expressions(WORDS[0]), Filters())

    assert 0 < len(found) <= memory_search.HITS_MAX
    assert max(found) <= MEMORIES - 2
