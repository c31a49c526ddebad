"""What the NLI LoRA trainer costs against a plain `transformers.Trainer`, and what an adapter costs when judging.

    OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false python -m benchmarks.training
    OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false python -m benchmarks.training --steps 20 --runs 20 --json

Training: both trainers take turns step by step in one process, on the same batches in the same order, with the same
LoRA configuration of the recipe `seed`, without rehearsal, logging, checkpoints or evaluation in the timed part. Ours
reads the texts in every step, the Trainer gets tokens that were made before the clock started. Judging: the base alone
and the base with an adapter on every linear layer, in turn on the same batch, the order swapped every run; the reading
of the texts counts for both.

On a busy machine believe the ratios, not the seconds: each is the median over pairs of neighbours in time.
"""

import argparse
import hashlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from ml_worker.adapters import Adapter, load_adapter
from ml_worker.base_models import BaseModel, load_base, quiet_libraries
from ml_worker.job_folders import JobFolder
from ml_worker.nli import NliModel
from ml_worker.training import artifacts, lora
from ml_worker.training.nli_lora import NliLoraTraining, Watchers, epoch_order
from ml_worker.training.splits import Split
from ml_worker.training.training_data import TrainingData
from schema.jobs import NLI_LORA_RECIPES, Limits, NliLoraRecipe, NliLoraRequest, Sample
from schema.vocabulary import LABELS
from schema.wire import Pair

RECIPE = NLI_LORA_RECIPES["seed"].model_copy(update={"epochs": 1})
#: What most adapters are made with: it replaces the most tensors, so it has the most to cost.
SERVED_RECIPE = NLI_LORA_RECIPES["default"]
SEED = 1
WARM_UP = 5
TURN_TIMEOUT_S = 120.0
RATIO_WANTED = 1.1
OURS, THEIRS = "lyra", "Trainer"

PLACES = ("harbour", "town hall", "museum", "railway bridge", "old mill", "north school", "water tower", "market hall")
WORKS = ("was repaired", "was painted green", "was closed to visitors", "got a new roof", "was sold to the county")
ASIDES = (
    "",
    " after two years of debate in the council",
    ", although the money for it had been promised to the hospital across the river",
    ", as the mayor told the paper on the morning after the vote, with the full support of the neighbours",
)


def made_up_samples(count: int) -> list[Sample]:
    """A sentence or two as premise, one as hypothesis, about what happened to which building in which year."""
    chance = random.Random(SEED)
    samples = []
    for i in range(count):
        place, work, year = chance.choice(PLACES), chance.choice(WORKS), chance.randrange(1950, 2020)
        label = LABELS[i % len(LABELS)]
        said = {"supports": f"{work} in {year}", "refutes": f"never {work}", "neutral": "cost more than planned"}
        samples.append(
            Sample(
                sample_id=f"s{i}",
                premise=f"In {year} the {place} {work}{chance.choice(ASIDES)}. It has served the people ever since.",
                hypothesis=f"The {place} {said[label]}.",
                label=label,
                source="correction",
            )
        )
    return samples


# Training


