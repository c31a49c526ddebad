"""Train the shipped NLI base: full fine-tuning of the all-MiniLM-L6-v2 encoder on sentence pairs.

The word and position embeddings stay as published, so what we ship is the difference of the six
transformer layers and the head (see `ml_worker/training/pack_base.py`). Run again after a crash or
a `kill -9`: it continues from the newest checkpoint with the same random states. The command of
the shipped base:

    OMP_WAIT_POLICY=PASSIVE python -m ml_worker.training.base --data DATA/nli/train.jsonl.gz \
        --dev DATA/nli/dev.jsonl.gz --out runs/base
"""

import argparse
import collections
import gzip
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification

from ml_worker.encoder import encoder_folder
from ml_worker.training.number_pairs import vary

LABELS = ("supports", "refutes", "neutral")
#: Left out: labelled automatically, and seen to be noisy (data card).
EXCLUDED_SOURCES = ("conjnli",)
PAIR_TOKENS_MAX = 192
WINDOW_BATCHES = 64

Encode = Callable[[list[dict[str, str]]], dict[str, torch.Tensor]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # data
    parser.add_argument("--data", type=Path, required=True, help="training pairs, gzipped JSON lines")
    parser.add_argument("--dev", type=Path, required=True, help="development pairs, gzipped JSON lines")
    parser.add_argument("--repeat", nargs="*", default=[], metavar="SOURCE", help="sources met twice in every epoch")
    parser.add_argument("--number-pairs", type=int, default=0, help="variants of each pair with figures")
    parser.add_argument(
        "--teachers", type=Path, nargs="*", default=[], metavar="FOLDER", help="whose answers share in the targets"
    )
    parser.add_argument("--teachers-share", type=float, default=0.5, help="of the target; the rest is the label")
    parser.add_argument("--start", type=Path, help="go on from these weights (an earlier run's `final` folder)")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, log and the final weights")
    # optimisation
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=2.2e-4)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup-share", type=float, default=0.06)
    parser.add_argument("--average-decay", type=float, default=0.999, help="of the moving average that is shipped")
    parser.add_argument(
        "--dropout", type=float, default=0.1, help="of hidden states, one mask for all tokens of a pair"
    )
    parser.add_argument("--seed", type=int, default=1)
    # rhythm
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint-s", type=float, default=300.0)
    parser.add_argument("--steps-max", type=int, default=0, help="stop early (for a quick try); 0: no limit")
    return parser.parse_args()


def read_pairs(path: Path, excluded: tuple[str, ...] = ()) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["source"] not in excluded]


def batches(lengths: list[int], *, batch: int, seed: int) -> list[list[int]]:
    """Shuffle, sort windows of many batches by length, shuffle the batches: little padding, still random."""
    chance = random.Random(seed)  # noqa: S311  # a reproducible order, no secret
    order = list(range(len(lengths)))
    chance.shuffle(order)
    result = []
    for start in range(0, len(order), batch * WINDOW_BATCHES):
        window = sorted(order[start : start + batch * WINDOW_BATCHES], key=lengths.__getitem__)
        result += [window[i : i + batch] for i in range(0, len(window), batch)]
    chance.shuffle(result)
    return result


class SharedDropout(nn.Module):
    """Dropout with one mask for all tokens of a pair.

    Drawing a mask of every token costs a CPU as much as the whole rest of the step.
    Source: Gal and Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural networks".
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p  # the name of torch's own, which the attention reads

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, T, H) -> (B, T, H)."""
        if not self.training or not self.p:
            return hidden
        kept = torch.rand(hidden.shape[0], 1, hidden.shape[2], dtype=torch.float32) >= self.p  # (B, 1, H)
        return hidden * (kept.to(hidden.dtype) / (1 - self.p))


def share_dropout(encoder: nn.Module) -> None:
    for module in list(encoder.modules()):
        dropout = getattr(module, "dropout", None)
        if isinstance(dropout, nn.Dropout):
            module.dropout = SharedDropout(dropout.p)


def save_checkpoint(folder: Path, state: dict[str, object]) -> None:
    """Write beside the target, then rename: a reader sees the old checkpoint or the new one, never half of one."""
    partial = folder / "checkpoint.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / "checkpoint.pt")


def answers(folder: Path, rows: list[dict[str, str]], encode: Encode) -> torch.Tensor:
    """What earlier weights say: (N, 3) float32 probabilities."""
    teacher = BertForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    result = torch.zeros(len(rows), len(LABELS))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["premise"]) + len(rows[i]["hypothesis"]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), 64):
            indices = order[start : start + 64]
            logits = teacher(**encode([rows[i] for i in indices])).logits  # (B, 3)
            result[indices] = logits.float().softmax(-1)
    return result


def soft_targets(options: argparse.Namespace, rows: list[dict[str, str]], encode: Encode) -> torch.Tensor:
    """(N, 3) float32: the label, and the mean answer of the teachers where there are any.

    Source: Furlanello et al. 2018, "Born-again neural networks".
    """
    labels = torch.tensor([LABELS.index(row["label"]) for row in rows])  # (N,) int64
    targets = functional.one_hot(labels, len(LABELS)).float()
    if not options.teachers:
        return targets
    kept = options.out / "teachers.pt"  # a run that continues need not ask again
    if not kept.exists():
        torch.save(torch.stack([answers(folder, rows, encode) for folder in options.teachers]).mean(0), kept)
    return targets.lerp(torch.load(kept, weights_only=True), options.teachers_share)


