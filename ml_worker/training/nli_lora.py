"""Train a LoRA adapter for the NLI base from reviews; an interrupted training and an undisturbed one end equal.

Read it from top to bottom: the batches, the loop, one step, the validation, the
checkpoint. What is frozen, in which order samples come, and when to stop depends on the request
and the seed only, never on the clock, unless a time limit was set.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional

from ml_worker.base_models import BaseModel
from ml_worker.nli import NliModel
from ml_worker.training import checkpoints, lora
from ml_worker.training.rehearsal import Texts
from ml_worker.training.training_data import TrainingData, texts
from schema.jobs import LOSS_STEPS, Limits, LossLine, NliLoraRecipe, Sample, ValidationLine
from schema.vocabulary import Sampling
from schema.wire import Pair

StoppedBy = Literal["epochs", "early_stopping", "time_limit", "steps_max"]

#: Pairs in one forward pass where nothing is learned.
EVALUATION_BATCH = 32
GRADIENT_NORM_MAX = 1.0
#: While learning, pairs are padded to few lengths: each new one leaves a compiled kernel behind, in time and memory.
TOKENS_MULTIPLE = 8


class Interrupted(Exception):
    """Somebody asked to stop; the newest checkpoint holds everything."""


# The batches


def epoch_order(samples: Sequence[Sample], sampling: Sampling, *, seed: int, epoch: int) -> list[int]:
    """Indices of one epoch: each sample once, or every label, or every domain, equally often."""
    chance = random.Random(f"order {seed} {epoch}")  # noqa: S311 - repeatable, not secret
    order = list(range(len(samples)))
    chance.shuffle(order)
    if sampling == "natural":
        return order
    groups: dict[str | None, list[int]] = defaultdict(list)
    for index in order:
        groups[samples[index].label if sampling == "class_balanced" else samples[index].domain].append(index)
    lists = list(groups.values())
    return [lists[i % len(lists)][(i // len(lists)) % len(lists[i % len(lists)])] for i in range(len(samples))]


def rehearsal_order(count: int, turn: int, *, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(f"rehearsal {seed} {turn}").shuffle(order)  # noqa: S311 - repeatable, not secret
    return order


def warmup_steps(recipe: NliLoraRecipe, steps: int) -> int:
    return max(1, int(recipe.warmup_share * steps))


def learning_rate_factor(step: int, *, steps: int, warmup: int) -> float:
    """Up in a straight line, then down to zero in another."""
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


# The loop


@dataclass
class Position:
    """Where the training is; plain values, so that a checkpoint can hold them."""

    epoch: int = 0
    #: Of this epoch, already taken.
    batches: int = 0
    step: int = 0
    best_loss: float = float("inf")
    best_epoch: int = 0
    elapsed_s: float = 0.0
    learning_rate_max: float = 0.0
    resumed: int = 0
    stopped_by: StoppedBy | None = None
    #: Since the last line of the curve: sum of losses, sum of rehearsal losses, steps.
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Watchers:
    """Who is told, and who may interrupt."""

    on_step: Callable[["NliLoraTraining"], None] = lambda _training: None
    should_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic


class NliLoraTraining:
    def __init__(
        self,
        base: BaseModel,
        data: TrainingData,
        recipe: NliLoraRecipe,
        *,
        seed: int,
        limits: Limits,
        checkpoints_root: Path,
        device: torch.device,
        watchers: Watchers,
        key: bytes | None = None,
    ) -> None:
        """`key` seals the checkpoints, and opens those that are sealed."""
        self.base, self.data, self.recipe, self.seed, self.limits = base, data, recipe, seed, limits
        self.root, self.device, self.watchers, self.key = checkpoints_root, device, watchers, key
        self.batch = limits.batch or recipe.batch
        self.epoch_steps = -(-len(data.parts.train) // self.batch)
        #: Over which the learning rate rises and falls, and how many of them will be taken at most.
        self.schedule_steps = recipe.epochs * self.epoch_steps
        self.steps = min(self.schedule_steps, limits.steps_max or self.schedule_steps)
        self.warmup = warmup_steps(recipe, self.schedule_steps)
        torch.manual_seed(seed)
        self.nli = NliModel(base, device)
        self.model = lora.attach(base.model, recipe).to(device)
        self.trained = lora.trainable(self.model)
        self.frozen_sha256 = lora.frozen_sha256(self.model)
        self.head = {name: p.detach().clone() for name, p in self.trained.items() if ".lora_" not in name}
        self.best = self._weights()
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        # A fresh adapter answers as the base does, so these are the base's own answers: (R, 3) float32.
        self.rehearsal_answers = self.logits(data.rehearsal).log_softmax(-1)
        self.position = Position()
        self.started_at = self.saved_at = watchers.clock()

    def logits(self, pairs: Sequence[Texts]) -> torch.Tensor:
        """(N, 3) float32 on the CPU, columns in the order of `base.labels`; nothing is learned."""
        self.model.eval()
        result = torch.zeros(len(pairs), len(self.base.labels))
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        with torch.inference_mode():
            for start in range(0, len(order), EVALUATION_BATCH):
                chunk = order[start : start + EVALUATION_BATCH]
                result[chunk] = self._forward([pairs[i] for i in chunk]).float().cpu()
        return result.clone()

    def _forward(self, pairs: Sequence[Texts], *, multiple: int = 1) -> torch.Tensor:
        """(B, 3), with the same encoding as when judging."""
        encoded = self.nli.encode([Pair(premise=premise, hypothesis=hypothesis) for premise, hypothesis in pairs])
        logits: torch.Tensor = self.model(**self.nli.pad(encoded, multiple=multiple)).logits
        return logits

    def estimate_s(self) -> float:
        """How long the training will take at most, from two steps that leave no trace."""
        train = sorted(self.data.parts.train, key=lambda s: len(s.premise) + len(s.hypothesis))
        middle = max(0, (len(train) - self.batch) // 2)
        seconds = 0.0
        with torch.random.fork_rng(devices=[]):
            self.model.train()
            for _warm in range(2):
                since = self.watchers.clock()
                self._learn(train[middle : middle + self.batch], self._rehearsed())
                seconds = self.watchers.clock() - since
        self.optimizer.zero_grad(set_to_none=True)
        return self.limits.within_time_s(seconds * self.steps)

    def eta_s(self) -> float | None:
        """Of the steps that are left, at the pace of those done."""
        at, spent_s = self.position, self.elapsed_s()
        needed_s = spent_s / at.step * (self.steps - at.step) if at.step else None
        return None if needed_s is None else self.limits.within_time_s(needed_s, spent_s=spent_s)

    def run(self) -> None:
        """Train to the end, and leave the weights of the best epoch in the model.

        Raises:
            Interrupted: a checkpoint was saved; build it again and `run` goes on from there.
            OSError: the disk is full.
        """
        self._resume()
        self.started_at = self.saved_at = self.watchers.clock()
        if self.position.step == 0 and self.position.best_loss == float("inf"):
            torch.manual_seed(self.seed)  # whatever was built or probed in between
            self._validate()  # epoch 0: training must beat the base, or the base stays as it is
        while self.position.stopped_by is None:
            self._epoch()
            self.position.elapsed_s, self.started_at = self.elapsed_s(), self.watchers.clock()
        self.keep(self.recipe.strength)
        if lora.frozen_sha256(self.model) != self.frozen_sha256:
            raise RuntimeError("the training has changed the base's own weights; nothing of it can be used")

    def keep(self, strength: float) -> None:
        """Leave in the model this share, in (0, 1], of what the best epoch learned."""
        self._load_weights(self.best)
        lora.interpolate(self.model, self.head, strength)
        self.model.eval()

    def _epoch(self) -> None:
        at, train = self.position, self.data.parts.train
        order = epoch_order(train, self.recipe.sampling, seed=self.seed, epoch=at.epoch)
        self.model.train()
        for number in range(at.batches, self.epoch_steps):
            self._step([train[i] for i in order[number * self.batch : (number + 1) * self.batch]])
            at.batches = number + 1
            self._after_step()
            if at.stopped_by is not None:
                break
        at.epoch, at.batches = at.epoch + 1, 0
        self._validate()
        if at.stopped_by is None and at.epoch - at.best_epoch >= self.recipe.patience:
            at.stopped_by = "early_stopping"
        if at.stopped_by is None and at.epoch == self.recipe.epochs:
            at.stopped_by = "epochs"
        self.save()

    def _step(self, samples: Sequence[Sample]) -> None:
        at = self.position
        rate = self.recipe.learning_rate * learning_rate_factor(at.step, steps=self.schedule_steps, warmup=self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss, rehearsal_loss = self._learn(samples, self._rehearsed())
        torch.nn.utils.clip_grad_norm_(self.trained.values(), GRADIENT_NORM_MAX)
        self.optimizer.step()
        at.step += 1
        at.learning_rate_max = max(at.learning_rate_max, rate)
        at.sums = [at.sums[0] + loss, at.sums[1] + rehearsal_loss, at.sums[2] + 1]
        if at.step % LOSS_STEPS == 0 or at.step == self.steps:
            self._log_loss(rate)

    def _learn(self, samples: Sequence[Sample], rehearsed: Sequence[int]) -> tuple[float, float]:
        """Add the gradients of both losses, one after the other: half the memory of both at once, less padding."""
        loss = self.loss(samples)
        loss.backward()
        if not rehearsed:
            return loss.item(), 0.0
        rehearsal_loss = self.rehearsal_loss(rehearsed)
        (self.recipe.rehearsal_weight * rehearsal_loss).backward()
        return loss.item(), rehearsal_loss.item()

    def loss(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Mean cross-entropy with the person's labels, in nats."""
        gold = torch.tensor([self.base.labels.index(sample.label) for sample in samples])  # (B,) int64
        return functional.cross_entropy(
            self._forward(texts(samples), multiple=TOKENS_MULTIPLE).float(), gold.to(self.device)
        )

    def rehearsal_loss(self, rehearsed: Sequence[int]) -> torch.Tensor:
        """Mean divergence from the base's own answers, in nats."""
        pairs = [self.data.rehearsal[i] for i in rehearsed]
        answers = self._forward(pairs, multiple=TOKENS_MULTIPLE).float().log_softmax(-1)  # (R, 3)
        wanted = self.rehearsal_answers[list(rehearsed)].to(self.device)  # (R, 3) log probabilities
        return functional.kl_div(answers, wanted, reduction="batchmean", log_target=True)

    def _rehearsed(self) -> list[int]:
        """Indices of the pairs to rehearse in this step: through all of them in a new order, again and again."""
        count, size = len(self.data.rehearsal), self.recipe.rehearsal_batch
        if not count:
            return []
        places = range(self.position.step * size, (self.position.step + 1) * size)
        orders = {turn: rehearsal_order(count, turn, seed=self.seed) for turn in {place // count for place in places}}
        return [orders[place // count][place % count] for place in places]

    def _log_loss(self, rate: float) -> None:
        at = self.position
        loss, rehearsal_loss, n = at.sums
        line = LossLine(
            step=at.step,
            epoch=at.epoch + (at.batches + 1) / self.epoch_steps,
            loss=loss / n,
            rehearsal_loss=rehearsal_loss / n if self.data.rehearsal else None,
            learning_rate=rate,
        )
        at.curve.append(line.model_dump())
        at.sums = [0.0, 0.0, 0.0]

    # What may end or interrupt it

    def elapsed_s(self) -> float:
        """Of training, over all the runs of this job."""
        return self.position.elapsed_s + self.watchers.clock() - self.started_at

    def _after_step(self) -> None:
        self.watchers.on_step(self)
        if self.limits.steps_max is not None and self.position.step >= self.limits.steps_max:
            self.position.stopped_by = "steps_max"
        elif self.limits.time_s is not None and self.elapsed_s() >= self.limits.time_s:
            self.position.stopped_by = "time_limit"
        elif self.watchers.should_stop():
            self.save()
            raise Interrupted
        elif self.watchers.clock() - self.saved_at >= self.limits.checkpoint_s:
            self.save()

    def _validate(self) -> None:
        at, watched = self.position, self.data.parts.validation
        logits = self.logits(texts(watched)).double()
        gold = torch.tensor([self.base.labels.index(sample.label) for sample in watched], dtype=torch.long)
        loss = functional.cross_entropy(logits, gold).item()
        line = ValidationLine(
            step=at.step,
            epoch=at.step / self.epoch_steps,
            validation_loss=loss,
            validation_accuracy=(logits.argmax(-1) == gold).double().mean().item(),
        )
        at.curve.append(line.model_dump())
        if loss < at.best_loss:
            at.best_loss, at.best_epoch, self.best = loss, at.epoch, self._weights()

    # Checkpoints

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().cpu().clone() for name, parameter in self.trained.items()}

    def _load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(weights[name])

    def save(self) -> None:
        """Everything the next process needs to go on as if nothing had happened."""
        tensors = {f"now/{n}": t for n, t in self._weights().items()} | {f"best/{n}": t for n, t in self.best.items()}
        state = {
            "position": {**vars(self.position), "elapsed_s": self.elapsed_s()},
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        checkpoints.save(self.root, self.position.step, tensors, state, keep=self.limits.checkpoints_max, key=self.key)
        self.saved_at = self.watchers.clock()

    def _resume(self) -> None:
        found = checkpoints.newest(self.root, self.key)
        if found is None:
            return
        self._load_weights({n.removeprefix("now/"): t for n, t in found.tensors.items() if n.startswith("now/")})
        self.best = {n.removeprefix("best/"): t for n, t in found.tensors.items() if n.startswith("best/")}
        self.optimizer.load_state_dict(found.state["optimizer"])
        torch.set_rng_state(found.state["random"])
        if self.device.type == "cuda":
            # None of a training that began on the CPU; more than there are GPUs of one that began on another machine.
            torch.cuda.set_rng_state_all(found.state["random_cuda"][: torch.cuda.device_count()])
        self.position = Position(**found.state["position"])
        self.position.resumed += 1