def finish_what_is_queued() -> None:
    """A GPU works on after the call that asked it; its time belongs to the step that asked."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Turns:
    """Two trainings go on step by step in turn; only one of them runs at any time, so the clocks are its own."""

    def __init__(self) -> None:
        self._may_go = {OURS: Semaphore(0), THEIRS: Semaphore(0)}
        self._since = (0.0, 0.0)
        #: Wall-clock seconds and processor seconds of each step.
        self.steps: dict[str, list[tuple[float, float]]] = {OURS: [], THEIRS: []}

    def begin(self, name: str) -> None:
        if not self._may_go[name].acquire(timeout=TURN_TIMEOUT_S):
            raise RuntimeError(f"{name} waited {TURN_TIMEOUT_S:g} s for its turn; the other training has failed")
        finish_what_is_queued()
        self._since = time.perf_counter(), time.process_time()

    def hand_over(self, name: str) -> None:
        """Let this one go on."""
        self._may_go[name].release()

    def step_done(self, name: str) -> None:
        finish_what_is_queued()
        wall, processor = self._since
        self.steps[name].append((time.perf_counter() - wall, time.process_time() - processor))
        self.hand_over(THEIRS if name == OURS else OURS)
        self.begin(name)


class TakeTurns(TrainerCallback):  # type: ignore[misc]  # the library is read without its types
    def __init__(self, turns: Turns) -> None:
        self.turns = turns

    def on_step_end(self, *_state: object, **_more: object) -> None:
        self.turns.step_done(THEIRS)


def our_training(
    samples: Sequence[Sample],
    recipe: NliLoraRecipe,
    base: BaseModel,
    root: Path,
    watchers: Watchers,
    device: torch.device,
) -> NliLoraTraining:
    # Early stopping needs something to watch; it does so before the first and after the last step.
    parts = Split(train=tuple(samples), validation=tuple(samples[: recipe.batch]), holdout=())
    return NliLoraTraining(
        base,
        TrainingData(parts=parts, rehearsal=[], rehearsal_unreviewed=0, check=[], check_unreviewed=0),
        recipe,
        seed=SEED,
        limits=Limits(checkpoint_s=1e9),
        checkpoints_root=root,
        device=device,
        watchers=watchers,
    )


def plain_trainer(samples: Sequence[Sample], turns: Turns, ours: NliLoraTraining, base: BaseModel, root: Path) -> Any:
    """The same adapter on the same batches; everything not named here is the library's default."""
    order = epoch_order(samples, RECIPE.sampling, seed=SEED, epoch=0)
    chosen = [samples[i] for i in order]
    encoded = NliModel(base, ours.device).encode(as_pairs(chosen))
    rows = [
        {**pair.inputs, "attention_mask": [1] * pair.length, "labels": base.labels.index(sample.label)}
        for pair, sample in zip(encoded, chosen, strict=True)
        if sample.label is not None
    ]
    settings = TrainingArguments(
        output_dir=str(root / "trainer"),
        per_device_train_batch_size=RECIPE.batch,
        max_steps=ours.steps,
        warmup_steps=ours.warmup,
        learning_rate=RECIPE.learning_rate,
        weight_decay=RECIPE.weight_decay,
        train_sampling_strategy="sequential",
        use_cpu=ours.device.type == "cpu",
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=SEED,
    )
    torch.manual_seed(SEED)  # the same first matrices as ours
    trainer = Trainer(
        model=lora.attach(base.model, RECIPE),
        args=settings,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(base.tokenizer),
        callbacks=[TakeTurns(turns)],
    )
    trainer.remove_callback(PrinterCallback)  # its closing line would stand before the JSON
    return trainer


def measure_training(name: str, steps: int, device: torch.device) -> dict[str, Any]:
    samples, turns = made_up_samples((WARM_UP + steps) * RECIPE.batch), Turns()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as second:
        taking_turns = Watchers(on_step=lambda _training: turns.step_done(OURS))
        ours = our_training(samples, RECIPE, load_base(name), Path(folder) / "ours", taking_turns, device)
        theirs = plain_trainer(samples, turns, ours, load_base(name), Path(folder))
        ran = second.submit(run_after_the_first, ours, turns)
        turns.hand_over(THEIRS)
        turns.begin(THEIRS)
        their_loss = theirs.train().training_loss
        turns.hand_over(OURS)
        ran.result()
    wall, processor = (
        {who: [laps[clock] for laps in turns.steps[who]][WARM_UP:] for who in (OURS, THEIRS)} for clock in (0, 1)
    )
    return {
        **compare(f"step, batch {RECIPE.batch}", wall[OURS], wall[THEIRS]),
        "processor_ratio": compare("", processor[OURS], processor[THEIRS])["ratio"],
        "mean_loss": {OURS: mean_loss(ours), THEIRS: their_loss},
    }


def mean_loss(training: NliLoraTraining) -> float:
    """Over all steps, from the curve, whose lines are means since the line before."""
    lines = [line for line in training.position.curve if "loss" in line]
    before = [0, *(line["step"] for line in lines)]
    total: float = sum(line["loss"] * (line["step"] - step) for line, step in zip(lines, before, strict=False))
    return total / training.position.step


def run_after_the_first(training: NliLoraTraining, turns: Turns) -> None:
    turns.begin(OURS)
    training.run()


# Judging


