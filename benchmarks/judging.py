"""Pairs per second of the worker against sentence-transformers' CrossEncoder and a transformers pipeline.

    python -m benchmarks.judging --repeats 5
    python -m benchmarks.judging --model FOLDER --pairs pairs.jsonl --threads 2 --json

The same weights in the same run, each with the same threads, taking turns, so that a busy machine slows all alike:
believe the ratios, not the rates. The worker is asked through its Unix socket, so its figure includes HTTP, JSON, the
queue and the pair's representation, none of which the others deliver. `--pairs` takes JSON lines with premise and
hypothesis; without it pairs of 5 to 120 words are made up.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import torch
from rich.console import Console
from rich.table import Table
from sentence_transformers import CrossEncoder
from transformers import TextClassificationPipeline

from ml_worker.base_models import load_base
from schema.wire import PAIRS_MAX

WORDS = (
    "the",
    "bridge",
    "city",
    "council",
    "report",
    "says",
    "people",
    "cars",
    "never",
    "always",
    "open",
    "closed",
    "before",
    "after",
    "river",
    "new",
    "old",
)
READY_TIMEOUT_S = 120.0
MIXED = "mixed stream"

Pairs = list[tuple[str, str]]


def made_up_pairs(count: int) -> Pairs:
    """Lengths as of evidence: mostly a sentence, sometimes a paragraph."""
    chance = random.Random(1)

    def text(words_max: int) -> str:
        words = min(words_max, 5 + int(chance.expovariate(1 / 25)))
        return " ".join(chance.choices(WORDS, k=words)) + "."

    return [(text(120), text(20)) for _ in range(count)]


def read_pairs(path: Path, count: int) -> Pairs:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    return [(row["premise"], row["hypothesis"]) for row in rows]


@contextmanager
def worker(model: str, threads: int) -> Iterator[Callable[[Pairs], list[int]]]:
    """The real worker on its socket; answers with the index of each pair's label."""
    with tempfile.TemporaryDirectory(prefix="lyra") as folder:
        socket = Path(folder) / "w.sock"
        options = ["--socket", str(socket), "--nli-model", model, "--threads", str(threads), "--linger-s", "3600"]
        process = subprocess.Popen([sys.executable, "-m", "ml_worker", *options, "--log-file", f"{folder}/log"])
        try:
            with httpx2.Client(
                transport=httpx2.HTTPTransport(uds=str(socket)), base_url="http://worker", timeout=300
            ) as client:
                wait_until_ready(client)
                yield lambda pairs: ask(client, pairs)
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(client: httpx2.Client) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            health = client.get("/health").json()
        except httpx2.TransportError:
            health = {}
        if health.get("state") == "ready":
            return
        if health.get("state") == "failed":
            raise SystemExit(health["problem"])
        time.sleep(0.1)
    raise SystemExit(f"the worker was not ready within {READY_TIMEOUT_S:g} s")


