"""How much corrections of a domain bring there, and what they cost elsewhere; through the real trainer.

    python -m benchmarks.adaptation --data DATA --recipe default seed --corrections 100 400 --seeds 1 2 3

SciFact's training split plays the person; its dev split is the domain, SNLI and MNLI dev are
elsewhere. Only reviewed pairs are given, so rehearsal has to build its pairs from their texts. *Agrees* is the gate's
figure: the share of answers the base was sure of that the adapter repeats, on pairs built from held-out texts.
"""

import argparse
import gzip
import itertools
import json
import random
import tempfile
import time
from pathlib import Path

import torch

from ml_worker.base_models import BaseModel, load_base
from ml_worker.training.job_report import CONFIDENT_MIN
from ml_worker.training.nli_lora import NliLoraTraining, Watchers
from ml_worker.training.training_data import prepare_data
from schema.jobs import NLI_LORA_RECIPES, Limits, NliLoraRecipe, Sample
from schema.vocabulary import LABELS, Label

ELSEWHERE = ("snli_devtest", "mnli_dev_matched")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with nli/scifact.jsonl.gz and nli/dev.jsonl.gz"
    )
    parser.add_argument("--base", default="builtin", help="builtin, a local folder, or a model id")
    parser.add_argument("--recipe", nargs="+", default=["default"], choices=sorted(NLI_LORA_RECIPES))
    parser.add_argument("--change", default="{}", help="JSON of recipe fields to try instead")
    parser.add_argument("--corrections", nargs="+", type=int, default=[50, 100, 200, 400, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--elsewhere", type=int, default=1000, help="pairs of SNLI and MNLI dev")
    parser.add_argument("--noise", type=float, default=0.0, help="share of corrections that get a wrong label, seeded")
    parser.add_argument(
        "--strengths", nargs="+", type=float, help="shares of one training to keep; default: the recipe's"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def as_samples(rows: list[dict[str, str]], *, noise: float = 0.0, seed: int = 1) -> list[Sample]:
    """Reviews by a person who errs in a share of them."""
    chance = random.Random(f"noise {seed}")
    return [
        Sample(
            sample_id=f"s{i}",
            premise=row["premise"],
            hypothesis=row["hypothesis"],
            label=_another(row["label"], chance) if chance.random() < noise else row["label"],
            source="correction",
        )
        for i, row in enumerate(rows)
    ]


def _another(label: str, chance: random.Random) -> Label:
    return chance.choice([other for other in LABELS if other != label])


def train(
    base: BaseModel, samples: list[Sample], recipe: NliLoraRecipe, *, seed: int, device: torch.device
) -> NliLoraTraining:
    with tempfile.TemporaryDirectory() as root:
        training = NliLoraTraining(
            base,
            prepare_data(samples, recipe, seed=seed),
            recipe,
            seed=seed,
            limits=Limits(checkpoint_s=1e9),
            checkpoints_root=Path(root),
            device=device,
            watchers=Watchers(),
        )
        training.run()
    return training


def accuracy(training: NliLoraTraining, rows: list[dict[str, str]]) -> float:
    """In points."""
    columns = training.logits([(row["premise"], row["hypothesis"]) for row in rows]).argmax(-1).tolist()
    right = [training.base.labels[c] == row["label"] for c, row in zip(columns, rows, strict=True)]
    return 100 * sum(right) / len(right)


def agreement(training: NliLoraTraining) -> float:
    """In per cent, on the training's own check pairs; the base is sure from the gate's confidence on."""
    pairs = training.data.check
    with training.model.disable_adapter():
        base = (training.logits(pairs) / training.base.temperature).softmax(-1)  # (N, 3)
    sure = base.max(-1).values >= CONFIDENT_MIN  # (N,)
    agrees = training.logits(pairs).argmax(-1) == base.argmax(-1)
    return 100 * agrees[sure].double().mean().item()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    domain = read(options.data / "nli/scifact.jsonl.gz")
    pool, dev = ([row for row in domain if row["split"] == part] for part in ("train", "dev"))
    elsewhere = [row for row in read(options.data / "nli/dev.jsonl.gz") if row["source"] in ELSEWHERE]
    random.Random(6).shuffle(elsewhere)
    elsewhere = elsewhere[: options.elsewhere]
    print(
        f"{'recipe':<10}{'corrections':>12}{'seed':>6}{'strength':>10}{'domain':>14}{'elsewhere':>14}{'agrees':>8}"
        f"{'epoch':>7}{'s':>7}"
    )
    before: tuple[float, float] | None = None
    for name, count, seed in itertools.product(options.recipe, options.corrections, options.seeds):
        recipe = NliLoraRecipe(**(NLI_LORA_RECIPES[name].model_dump() | json.loads(options.change)))
        rows = list(pool)
        random.Random(seed).shuffle(rows)
        samples = as_samples(rows[:count], noise=options.noise, seed=seed)
        since = time.monotonic()
        training = train(load_base(options.base), samples, recipe, seed=seed, device=torch.device(options.device))
        seconds = time.monotonic() - since
        if before is None:
            with training.model.disable_adapter():
                before = accuracy(training, dev), accuracy(training, elsewhere)
        for strength in options.strengths or [recipe.strength]:
            training.keep(strength)
            here, there = accuracy(training, dev), accuracy(training, elsewhere)
            print(
                f"{name:<10}{count:>12}{seed:>6}{strength:>10.2f}{here:>7.1f} {here - before[0]:>+6.1f}"
                f"{there:>7.1f} {there - before[1]:>+6.1f}{agreement(training):>8.1f}"
                f"{training.position.best_epoch:>7}{seconds:>7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
