"""What a training leaves behind: the adapter's folder, written beside its place and renamed when it is whole."""

import hashlib
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from ml_worker.adapters import MANIFEST
from ml_worker.evaluation.nli import fit_temperature
from ml_worker.job_folders import JobFolder, sync_folder
from ml_worker.training import lora
from ml_worker.training.nli_lora import NliLoraTraining
from ml_worker.training.training_data import texts
from schema import sealing
from schema.jobs import JobRequest
from schema.sealing import WEIGHTS
from schema.vocabulary import Label

LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")


def environment(training: NliLoraTraining) -> dict[str, str]:
    """Equal environments repeat a training bit for bit; others do nearly."""
    return {
        **{name: version(name) for name in LIBRARIES},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": training.device.type,
        "threads": str(training.limits.threads),
    }


def fitted_temperature(training: NliLoraTraining) -> float:
    """Fitted on the validation part: it was not trained on, and the hold-out must stay unseen."""
    watched = training.data.parts.validation
    labels: list[Label] = [sample.label for sample in watched if sample.label is not None]
    logits = training.logits(texts(watched)).double().numpy()
    return fit_temperature(logits, training.base.labels, labels, shipped=training.base.temperature)


def publish_adapter(folder: JobFolder, request: JobRequest, training: NliLoraTraining, *, temperature: float) -> None:
    """Write `adapter/`; there is never half of one, and in a sealed folder its weights are never there in plain."""
    partial = folder.path / ".adapter.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    weights = lora.weights(training.model)
    lora.write_config(training.model, partial, base_model=request.base_model)
    if folder.is_sealed:
        sealed = folder.seal(weights, sealing.place_of_weights(folder.adapter))
        sealing.sealed_path(partial / WEIGHTS).write_bytes(sealed)
    else:
        (partial / WEIGHTS).write_bytes(weights)
    manifest = {
        "base_fingerprint": training.base.fingerprint,
        "base_model": request.base_model,
        "environment": environment(training),
        "job_id": request.job_id,
        "kind": request.kind,
        "recipe": request.recipe.model_dump(),
        "recipe_name": request.recipe_name,
        "samples_sha256": request.samples_sha256,
        "seed": request.seed,
        "temperature": temperature,
        "trained_on": len(training.data.parts.train),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    _sync(partial)
    shutil.rmtree(folder.adapter, ignore_errors=True)  # of a run that was killed while it evaluated
    partial.rename(folder.adapter)
    sync_folder(folder.path)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o644)  # peft's habit of 0600 would shut out a server under another user
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