def ask(client: httpx2.Client, pairs: Pairs) -> list[int]:
    labels: list[int] = []
    for start in range(0, len(pairs), PAIRS_MAX):
        wanted = [{"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in pairs[start : start + 64]]
        reply = client.post("/nli", json={"pairs": wanted, "representation": True})
        reply.raise_for_status()
        for judgement in reply.json()["judgements"]:
            logits = judgement["logits"]
            labels.append(max(range(3), key=lambda n: logits[("supports", "refutes", "neutral")[n]]))
    return labels


def write_model(name: str, folder: Path) -> tuple[str, ...]:
    """The very weights the worker serves, as a folder the others can read; returns their labels in order."""
    base = load_base(name)
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return base.labels


def cross_encoder(folder: Path) -> Callable[[Pairs], list[int]]:
    model = CrossEncoder(str(folder), device="cpu", max_length=512)

    def predict(pairs: Pairs) -> list[int]:
        scores = model.predict(pairs, batch_size=64, show_progress_bar=False)
        return [int(column) for column in scores.argmax(axis=1)]

    return predict


def transformers_pipeline(name: str) -> Callable[[Pairs], list[int]]:
    base = load_base(name)
    pipe = TextClassificationPipeline(model=base.model, tokenizer=base.tokenizer, device="cpu", top_k=1)
    columns = {str(label): column for column, label in base.model.config.id2label.items()}

    def predict(pairs: Pairs) -> list[int]:
        given = [{"text": premise, "text_pair": hypothesis} for premise, hypothesis in pairs]
        answers: Any = pipe(given, batch_size=64, truncation=True)
        return [columns[answer[0]["label"]] for answer in answers]

    return predict


def measure(judges: dict[str, Callable[[Pairs], list[int]]], pairs: Pairs, repeats: int) -> list[dict[str, Any]]:
    """Pairs per second of each judge in each workload; they take turns in every round."""
    rows = []
    for name, work in workloads(pairs).items():
        rates: dict[str, list[float]] = {judge: [] for judge in judges}
        for judge in judges.values():
            judge(work[0])
        for _ in range(repeats):
            for judge, predict in judges.items():
                started = time.perf_counter()
                for batch in work:
                    predict(batch)
                rates[judge].append(sum(map(len, work)) / (time.perf_counter() - started))
        medians = {judge: statistics.median(values) for judge, values in rates.items()}
        ratios = {
            other: statistics.median(a / b for a, b in zip(rates["worker"], values, strict=True))
            for other, values in rates.items()
            if other != "worker"
        }
        rows.append({"workload": name, "pairs_per_s": medians, "worker_times_faster_than": ratios})
    return rows


def workloads(pairs: Pairs) -> dict[str, list[Pairs]]:
    """Single pairs, eights, and one full request of similar length; and all lengths in one stream."""
    alike = sorted(pairs, key=lambda pair: sum(map(len, pair)))[len(pairs) // 2 :][:PAIRS_MAX]
    return {
        "batch 1": [[pair] for pair in alike[:16]],
        "batch 8": [alike[start : start + 8] for start in range(0, 32, 8)],
        "batch 64": [alike],
        MIXED: [pairs],
    }


def agreement(judges: dict[str, Callable[[Pairs], list[int]]], labels: tuple[str, ...], pairs: Pairs) -> float:
    """Share of pairs to which all give the same label: they must be doing the same work."""
    ours = [("supports", "refutes", "neutral")[column] for column in judges["worker"](pairs)]
    theirs = [[labels[column] for column in judge(pairs)] for name, judge in judges.items() if name != "worker"]
    return statistics.fmean(all(label == others[n] for others in theirs) for n, label in enumerate(ours))


def show(outcome: dict[str, Any]) -> None:
    names = [name for name in outcome["rows"][0]["pairs_per_s"] if name != "worker"]
    table = Table("workload", "worker pairs/s", *(f"worker / {name}" for name in names))
    for row in outcome["rows"]:
        ratios = [f"{row['worker_times_faster_than'][name]:.2f}" for name in names]
        table.add_row(row["workload"], f"{row['pairs_per_s']['worker']:.1f}", *ratios)
    Console().print(table)
    print(f"{outcome['pairs']} pairs, {outcome['threads']} threads; same label from all: {outcome['agreement']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin", help="builtin, or a folder")
    parser.add_argument("--pairs", type=Path, help="JSON lines with premise and hypothesis")
    parser.add_argument("--count", type=int, default=256, help="pairs in the mixed stream")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pairs = read_pairs(options.pairs, options.count) if options.pairs else made_up_pairs(options.count)
    with tempfile.TemporaryDirectory() as folder, worker(options.model, options.threads) as ask_worker:
        labels = write_model(options.model, Path(folder))
        judges = {
            "worker": ask_worker,
            "CrossEncoder": cross_encoder(Path(folder)),
            "pipeline": transformers_pipeline(options.model),
        }
        same = agreement(judges, labels, pairs)
        rows = measure(judges, pairs, options.repeats)
    outcome = {"pairs": len(pairs), "threads": options.threads, "agreement": same, "rows": rows}
    if options.json:
        print(json.dumps(outcome, indent=1))
    else:
        show(outcome)


if __name__ == "__main__":
    main()