def write_random_adapter(name: str, root: Path) -> str:
    """An adapter on every linear layer, far enough from zero that each of them is replaced; where it is in `root`."""
    base, samples, folder = load_base(name), made_up_samples(SERVED_RECIPE.batch), JobFolder(root / "random")
    folder.path.mkdir()
    training = our_training(samples, SERVED_RECIPE, base, folder.checkpoints, Watchers(), torch.device("cpu"))
    for parameter_name, parameter in training.trained.items():
        if ".lora_B." in parameter_name:
            torch.nn.init.normal_(parameter, std=0.01)
    request = NliLoraRequest(
        job_id=folder.path.name,
        base_model=name,
        fingerprint=base.fingerprint,
        recipe_name="default",
        recipe=SERVED_RECIPE,
        seed=SEED,
        samples_sha256=hashlib.sha256("".join(map(Sample.model_dump_json, samples)).encode()).hexdigest(),
    )
    artifacts.publish_adapter(folder, request, training, temperature=base.temperature)
    return str(folder.adapter.relative_to(root))


def as_pairs(samples: Sequence[Sample]) -> list[Pair]:
    return [Pair(premise=sample.premise, hypothesis=sample.hypothesis) for sample in samples]


def measure_judging(name: str, batches: Sequence[int], runs: int, device: torch.device) -> list[dict[str, Any]]:
    base = load_base(name)
    nli = NliModel(base, device)
    with tempfile.TemporaryDirectory() as folder:
        adapter = load_adapter(base, Path(folder), write_random_adapter(name, Path(folder)))
    return [measure_batch(nli, adapter, batch, runs) for batch in batches]


def measure_batch(nli: NliModel, adapter: Adapter, batch: int, runs: int) -> dict[str, Any]:
    pairs = as_pairs(made_up_samples(batch))
    wall: dict[str, list[float]] = {"adapter": [], "base": []}
    processor: dict[str, list[float]] = {"adapter": [], "base": []}
    given = {"adapter": adapter, "base": None}
    for run in range(WARM_UP + runs):
        for who in sorted(given, reverse=run % 2 == 1):
            since, since_processor = time.perf_counter(), time.process_time()
            nli.judge(nli.encode(pairs), given[who], representation=True)
            processor[who].append(time.process_time() - since_processor)
            wall[who].append(time.perf_counter() - since)
    return {
        **compare(f"judge, batch {batch}", wall["adapter"][WARM_UP:], wall["base"][WARM_UP:]),
        "processor_ratio": compare("", processor["adapter"][WARM_UP:], processor["base"][WARM_UP:])["ratio"],
        "pairs_per_s": {who: batch / statistics.median(seconds[WARM_UP:]) for who, seconds in wall.items()},
        "tensors_replaced": len(adapter.parameters),
    }


# Both


def compare(figure: str, ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Medians in seconds, and how often as long as its neighbour in time ours took: median and quartiles."""
    ratios = [a / b for a, b in zip(ours, other, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "figure": figure,
        "median_s": statistics.median(ours),
        "other_median_s": statistics.median(other),
        "ratio": middle,
        "ratio_quartiles": [low, high],
        "n": len(ratios),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table("figure", "ours", "other", "ratio", "quartiles", "processor", "n")
    cell: Callable[[float], str] = "{:.2f}".format
    for row in rows:
        table.add_row(
            row["figure"],
            f"{row['median_s'] * 1000:.0f} ms",
            f"{row['other_median_s'] * 1000:.0f} ms",
            cell(row["ratio"]),
            " - ".join(map(cell, row["ratio_quartiles"])),
            cell(row["processor_ratio"]),
            str(row["n"]),
        )
    Console().print(table)
    training, *judging = rows
    losses = ", ".join(f"{who} {loss:.4f}" for who, loss in training["mean_loss"].items())
    print(f"other: the Trainer; the base alone. Wanted: ratios of at most {RATIO_WANTED}.")
    print(f"mean training loss: {losses}; tensors the adapter replaces: {judging[0]['tensors_replaced']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="builtin", help="builtin, a local folder, or a model id")
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each trainer")
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each batch, with and without the adapter")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    rows = [
        measure_training(options.base, options.steps, device),
        *measure_judging(options.base, options.batches, options.runs, device),
    ]
    if options.json:
        print(json.dumps({"threads": options.threads, "recipe": RECIPE.model_dump(), "rows": rows}, indent=1))
    else:
        show(rows)


if __name__ == "__main__":
    main()
