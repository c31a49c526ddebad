"""Databases full of memories: what the benchmarks of recall and of encryption search."""

import base64
import gzip
import json
import math
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lyra_mcp.domain.memories import NewEpisode
from lyra_mcp.operations.services import Services, build_services
from lyra_mcp.settings import Settings
from lyra_mcp.storage import memory_index
from lyra_mcp.storage.memory_index import PartVector

#: Real vectors, and ways to move them: with each other 100,000 synthetic ones.
SEEDS = 200
NOISES = 500
ROWS_PER_TRANSACTION = 500


@asynccontextmanager
async def house(home: Path) -> AsyncIterator[Services]:
    services = build_services(Settings(home=home, runtime_dir=home / "run", worker_wait_s=120, key_source="file"))
    try:
        await services.worker.ready()
        yield services
    finally:
        await services.index.close()
        await services.worker.close()
        await services.database.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()]


def episode(turn: dict[str, Any]) -> NewEpisode:
    said = f"{turn['speaker']}: {turn['text']} {turn.get('caption') or ''}".strip()
    return NewEpisode("dialog", said, {"date": turn["date"]})


def is_answerable(question: dict[str, Any]) -> bool:
    return bool(question["evidence"]) and question["label"] != "adversarial"


async def fill(services: Services, turns: list[dict[str, Any]], size: int) -> None:
    """So many memories: turns with some words exchanged, and synthetic vectors around real ones."""
    chance = random.Random(1)
    words = [word for turn in turns for word in turn["text"].split()]
    seeds = await _seed_vectors(services, [turn["text"] for turn in chance.sample(turns, SEEDS)])
    encoder, _ = await services.index.prepare()
    noise = [[chance.gauss(0, 0.6 / math.sqrt(len(seeds[0]))) for _ in seeds[0]] for _ in range(NOISES)]
    for start in range(0, size, ROWS_PER_TRANSACTION):
        numbers = range(start, min(start + ROWS_PER_TRANSACTION, size))
        async with services.database.transaction() as tx:
            for number in numbers:
                await _insert(tx, number, _varied(chance, chance.choice(turns), words))
            vectors = [
                PartVector(number + 1, 0, _around(chance.choice(seeds), chance.choice(noise))) for number in numbers
            ]
            await memory_index.insert_vectors(tx, encoder, vectors)


async def _insert(tx: Any, number: int, text: str) -> None:
    await tx.execute(
        "INSERT INTO memories (memory_id, kind, text_digest, topic, created_at, text)"
        " VALUES (?, 'episode', ?, 'dialog', ?, ?)",
        (f"mem_{number:012x}", f"{number}", f"2026-01-01T00:00:00.{number:06}+00:00", text),
    )
    await memory_index.add_words(tx, number + 1, text)


def _varied(chance: random.Random, turn: dict[str, Any], words: list[str]) -> str:
    said = [chance.choice(words) if chance.random() < 0.4 else word for word in turn["text"].split()]
    return f"{turn['speaker']}: {' '.join(said)}"


async def _seed_vectors(services: Services, texts: list[str]) -> list[list[float]]:
    vectors = []
    for start in range(0, len(texts), 50):
        reply = await services.worker.embed(texts[start : start + 50])
        vectors += [list(struct.unpack(f"<{reply.dimension}f", base64.b64decode(one))) for one in reply.vectors]
    return vectors


def _around(seed: list[float], noise: list[float]) -> bytes:
    moved = [value + shift for value, shift in zip(seed, noise, strict=True)]
    norm = math.hypot(*moved)
    return struct.pack(f"<{len(moved)}f", *(value / norm for value in moved))
