"""Train the shipped NLI base: full fine-tuning of the all-MiniLM-L6-v2 encoder on sentence pairs.

The word and position embeddings stay as published, so what we ship is the difference of the six
transformer layers and the head (see `ml_worker/training/pack_base.py`). Run again after a crash or
a `kill -9`: it continues from the newest checkpoint with the same random states. The commands of
the shipped base stand in its `MODEL_CARD.md`; the first and simplest of them is

    OMP_WAIT_POLICY=PASSIVE python -m ml_worker.training.base --data DATA/nli/train.jsonl.gz \
        --dev DATA/nli/dev.jsonl.gz --epochs 3 --out runs/one
"""

import argparse
import collections
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification

from ml_worker.encoder import encoder_folder
from ml_worker.training.base_pairs import Pairs, crossed_pairs, label_targets, read_everyday, read_pairs
from ml_worker.training.counting_pairs import counting_pair
from ml_worker.training.number_pairs import vary
from ml_worker.training.opposite_pairs import opposite_pair
from schema.vocabulary import LABELS

#: Left out: labelled automatically, and seen to be noisy (data card).
EXCLUDED_SOURCES = ("conjnli",)
PAIR_TOKENS_MAX = 192
LOG_STEPS = 100
EVALUATION_BATCH = 64

Encode = Callable[[list[dict[str, str]]], dict[str, torch.Tensor]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # data
    parser.add_argument("--data", type=Path, help="training pairs, gzipped JSON lines; without them only made ones")
    parser.add_argument("--dev", type=Path, required=True, help="development pairs, gzipped JSON lines")
    parser.add_argument("--repeat", nargs="*", default=[], metavar="SOURCE", help="sources met twice in every epoch")
    parser.add_argument("--everyday", type=int, default=0, metavar="TIMES", help="our own pairs, met so often an epoch")
    parser.add_argument("--number-pairs", type=int, default=0, help="variants of each pair with figures")
    parser.add_argument("--counting", type=int, default=0, help="short pairs with figures, in every epoch")
    parser.add_argument("--opposites", type=int, default=0, help="short pairs with opposites, in every epoch")
    parser.add_argument("--crossed", type=int, default=0, help="pairs of unrelated sentences, in every epoch")
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


def load_model(folder: Path, dropout: float = 0.0) -> BertForSequenceClassification:
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    # Eager attention is the faster one where no attention weight is dropped.
    fast = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": dropout, "attn_implementation": "eager"}
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=len(LABELS), **fast, **names)
    share_dropout(model.bert)
    for frozen in (model.bert.embeddings.word_embeddings, model.bert.embeddings.position_embeddings):
        frozen.requires_grad_(False)
    return model


def answers(model: BertForSequenceClassification, rows: list[dict[str, str]], encode: Encode) -> torch.Tensor:
    """(N, 3) float32 probabilities."""
    model.eval()
    result = torch.zeros(len(rows), len(LABELS))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["premise"]) + len(rows[i]["hypothesis"]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(order), EVALUATION_BATCH):
            indices = order[start : start + EVALUATION_BATCH]
            result[indices] = model(**encode([rows[i] for i in indices])).logits.float().softmax(-1)
    return result


def accuracy(model: BertForSequenceClassification, rows: list[dict[str, str]], encode: Encode) -> dict[str, float]:
    """Per source, in [0, 1]."""
    right: dict[str, list[bool]] = collections.defaultdict(list)
    for row, column in zip(rows, answers(model, rows, encode).argmax(-1).tolist(), strict=True):
        right[row["source"]].append(LABELS[column] == row["label"])
    return {source: fmean(right[source]) for source in sorted(right)}


def soft_targets(options: argparse.Namespace, rows: list[dict[str, str]], encode: Encode) -> torch.Tensor:
    """(N, 3) float32: the label, and the mean answer of the teachers where there are any.

    Source: Furlanello et al. 2018, "Born-again neural networks".
    """
    targets = label_targets(rows)
    if not options.teachers:
        return targets
    kept = options.out / "teachers.pt"  # a run that continues need not ask again
    if not kept.exists():
        said = [answers(load_model(folder), rows, encode) for folder in options.teachers]
        torch.save(torch.stack(said).mean(0), kept)
    return targets.lerp(torch.load(kept, weights_only=True), options.teachers_share)


