"""Answer the hold-out with base, champion and candidate, as they will serve, and gather everything a decision needs."""

import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from ml_worker.adapters import Adapter, load_adapter
from ml_worker.base_models import BaseModel
from ml_worker.evaluation.nli import Probabilities, per_label, probabilities, score
from ml_worker.nli import NliModel
from ml_worker.training import artifacts, balance, lora
from ml_worker.training.nli_lora import EVALUATION_BATCH, NliLoraTraining
from ml_worker.training.rehearsal import Texts
from ml_worker.training.training_data import TrainingData, texts
from schema.jobs import JobRequest, LossLine, Sample, ValidationLine
from schema.reports import (
    CHANGES_MAX,
    Agreement,
    AssignedSample,
    Change,
    DataSummary,
    NliReport,
    Prediction,
    Training,
)
from schema.vocabulary import LABELS, Label, SplitPart
from schema.wire import Pair

#: From this confidence on the base is held to know.
CONFIDENT_MIN = 0.9


@dataclass(frozen=True)
class Model:
    nli: NliModel
    adapter: Adapter | None
    temperature: float

    def answer(self, pairs: Sequence[Texts], check: Callable[[], None]) -> Probabilities:
        """(N, 3) float64, columns in the order of `LABELS`; `check` may interrupt between batches."""
        logits = np.zeros((len(pairs), len(LABELS)))
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        for start in range(0, len(order), EVALUATION_BATCH):
            check()
            chunk = order[start : start + EVALUATION_BATCH]
            encoded = self.nli.encode([Pair(premise=pairs[i][0], hypothesis=pairs[i][1]) for i in chunk])
            judgements = self.nli.judge(encoded, self.adapter, representation=False)
            logits[chunk] = [[judgement.logits.of(label) for label in LABELS] for judgement in judgements]
        return probabilities(logits, LABELS, self.temperature)


@dataclass(frozen=True)
class Models:
    base: Model
    champion: Model | None
    candidate: Model


def load_model(
    base: BaseModel,
    device: torch.device,
    *,
    root: Path | None = None,
    path: str | None = None,
    key: bytes | None = None,
    temperature: float | None = None,
) -> Model:
    """The base alone, or with an adapter, exactly as it serves; `key` opens one that is sealed.

    `temperature`: of the calibration in force; None: the one that it was shipped with.

    Raises:
        AdapterRefused: the adapter must not or cannot serve on this base.
    """
    if root is None or path is None:
        return Model(NliModel(base, device), None, temperature or base.temperature)
    base.model.cpu()  # adapters are merged on the CPU
    adapter = load_adapter(base, root, path, key=key)
    moved = {name: tensor.to(device) for name, tensor in adapter.parameters.items()}
    adapter = Adapter(adapter.path, moved, adapter.temperature, adapter.digest)
    return Model(NliModel(base, device), adapter, temperature or adapter.temperature or base.temperature)


def build_report(
    request: JobRequest,
    samples: Sequence[Sample],
    training: NliLoraTraining,
    models: Models,
    warnings: Sequence[str],
    *,
    check: Callable[[], None],
    adapter_folder: Path,
) -> NliReport:
    """Everything about one finished training; `check` may interrupt between batches."""
    holdout = training.data.parts.holdout
    gold: list[Label] = [sample.label for sample in holdout if sample.label is not None]
    pairs = texts(holdout)
    base, candidate = models.base.answer(pairs, check), models.candidate.answer(pairs, check)
    champion = None if models.champion is None else models.champion.answer(pairs, check)
    changes = changed(holdout, base if champion is None else champion, candidate)
    assert models.candidate.adapter is not None, "what was trained is an adapter"
    return NliReport(
        job_id=request.job_id,
        created_at=datetime.now(UTC),
        base_model=request.base_model,
        fingerprint=training.base.fingerprint,
        base_weights_sha256=training.frozen_sha256,
        champion_adapter=request.champion,
        adapter_sha256=models.candidate.adapter.digest,
        adapter_bytes=sum(file.stat().st_size for file in adapter_folder.iterdir()),
        recipe_name=request.recipe_name,
        recipe=request.recipe,
        seed=request.seed,
        data=summarise(request, samples, training.data),
        assigned=assigned(training.data),
        training=describe(training),
        base=score(base, gold, temperature=models.base.temperature),
        champion=None
        if champion is None or models.champion is None
        else score(champion, gold, temperature=models.champion.temperature),
        candidate=score(candidate, gold, temperature=models.candidate.temperature),
        predictions=[
            Prediction(
                sample_id=sample.sample_id,
                label=label,
                base=per_label(base[i]),
                champion=None if champion is None else per_label(champion[i]),
                candidate=per_label(candidate[i]),
            )
            for i, (sample, label) in enumerate(zip(holdout, gold, strict=True))
        ],
        agreement=agreement(training.data, models, check),
        changes=changes[:CHANGES_MAX],
        changes_total=len(changes),
        warnings=list(warnings),
        environment=artifacts.environment(training),
    )


