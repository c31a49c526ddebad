"""Recall: how much of the evidence is found, by each arm and by both; how long a call takes; how well in Japanese.

    python -m benchmarks.recall quality --data FOLDER
    python -m benchmarks.recall japanese
    python -m benchmarks.recall latency --sizes 1000,10000,100000

`quality` wants locomo_turns.jsonl.gz and locomo_questions.jsonl.gz: each turn of a conversation is remembered as an
episode, each conversation in a database of its own, and each question is asked of it. recall@k is the share of a
question's evidence among the first k. The arms are the product's own searches, asked alone. `latency` fills a database
with turns whose words are partly exchanged and with synthetic vectors around real ones, and calls the server over
stdio.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.memories import episode, fill, house, is_answerable, read_lines
from benchmarks.server import LYRA, call, server
from lyra_mcp.domain.filters import Filters
from lyra_mcp.domain.memories import NewFact
from lyra_mcp.domain.words import match_expressions
from lyra_mcp.operations.recalling import recall
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import memory_search

ARMS = ("words", "meaning", "fused")
JAPANESE = Path(__file__).parent / "japanese_memories.jsonl"
CALLS = 100
WARM_UP_CALLS = 10
#: A token of English, for the cost of an answer.
CHARS_PER_TOKEN = 4


@dataclass
class Found:
    """Of one arm and one type of question."""

    at_5: list[float] = field(default_factory=list)
    at_10: list[float] = field(default_factory=list)
    reciprocal: list[float] = field(default_factory=list)

    def add(self, ids: Sequence[str | None], evidence: set[str]) -> None:
        for k, shares in ((5, self.at_5), (10, self.at_10)):
            shares.append(len(evidence & set(ids[:k])) / len(evidence))
        self.reciprocal.append(next((1 / rank for rank, one in enumerate(ids, 1) if one in evidence), 0.0))

    def row(self) -> dict[str, Any]:
        means = {
            "recall@5": statistics.fmean(self.at_5),
            "recall@10": statistics.fmean(self.at_10),
            "mrr": statistics.fmean(self.reciprocal),
        }
        return {"n": len(self.at_5), **{name: round(value, 4) for name, value in means.items()}}


async def search(services: Services, arm: str, question: str) -> list[int]:
    """Numbers of the ten best memories of one arm."""
    if arm == "fused":
        return [hit.memory.seq for hit in (await recall(services, question, limit=10)).hits]
    if arm == "words":
        async with services.database.reading() as tx:
            scores = await memory_search.search_words(tx, match_expressions(question), Filters())
    else:
        vector = await services.index.embed_query(question)
        async with services.database.reading() as tx:
            scores = await memory_search.search_vectors(tx, vector.encoder, vector.vector, Filters())
    return sorted(scores, key=lambda seq: (-scores[seq], -seq))[:10]


# Quality


async def measure_quality(data: Path, samples_max: int | None) -> dict[str, Any]:
    turns = read_lines(data / "locomo_turns.jsonl.gz")
    questions = read_lines(data / "locomo_questions.jsonl.gz")
    found: dict[tuple[str, str], Found] = collections.defaultdict(Found)
    by_sample: dict[str, Found] = collections.defaultdict(Found)
    tokens: list[float] = []
    for sample in sorted({turn["sample"] for turn in turns})[:samples_max]:
        with tempfile.TemporaryDirectory(prefix="lyra") as home:
            async with house(Path(home)) as services:
                kept = [turn for turn in turns if turn["sample"] == sample]
                ids = {(await remember(services, episode(turn))).id: turn["id"] for turn in kept}
                await services.index.embed_waiting()
                turn_of = await _numbers(services, ids)
                asked = [q for q in questions if q["sample"] == sample and is_answerable(q)]
                for question in track(asked, description=sample, console=Console(stderr=True)):
                    evidence = set(question["evidence"])
                    for arm in ARMS:
                        best = [turn_of[seq] for seq in await search(services, arm, question["question"])]
                        found[arm, question["label"]].add(best, evidence)
                        found[arm, "all"].add(best, evidence)
                    by_sample[sample].add(best, evidence)
                    tokens.append(await _tokens(services, question["question"]))
    return {
        "arms": {arm: {label: one.row() for (of, label), one in found.items() if of == arm} for arm in ARMS},
        "conversations": {sample: one.row() for sample, one in by_sample.items()},
        "tokens_per_query": round(statistics.fmean(tokens)),
    }


async def _numbers(services: Services, ids: dict[str, str]) -> dict[int, str]:
    async with services.database.reading() as tx:
        rows = await (await tx.execute("SELECT seq, memory_id FROM memories")).fetchall()
    return {row["seq"]: ids[row["memory_id"]] for row in rows}


async def _tokens(services: Services, question: str) -> float:
    """What an answer with ten previews costs an agent, about."""
    hits = (await recall(services, question, limit=10)).hits
    return sum(len(hit.memory.text[:300]) + len(hit.why) + 120 for hit in hits) / CHARS_PER_TOKEN


# Japanese


async def measure_japanese() -> dict[str, Any]:
    rows = read_lines(JAPANESE)
    found: dict[str, Found] = collections.defaultdict(Found)
    first: dict[str, list[bool]] = collections.defaultdict(list)
    missed = []
    with tempfile.TemporaryDirectory(prefix="lyra") as home:
        async with house(Path(home)) as services:
            ids = {}
            for number, row in enumerate(rows):
                fact = NewFact("覚え書き", f"項目{number}", row["memory"])
                ids[(await remember(services, fact)).id] = str(number)
            await services.index.embed_waiting()
            turn_of = await _numbers(services, ids)
            for number, row in enumerate(rows):
                for arm in ARMS:
                    best = [turn_of[seq] for seq in await search(services, arm, row["question"])]
                    found[arm].add(best, {str(number)})
                    first[arm].append(best[:1] == [str(number)])
                    if arm == "fused" and best[:1] != [str(number)]:
                        missed.append(row["question"])
    arms = {arm: {"precision@1": round(statistics.fmean(first[arm]), 4), **found[arm].row()} for arm in ARMS}
    return {"arms": arms, "missed": missed}


# Latency


async def measure_latency(data: Path, sizes: Sequence[int]) -> list[dict[str, Any]]:
    turns = read_lines(data / "locomo_turns.jsonl.gz")
    questions = [q["question"] for q in read_lines(data / "locomo_questions.jsonl.gz") if is_answerable(q)]
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="lyra") as folder:
            home = Path(folder)
            async with house(home) as services:
                await fill(services, turns, size)
                first_pass = await _first_pass(services, questions[:50])
            rows.append({"memories": size, **await time_calls(home, questions), **first_pass})
    return rows


async def _first_pass(services: Services, questions: list[str]) -> dict[str, Any]:
    exact = "SELECT memory_seq FROM memory_vectors ORDER BY vec_distance_cosine(vector, ?) LIMIT 100"
    kept: dict[int, list[float]] = {10: [], 100: []}
    for question in questions:
        asked = await services.index.embed_query(question)
        async with services.database.reading() as tx:
            all_rows = await (await tx.execute(exact, (asked.vector,))).fetchall()
            found = await memory_search.search_vectors(tx, asked.encoder, asked.vector, Filters())
        for k, shares in kept.items():
            nearest = {row["memory_seq"] for row in list(all_rows)[:k]}
            shares.append(len(nearest & set(found)) / len(nearest))
    return {f"first_pass_keeps_{k}": round(statistics.fmean(shares), 4) for k, shares in kept.items()}


async def time_calls(home: Path, questions: list[str]) -> dict[str, Any]:
    """Milliseconds of whole calls, and of processor time that the two processes spend on one.

    Listing claims is what a call of the same server costs without any search.
    """
    chance = random.Random(2)
    taken: dict[str, list[float]] = collections.defaultdict(list)
    async with server(home, LYRA) as (client, _):
        while (await call(client, "recall", query="warm up")).get("degraded"):  # noqa: ASYNC110 - no event
            await asyncio.sleep(1)
        server_process, worker_process = _processes(home)
        for tool in ("recall", "get_claims", "remember"):
            for number in range(CALLS + WARM_UP_CALLS):
                if number == WARM_UP_CALLS:
                    before = _processor_ms(server_process), _processor_ms(worker_process)
                arguments = _arguments(tool, number, chance.choice(questions))
                started = time.perf_counter()
                await call(client, tool, **arguments)
                taken[tool].append((time.perf_counter() - started) * 1000)
            after = _processor_ms(server_process), _processor_ms(worker_process)
            taken[f"{tool}_processor"] = [(now - then) / CALLS for now, then in zip(after, before, strict=True)]
    row: dict[str, Any] = {}
    for tool in ("recall", "remember", "get_claims"):
        values = taken[tool][WARM_UP_CALLS:]
        row[f"{tool}_p50_ms"] = round(statistics.median(values), 1)
        row[f"{tool}_p95_ms"] = round(statistics.quantiles(values, n=20, method="inclusive")[-1], 1)
        row[f"{tool}_processor_ms"] = " + ".join(f"{one:.1f}" for one in taken[f"{tool}_processor"])
    return {**row, "load": round(os.getloadavg()[0], 1)}


def _arguments(tool: str, number: int, question: str) -> dict[str, Any]:
    if tool == "recall":
        return {"query": question, "limit": 10}
    if tool == "remember":
        return {"memory": {"kind": "episode", "event_type": "dialog", "description": f"Ann: {number} {question}"}}
    return {"limit": 1}


def _processes(home: Path) -> tuple[psutil.Process, psutil.Process]:
    """The server, and the worker it has started."""
    (ours,) = (one for one in psutil.Process().children() if "lyra_mcp" in one.cmdline())
    (worker,) = (
        one for one in psutil.process_iter(["cmdline"]) if f"--socket={home}" in " ".join(one.info["cmdline"] or ())
    )
    return ours, worker


def _processor_ms(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system) * 1000


# Showing


def show_quality(outcome: dict[str, Any]) -> None:
    labels = sorted({label for arm in outcome["arms"].values() for label in arm})
    table = Table("arm", "questions", "n", "recall@5", "recall@10", "MRR")
    for arm in ARMS:
        for label in labels:
            row = outcome["arms"][arm][label]
            figures = [f"{row[name]:.3f}" for name in ("recall@5", "recall@10", "mrr")]
            table.add_row(arm, label, str(row["n"]), *figures)
    console = Console()
    console.print(table)
    console.print({sample: row["recall@10"] for sample, row in outcome["conversations"].items()})
    console.print(f"{outcome['tokens_per_query']} tokens per answer with ten previews, about")


def show_rows(rows: list[dict[str, Any]]) -> None:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("quality", "japanese", "latency"))
    parser.add_argument("--data", type=Path, help="folder of the LoCoMo files")
    parser.add_argument("--samples", type=int, help="so many conversations at most")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.part != "japanese" and options.data is None:
        parser.error("--data is needed: the folder of the LoCoMo files")
    show: Callable[[Any], None]
    if options.part == "quality":
        outcome, show = asyncio.run(measure_quality(options.data, options.samples)), show_quality
    elif options.part == "japanese":
        outcome, show = asyncio.run(measure_japanese()), Console().print
    else:
        sizes = [int(size) for size in options.sizes.split(",")]
        outcome, show = asyncio.run(measure_latency(options.data, sizes)), show_rows
    print(json.dumps(outcome, indent=1, ensure_ascii=False)) if options.json else show(outcome)


if __name__ == "__main__":
    main()
