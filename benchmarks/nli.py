"""Quality of an NLI model per source, beside what no reading, and reading only the hypothesis, would score.

    python -m benchmarks.nli --data DATA
    python -m benchmarks.nli --data DATA --model FOLDER --limit 1000 --json

Three baselines: always the commonest label; the same model with an empty premise; and logistic regression on the
hypothesis' words, fitted on a sample of the training pool. The ECE has 15 bins and stands before and after the
model's own temperature (1 for a folder, which brings none).
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ml_worker.base_models import load_base, quiet_libraries
from ml_worker.evaluation.labelled_pairs import (
    POOLED,
    LabelledPair,
    by_source,
    cpu_has_bfloat16,
    judge_pairs,
    majority_share,
    read_pairs,
    sum_up_by_source,
)
from ml_worker.nli import NliModel
from schema.vocabulary import LABELS

#: Sets to measure, by file in the data folder's `nli`.
SETS = ("dev", "scifact", "ja_dev")
#: Reading it is no use, and every model tokenizes it.
NO_PREMISE = "."
WORDS_TRAINING_PAIRS = 40_000
NEGATION = re.compile(r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|\w*n['’]t)\b", re.IGNORECASE)
LONG_WORDS = 60
#: What such models are known to be weak at.
SLICES: dict[str, Callable[[LabelledPair], bool]] = {
    "negation in the hypothesis": lambda pair: bool(NEGATION.search(pair.hypothesis)),
    "a number in the hypothesis": lambda pair: bool(re.search(r"\d", pair.hypothesis)),
    f"premise of {LONG_WORDS} words or more": lambda pair: len(pair.premise.split()) >= LONG_WORDS,
    "none of these": lambda pair: not any(inside(pair) for inside in list(SLICES.values())[:-1]),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with nli/dev.jsonl.gz and nli/train.jsonl.gz")
    parser.add_argument("--model", default="builtin", help="builtin, a local folder, or a model id")
    parser.add_argument("--sets", nargs="+", default=["dev"], choices=SETS)
    parser.add_argument("--limit", type=int, default=0, help="so many pairs of each source; 0: all")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs that a limit leaves, and of the word sample")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bfloat16", action="store_true", help="twice as fast where the processor has it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def choose(pairs: Sequence[LabelledPair], limit: int, seed: int) -> list[LabelledPair]:
    chance = random.Random(seed)
    chosen: list[LabelledPair] = []
    for source, places in by_source(pairs).items():
        if source != POOLED:
            kept = chance.sample(places, limit) if 0 < limit < len(places) else places
            chosen += [pairs[i] for i in kept]
    return chosen


def words_of_hypotheses(data: Path, pairs: Sequence[LabelledPair], seed: int) -> list[bool]:
    """Whether a linear model of the hypothesis' words and word pairs is right about each pair."""
    pool = read_pairs(data / "nli/train.jsonl.gz")
    sample = random.Random(seed).sample(pool, min(len(pool), WORDS_TRAINING_PAIRS))
    model = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), min_df=3, binary=True, token_pattern=r"(?u)\b\w+\b"),
        LogisticRegression(C=0.1, max_iter=300),
    )
    model.fit([pair.hypothesis for pair in sample], [pair.label for pair in sample])
    found = model.predict([pair.hypothesis for pair in pairs])
    return [bool(label == pair.label) for label, pair in zip(found, pairs, strict=True)]


def accuracy_of_slices(pairs: Sequence[LabelledPair], columns: Sequence[int]) -> dict[str, dict[str, float | int]]:
    """Accuracy where a pair has a property; `majority` is that of the slice."""
    rows: dict[str, dict[str, float | int]] = {}
    for name, inside in SLICES.items():
        chosen = [i for i, pair in enumerate(pairs) if inside(pair)]
        if chosen:
            labels = [pairs[i].label for i in chosen]
            right = sum(LABELS[columns[i]] == pairs[i].label for i in chosen)
            rows[name] = {"n": len(chosen), "accuracy": right / len(chosen), "majority": majority_share(labels)}
    return rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    read = [pair for name in options.sets for pair in read_pairs(options.data / f"nli/{name}.jsonl.gz", split="dev")]
    pairs = choose(read, options.limit, options.seed)
    base = load_base(options.model)
    model = NliModel(base, torch.device("cpu"))
    judged = judge_pairs(model, [(p.premise, p.hypothesis) for p in pairs], bfloat16=options.bfloat16)
    blind = judge_pairs(model, [(NO_PREMISE, p.hypothesis) for p in pairs], bfloat16=options.bfloat16)
    by_words = words_of_hypotheses(options.data, pairs, options.seed)
    rows = sum_up_by_source(pairs, judged.logits, base.temperature)
    for source, places in by_source(pairs).items():
        gold = [LABELS.index(pairs[i].label) for i in places]
        rows[source] |= {
            "hypothesis_only_model": float((blind.logits[places].argmax(axis=1) == gold).mean()),
            "hypothesis_only_words": sum(by_words[i] for i in places) / len(places),
        }
    return {
        "model": base.name,
        "fingerprint": base.fingerprint,
        "temperature": base.temperature,
        "threads": options.threads,
        "arithmetic": "bfloat16 autocast" if options.bfloat16 else "float32",
        "pairs_per_s": judged.pairs_per_s,
        "sources": rows,
        "slices": accuracy_of_slices(pairs, judged.logits.argmax(axis=1).tolist()),
    }


def show(outcome: dict[str, Any]) -> None:
    columns = {
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "majority": "majority",
        "hypothesis_only_model": "no premise",
        "hypothesis_only_words": "words",
        "ece_raw": "ECE raw",
        "ece": "ECE",
    }
    table = Table("source", "n", *columns.values(), "NLL raw", "NLL", title=f"NLI, {outcome['model']}")
    for source, row in outcome["sources"].items():
        shares = [f"{100 * row[name]:.1f}" for name in columns]
        table.add_row(source, str(row["n"]), *shares, f"{row['nll_raw']:.3f}", f"{row['nll']:.3f}")
    Console(width=120).print(table)
    slices = Table("all sources, where there is", "n", "accuracy", "majority")
    for name, row in outcome["slices"].items():
        slices.add_row(name, str(row["n"]), f"{100 * row['accuracy']:.1f}", f"{100 * row['majority']:.1f}")
    Console(width=120).print(slices)
    print(
        f"temperature {outcome['temperature']:g}, {outcome['pairs_per_s']:.0f} pairs/s with {outcome['threads']} "
        f"threads in {outcome['arithmetic']}, fingerprint {outcome['fingerprint'][:12]}"
    )


def main() -> None:
    options = arguments()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    if options.bfloat16 and not cpu_has_bfloat16():
        raise SystemExit("this processor has no bfloat16 arithmetic; leave --bfloat16 out")
    outcome = measure(options)
    if options.json:
        print(json.dumps(outcome, indent=1))
    else:
        show(outcome)


if __name__ == "__main__":
    main()
