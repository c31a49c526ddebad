"""The intent classifier on CLINC150 with few examples of each of 150 intents, beside simpler ones on the same vectors.

    python -m benchmarks.intent --data DATA

Fitted as a user's would be (`ml_worker.intents`), on so many examples of each intent from the training part; measured
on the test part (4,500 texts) and on 1,000 texts that belong to no intent. Each row is the mean over some draws.
"""

import argparse
import base64
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load
from scipy.special import logsumexp, softmax

from lyra_mcp.domain.intents import IntentModel, predict, read_classifier
from ml_worker.base_models import quiet_libraries
from ml_worker.embeddings import Embedder
from ml_worker.evaluation.labelled_pairs import expected_calibration_error
from ml_worker.intents import fit
from schema.wire import FitIntents, FittedIntents

EXAMPLES = (5, 10, 20, 50)
WANTED = {5: 0.87, 10: 0.91, 20: 0.93, 50: 0.94}
KEPT_SHARE = 0.95
#: Of predictions in plain Python, as the server makes them.
TIMED = 200
BATCH = 64


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with intent/clinc150.jsonl.gz")
    parser.add_argument("--encoder", default="builtin", help="builtin, a local folder, or a model id")
    parser.add_argument("--cache", type=Path, help="keep the vectors in this .npy file, and read them from it")
    parser.add_argument("--examples", type=int, nargs="+", default=list(EXAMPLES), help="of each intent")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def embed(texts: list[str], encoder: str, cache: Path | None) -> np.ndarray:
    """(N, D) float32, rows of unit length."""
    if cache is not None and cache.exists():
        kept: np.ndarray = np.load(cache)
        return kept
    embedder = Embedder(encoder, torch.device("cpu"))
    rows = []
    for start in range(0, len(texts), BATCH):
        rows += [base64.b64decode(row) for row in embedder.embed(texts[start : start + BATCH]).vectors]
    vectors = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(texts), -1)
    if cache is not None:
        np.save(cache, vectors)
    return vectors


def centroid_accuracy(vectors: np.ndarray, codes: np.ndarray, tests: np.ndarray, gold: np.ndarray) -> float:
    centroids = np.stack([vectors[codes == code].mean(axis=0) for code in range(codes.max() + 1)])  # (C, D)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return float(((tests @ centroids.T).argmax(axis=1) == gold).mean())


def neighbour_accuracy(vectors: np.ndarray, codes: np.ndarray, tests: np.ndarray, gold: np.ndarray) -> float:
    return float((codes[(tests @ vectors.T).argmax(axis=1)] == gold).mean())


def milliseconds_per_prediction(fitted: FittedIntents, tests: np.ndarray) -> float:
    """Of the server's own code, weights read anew each time, without the embedding."""
    model = IntentModel(1, "", "", 1, fitted.facts, base64.b64decode(fitted.weights), 1, "")
    texts = [vector.tolist() for vector in tests[:TIMED]]
    started = time.process_time()
    for text in texts:
        predict(read_classifier(model), text)
    return (time.process_time() - started) / len(texts) * 1000


def measure(
    vectors: np.ndarray, codes: np.ndarray, parts: np.ndarray, names: list[str], *, examples: int, seed: int
) -> dict[str, float]:
    chance = np.random.default_rng(seed)
    pools = [np.flatnonzero((parts == "train") & (codes == code)) for code in range(len(names))]
    chosen = np.concatenate([chance.permutation(pool)[:examples] for pool in pools])
    test, foreign = vectors[parts == "test"], vectors[parts == "oos_test"]
    gold, own = codes[parts == "test"], codes[chosen]
    order = FitIntents(
        intents=[names[code] for code in own],
        vectors=base64.b64encode(vectors[chosen].tobytes()).decode(),
        dimension=vectors.shape[1],
        seed=seed,
    )
    started = time.process_time()
    fitted = fit(order)
    fit_s = time.process_time() - started
    weights, facts = load(base64.b64decode(fitted.weights)), fitted.facts
    logits, foreign_logits = (each @ weights["weight"].T + weights["bias"] for each in (test, foreign))
    known, foreign_known = logsumexp(logits, axis=1), logsumexp(foreign_logits, axis=1)
    right = logits.argmax(axis=1) == gold
    calibrated, raw = (softmax(logits.astype(np.float64) / scale, axis=1) for scale in (facts.temperature, 1.0))
    confidences = calibrated.max(axis=1)
    foreign_confidences = softmax(foreign_logits / facts.temperature, axis=1).max(axis=1)
    return {
        "accuracy": float(right.mean()),
        "said": facts.cross_validated.accuracy,
        "neighbour": neighbour_accuracy(vectors[chosen], own, test, gold),
        "centroid": centroid_accuracy(vectors[chosen], own, test, gold),
        "majority": float(np.bincount(gold).max() / len(gold)),
        "kept": float((known >= facts.threshold).mean()),
        "rejected": float((foreign_known < facts.threshold).mean()),
        "rejected_at_95": float((foreign_known < np.quantile(known, 1 - KEPT_SHARE)).mean()),
        "rejected_by_confidence": float((foreign_confidences < np.quantile(confidences, 1 - KEPT_SHARE)).mean()),
        "accuracy_accepted": float(right[known >= facts.threshold].mean()),
        "ece_raw": expected_calibration_error(raw, gold),
        "ece": expected_calibration_error(calibrated, gold),
        "fit_s": fit_s,
        "predict_ms": milliseconds_per_prediction(fitted, test),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    with gzip.open(options.data / "intent/clinc150.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    vectors = embed([row["text"] for row in rows], options.encoder, options.cache)
    parts = np.array([row["split"] for row in rows])
    names = sorted({row["label"] for row in rows if not row["split"].startswith("oos")})
    numbers = {name: number for number, name in enumerate(names)}
    codes = np.array([numbers.get(row["label"], -1) for row in rows])
    table = {}
    for examples in options.examples:
        draws = [measure(vectors, codes, parts, names, examples=examples, seed=seed) for seed in range(options.draws)]
        table[examples] = {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}
    return {"encoder": options.encoder, "draws": options.draws, "examples": table}


def show(outcome: dict[str, Any]) -> None:
    shares = {
        "accuracy": "accuracy",
        "said": "as said",
        "neighbour": "1-NN",
        "centroid": "centroid",
        "majority": "majority",
        "kept": "kept",
        "rejected": "rejected",
        "accuracy_accepted": "right if kept",
        "rejected_at_95": "rejected at 95 %",
        "rejected_by_confidence": "... by confidence",
    }
    table = Table("examples", *shares.values(), "ECE raw", "ECE", "fit, s", "predict, ms", "wanted")
    for examples, row in outcome["examples"].items():
        figures = [f"{100 * row[name]:.1f}" for name in (*shares, "ece_raw", "ece")]
        wanted = f"{100 * WANTED[examples]:.0f}" if examples in WANTED else ""
        table.add_row(str(examples), *figures, f"{row['fit_s']:.0f}", f"{row['predict_ms']:.1f}", wanted)
    Console(width=180).print(table)


def main() -> None:
    options = arguments()
    quiet_libraries()
    torch.set_num_threads(1)
    outcome = run(options)
    if options.json:
        print(json.dumps(outcome, indent=1))
    else:
        show(outcome)


if __name__ == "__main__":
    main()