def changed(holdout: Sequence[Sample], before: Probabilities, candidate: Probabilities) -> list[Change]:
    """The held-out samples that the candidate answers otherwise than what serves before it."""
    return [
        Change(
            sample_id=sample.sample_id,
            premise=sample.premise,
            hypothesis=sample.hypothesis,
            label=sample.label,
            before=LABELS[earlier],
            candidate=LABELS[later],
        )
        for sample, earlier, later in zip(holdout, before.argmax(axis=1), candidate.argmax(axis=1), strict=True)
        if earlier != later and sample.label is not None
    ]


def agreement(data: TrainingData, models: Models, check: Callable[[], None]) -> Agreement:
    """How often the candidate keeps what the base is sure of, on pairs that neither was trained on."""
    base = models.base.answer(data.check, check)
    confident = np.flatnonzero(base.max(axis=1, initial=0.0) >= CONFIDENT_MIN)
    candidate = models.candidate.answer([data.check[i] for i in confident], check)
    agreed = int((candidate.argmax(axis=1) == base[confident].argmax(axis=1)).sum())
    return Agreement(
        base_confidence_min=CONFIDENT_MIN,
        n=len(confident),
        agreed=agreed,
        share=agreed / len(confident) if len(confident) else None,
        unreviewed=int((confident < data.check_unreviewed).sum()),
    )


def assigned(data: TrainingData) -> list[AssignedSample]:
    """Which part every reviewed sample was in."""
    parts = data.parts
    divided: tuple[tuple[SplitPart, tuple[Sample, ...]], ...] = (
        ("train", parts.train),
        ("validation", parts.validation),
        ("holdout", parts.holdout),
    )
    return [
        AssignedSample(sample_id=sample.sample_id, part=part, source=sample.source)
        for part, members in divided
        for sample in members
    ]


def summarise(request: JobRequest, samples: Sequence[Sample], data: TrainingData) -> DataSummary:
    return DataSummary(
        samples_sha256=request.samples_sha256,
        labels=balance.label_counts(samples),
        domains=balance.domain_counts(samples),
        sources=balance.counted(sample.source for sample in samples),
        parts=balance.counted(sample.part for sample in assigned(data)),
        chars_mean=balance.chars_mean(samples),
        rehearsal_unreviewed=data.rehearsal_unreviewed,
        rehearsal_built=len(data.rehearsal) - data.rehearsal_unreviewed,
    )


def describe(training: NliLoraTraining) -> Training:
    at, model = training.position, training.model
    assert at.stopped_by is not None, "a report is of a finished training"
    return Training(
        steps=at.step,
        epochs=at.step / training.epoch_steps,
        best_epoch=at.best_epoch,
        stopped_by=at.stopped_by,
        warmup_steps=training.warmup,
        learning_rate_max=at.learning_rate_max,
        target_modules=lora.target_names(model),
        trainable_parameters=lora.trainable_parameters(model),
        trainable_share=lora.trainable_share(model),
        lora_parameters=lora.lora_parameters(model),
        duration_s=at.elapsed_s,
        samples_per_s=at.step * training.batch / at.elapsed_s,
        peak_memory_bytes=peak_memory_bytes(training.device),
        device=training.device.type,
        threads=training.limits.threads,
        resumed=at.resumed,
        curve=[LossLine(**line) if "loss" in line else ValidationLine(**line) for line in at.curve],
    )


def peak_memory_bytes(device: torch.device) -> int:
    """Of this process, or of the GPU where that is what counts."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts in bytes, Linux in KiB