def read_training(options: argparse.Namespace, encode: Encode) -> Pairs:
    pool = read_pairs(options.data, EXCLUDED_SOURCES) if options.data else []
    pool += [row for row in pool if row["source"] in options.repeat]
    everyday = read_everyday()
    with_figures = [row for row in pool if vary(row, random.Random(0))]  # noqa: S311  # no secret
    chance = random.Random(options.seed)  # noqa: S311  # likewise
    counting = [counting_pair(chance) for _ in range(options.counting)]
    opposites = [opposite_pair(chance) for _ in range(options.opposites)]
    crossed = crossed_pairs(pool + everyday, options.crossed, chance)
    ours = everyday * options.everyday + opposites + crossed
    targets = torch.cat([soft_targets(options, pool, encode), label_targets(ours)])
    return Pairs(pool + ours + with_figures * options.number_pairs + counting, targets, options.batch, options.seed)


class Learner:
    """The model, its optimizer and the moving average of its weights, as one thing that is saved and restored."""

    def __init__(self, model: BertForSequenceClassification, options: argparse.Namespace, steps: int) -> None:
        self.model = model
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        decayed = [p for p in self.trained.values() if p.dim() > 1]
        plain = [p for p in self.trained.values() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=options.learning_rate,
            fused=True,
        )
        warmup = max(1, round(options.warmup_share * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / (steps - warmup)))
        )
        self.average = {name: p.detach().clone() for name, p in self.trained.items()}
        self.average_decay = options.average_decay
        self.step = 0

    def learn(self, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> float:
        """One step on inputs of (B, T) int64 and targets of (B, 3) float32; the loss."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.model(**inputs).logits  # (B, 3)
        loss = functional.cross_entropy(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        decay = min(self.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.trained.values()), 1 - decay)
        return loss.item()

    def save(self, folder: Path) -> None:
        """Write beside the target, then rename: a reader sees the old checkpoint or the new one, never half of one."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "average": self.average,
            "step": self.step,
        }
        partial = folder / "checkpoint.partial"
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / "checkpoint.pt")

    def restore(self, folder: Path) -> None:
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.average, self.step = state["average"], state["step"]


def encoding(tokenizer: Any) -> Encode:
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

    return encode


def train(learner: Learner, pairs: Pairs, encode: Encode, options: argparse.Namespace, log: TextIO) -> None:
    steps = options.epochs * pairs.batches_an_epoch
    losses: list[float] = []
    since, saved_at = time.monotonic(), time.monotonic()
    for epoch, indices in itertools.islice(pairs.plan(options.epochs), learner.step, None):
        rows, targets = zip(*(pairs.draw(epoch, i) for i in indices), strict=True)
        losses.append(learner.learn(encode(list(rows)), torch.stack(targets)))
        if learner.step % LOG_STEPS == 0:
            pairs_per_s = len(losses) * pairs.batch / (time.monotonic() - since)
            line = {"step": learner.step, "steps": steps, "loss": round(fmean(losses), 4)}
            print(json.dumps(line | {"pairs_per_s": round(pairs_per_s, 1)}), file=log, flush=True)
            losses, since = [], time.monotonic()
        if time.monotonic() - saved_at >= options.checkpoint_s:
            learner.save(options.out)
            saved_at = time.monotonic()
        if learner.step == options.steps_max:
            return


def main() -> None:
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    folder = options.start or encoder_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encode = encoding(tokenizer)
    model = load_model(folder, options.dropout)
    pairs = read_training(options, encode)
    learner = Learner(model, options, options.epochs * pairs.batches_an_epoch)
    if (options.out / "checkpoint.pt").exists():
        learner.restore(options.out)
        print(f"continuing at step {learner.step}", flush=True)

    model.train()
    with (options.out / "log.jsonl").open("a", encoding="utf-8") as log:
        train(learner, pairs, encode, options, log)
        model.load_state_dict(learner.average, strict=False)
        dev = accuracy(model, read_pairs(options.dev), encode)
        print(json.dumps({"step": learner.step, "dev": dev}), file=log, flush=True)
    model.save_pretrained(options.out / "final")
    tokenizer.save_pretrained(options.out / "final")


if __name__ == "__main__":
    main()
