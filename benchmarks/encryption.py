"""What encryption costs: the same operations on an encrypted database and on a plain one, taking turns in one run.

    python -m benchmarks.encryption --data FOLDER --memories 10000,100000

The plain database exists only here: the same library without a key, the same tables, rows and settings. `recall` is the
operation without the encoder (the questions' vectors are made before), `feedback` a correction of an edge, on the disk
when it returns. *Cold* is the first recall after opening, when every page must be read and decrypted. FOLDER holds
locomo_turns.jsonl.gz and locomo_questions.jsonl.gz.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2 as sqlite

from benchmarks.memories import fill, house, is_answerable, read_lines
from benchmarks.recall import show_rows
from lyra_mcp.operations.claims import NewFragment, add_evidence
from lyra_mcp.operations.feedback import correct_edge, give_feedback
from lyra_mcp.operations.indexing import Indexer, QueryVector
from lyra_mcp.operations.recalling import recall
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import database as encrypted
from lyra_mcp.storage.connections import BUSY_TIMEOUT_S, Transaction, set_up
from lyra_mcp.storage.database import Database
from schema.vocabulary import LABELS

ROUNDS = 60
WARM_UP_ROUNDS = 10
COLD_OPENINGS = 7
FRAGMENTS = 64
PLAIN_HEADER = b"SQLite format 3"
SIDES = ("encrypted", "plain")


class PlainDatabase(Database):
    """Without a key: for this comparison alone."""

    async def _connect(self, key: bytes) -> Transaction:  # noqa: ARG002 - as the database calls it
        def connect() -> Any:
            connection = sqlite.connect(str(self.path), isolation_level=None, timeout=BUSY_TIMEOUT_S)
            set_up(connection)
            return connection

        connection = Transaction(connect, 64)
        await connection
        return connection


class KnownQuestions(Indexer):
    """Answers with vectors that were made before."""

    def __init__(self, database: Database, services: Services, vectors: dict[str, QueryVector]) -> None:
        super().__init__(database, services.worker)
        self.vectors = vectors

    async def embed_query(self, query: str) -> QueryVector:
        asked = set(query.split())  # names of speakers are left out of it
        return next(vector for question, vector in self.vectors.items() if asked <= set(question.split()))


async def measure(data: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    # The product refuses a plain file, and so it should.
    encrypted._refuse_plain_text = lambda path: None  # noqa: ARG005, SLF001 - the comparison needs one
    turns = read_lines(data / "locomo_turns.jsonl.gz")
    questions = [one["question"] for one in read_lines(data / "locomo_questions.jsonl.gz") if is_answerable(one)]
    asked = questions[:: len(questions) // (ROUNDS + WARM_UP_ROUNDS)][: ROUNDS + WARM_UP_ROUNDS]
    return [row for size in sizes for row in await _measure_size(turns, asked, size)]


async def _measure_size(turns: list[dict[str, Any]], questions: list[str], size: int) -> list[dict[str, Any]]:
    async with AsyncExitStack() as stack:
        sides: dict[str, Services] = {}
        for side in SIDES:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lyra")))
            services = await stack.enter_async_context(house(home))
            if side == "plain":
                database = PlainDatabase(services.settings.user_dir)
                stack.push_async_callback(database.close)
                services = replace(services, database=database, index=Indexer(database, services.worker))
            await fill(services, turns, size)
            is_plain = services.database.path.read_bytes()[:15] == PLAIN_HEADER
            assert is_plain == (side == "plain")
            vectors = {question: await services.index.embed_query(question) for question in questions}
            sides[side] = replace(services, index=KnownQuestions(services.database, services, vectors))
        edges = {side: await _edges(services) for side, services in sides.items()}
        calls = {
            "recall": lambda side, n: recall(sides[side], questions[n], limit=10),
            "feedback": lambda side, n: _correct(sides[side], edges[side][n % FRAGMENTS], n),
        }
        rows = [await _compare(name, size, call) for name, call in calls.items()]
        return [*rows, await _compare_cold(sides, questions, size)]


async def _edges(services: Services) -> list[str]:
    fragments = [NewFragment(f"Observer {n} counted {n * 3} cars.", None, None, "nli") for n in range(FRAGMENTS)]
    claim = await add_evidence(services, claim="The bridge is open.", claim_id=None, new_fragments=fragments)
    return [edge.edge_id for edge in claim.edges]


async def _correct(services: Services, edge_id: str, number: int) -> None:
    label = LABELS[number % len(LABELS)]
    action = correct_edge(services, edge_id=edge_id, correct_label=label, reason=None, source_type="human")
    await give_feedback(services, action, request={}, idempotency_key=None)


class Taken:
    """Milliseconds of wall and of processor time, by side."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.processor: dict[str, list[float]] = defaultdict(list)

    async def time(self, side: str, call: Awaitable[object]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        await call
        self.wall[side].append((time.perf_counter() - wall) * 1000)
        self.processor[side].append((time.process_time() - processor) * 1000)

    def row(self, name: str, size: int) -> dict[str, Any]:
        row: dict[str, Any] = {"memories": size, "operation": name}
        for kind, taken in (("wall", self.wall), ("processor", self.processor)):
            medians = {side: statistics.median(taken[side]) for side in SIDES}
            row |= {f"{side}_{kind}_ms": round(median, 2) for side, median in medians.items()}
            row[f"{kind}_ratio"] = round(medians["encrypted"] / medians["plain"], 2)
        return {**row, "load": round(os.getloadavg()[0], 1)}


async def _compare(name: str, size: int, call: Callable[[str, int], Awaitable[object]]) -> dict[str, Any]:
    taken = Taken()
    for number in range(WARM_UP_ROUNDS):
        for side in SIDES:
            await call(side, number)
    for number in range(WARM_UP_ROUNDS, WARM_UP_ROUNDS + ROUNDS):
        # Who goes first takes turns too.
        for side in SIDES if number % 2 else SIDES[::-1]:
            await taken.time(side, call(side, number))
    return taken.row(name, size)


async def _compare_cold(sides: dict[str, Services], questions: list[str], size: int) -> dict[str, Any]:
    taken = Taken()
    for number in range(COLD_OPENINGS):
        for side in SIDES if number % 2 else SIDES[::-1]:
            await sides[side].database.close()
            await sides[side].database.unlocked()
            await taken.time(side, recall(sides[side], questions[number], limit=10))
    return taken.row("recall, cold", size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the LoCoMo files")
    parser.add_argument("--memories", default="10000,100000")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.data, [int(size) for size in options.memories.split(",")]))
    print(json.dumps(rows, indent=1)) if options.json else show_rows(rows)


if __name__ == "__main__":
    main()