def evaluate(model: BertForSequenceClassification, rows: list[dict[str, str]], encode: Encode) -> dict[str, float]:
    """Accuracy per source, in [0, 1]."""
    model.eval()
    right: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["premise"]) + len(rows[i]["hypothesis"]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), 64):
            chunk = [rows[i] for i in order[start : start + 64]]
            predicted = model(**encode(chunk)).logits.argmax(-1).tolist()
            for row, column in zip(chunk, predicted, strict=True):
                total[row["source"]] += 1
                right[row["source"]] += LABELS[column] == row["label"]
    model.train()
    return {source: right[source] / total[source] for source in sorted(total)}


def main() -> None:  # noqa: C901, PLR0915  # one run, readable from top to bottom
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    folder = options.start or encoder_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    # Eager attention is the faster one where no attention weight is dropped.
    fast = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": options.dropout, "attn_implementation": "eager"}
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS), **fast, **names)
    share_dropout(model.bert)
    for frozen in (model.bert.embeddings.word_embeddings, model.bert.embeddings.position_embeddings):
        frozen.requires_grad_(False)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = [p for p in trained.values() if p.dim() > 1]
    plain = [p for p in trained.values() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=options.learning_rate,
        fused=True,
    )
    average = {name: p.detach().clone() for name, p in trained.items()}

    rows = read_pairs(options.data, EXCLUDED_SOURCES)
    rows += [row for row in rows if row["source"] in options.repeat]
    variable = [row for row in rows if vary(row, random.Random(0))]  # noqa: S311  # no secret
    authored = len(rows)
    rows += variable * options.number_pairs
    lengths = [len(row["premise"]) + len(row["hypothesis"]) for row in rows]
    steps = options.epochs * math.ceil(len(rows) / options.batch)
    warmup = max(1, round(options.warmup_share * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / (steps - warmup)))
    )

    def encode(chunk: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        premises, hypotheses = [row["premise"] for row in chunk], [row["hypothesis"] for row in chunk]
        return dict(
            tokenizer(
                premises,
                hypotheses,
                truncation="longest_first",
                max_length=PAIR_TOKENS_MAX,
                padding=True,
                pad_to_multiple_of=8,  # few shapes: each new one costs a compiled kernel, in time and memory
                return_tensors="pt",
            )
        )  # each (B, T) int64

    step = 0
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        average, step = state["average"], state["step"]
        print(f"continuing at step {step} of {steps}", flush=True)

    targets = soft_targets(options, rows[:authored], encode)  # (N, 3)

    def drawn(epoch: int, index: int) -> tuple[dict[str, str], torch.Tensor]:
        """A pair of the epoch, and its target (3,)."""
        if index < authored:
            return rows[index], targets[index]
        chance = random.Random(f"{options.seed} {epoch} {index}")  # noqa: S311  # reproducible, no secret
        row = vary(rows[index], chance) or rows[index]
        return row, functional.one_hot(torch.tensor(LABELS.index(row["label"])), len(LABELS)).float()

    def plan() -> Iterator[tuple[int, list[int]]]:
        for epoch in range(options.epochs):
            for indices in batches(lengths, batch=options.batch, seed=options.seed * 1000 + epoch):
                yield epoch, indices

    model.train()
    log = (options.out / "log.jsonl").open("a", encoding="utf-8")
    losses: list[float] = []
    since, saved_at = time.monotonic(), time.monotonic()
    for number, (epoch, indices) in enumerate(plan()):
        if number < step:
            continue
        chunk, wanted = zip(*(drawn(epoch, i) for i in indices), strict=True)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**encode(list(chunk))).logits  # (B, 3)
        loss = functional.cross_entropy(logits.float(), torch.stack(wanted))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        schedule.step()
        step += 1
        decay = min(options.average_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(trained.values()), 1 - decay)
        losses.append(loss.item())
        if step % 100 == 0:
            seconds = time.monotonic() - since
            line = {
                "step": step,
                "steps": steps,
                "loss": round(sum(losses) / len(losses), 4),
                "pairs_per_s": round(len(losses) * options.batch / seconds, 1),
            }
            print(json.dumps(line), file=log, flush=True)
            losses, since = [], time.monotonic()
        if time.monotonic() - saved_at >= options.checkpoint_s:
            save_checkpoint(
                options.out,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "random": torch.get_rng_state(),
                    "average": average,
                    "step": step,
                },
            )
            saved_at = time.monotonic()
        if step == options.steps_max:
            break

    model.load_state_dict(average, strict=False)
    print(json.dumps({"step": step, "dev": evaluate(model, read_pairs(options.dev), encode)}), file=log, flush=True)
    model.save_pretrained(options.out / "final")
    tokenizer.save_pretrained(options.out / "final")


if __name__ == "__main__":
    main()
