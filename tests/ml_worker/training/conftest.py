"""A tiny NLI model built on the spot, and jobs for it."""

import hashlib
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from ml_worker.base_models import BaseModel, load_base
from ml_worker.job_folders import JobFolder
from ml_worker.training.nli_lora import NliLoraTraining, Watchers
from ml_worker.training.training_data import prepare_data
from schema.jobs import JobStatus, Limits, NliLoraRecipe, NliLoraRequest, Sample

SCRIPTED_CHILD = Path(__file__).with_name("scripted_child.py")
THINGS = ["lamp", "river", "stone", "engine", "garden", "letter", "bridge", "window", "market", "forest"]
SIGNS = {"supports": "indeed", "refutes": "never", "neutral": "perhaps"}
WORDS = [*THINGS, *SIGNS.values(), *map(str, range(200)), "the", "is", "near"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def wait_until() -> Callable[[subprocess.Popen, Callable[[], bool]], None]:
    """Until the fact holds or the process ended, bounded."""

    def wait(process: subprocess.Popen, fact: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not fact() and process.poll() is None:
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.005)

    return wait


def build_tokenizer() -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    """A BERT of two layers; its label order is that of public NLI models, contradiction first."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label={0: "contradiction", 1: "entailment", 2: "neutral"},
        label2id={"contradiction": 0, "entailment": 1, "neutral": 2},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def base(base_folder) -> BaseModel:
    return load_base(str(base_folder))


@pytest.fixture
def make_samples() -> Callable[..., list[Sample]]:
    """Reviewed pairs of one rule: a word of the hypothesis decides; `shuffled` gives labels without a rule."""

    def make(count: int, *, seed: int = 1, shuffled: bool = False, unreviewed: int = 0) -> list[Sample]:
        chance = random.Random(seed)
        samples = []
        for i in range(count + unreviewed):
            label = chance.choice(list(SIGNS))
            thing = chance.choice(THINGS)
            given = chance.choice(list(SIGNS)) if shuffled else label
            samples.append(
                Sample(
                    sample_id=f"s{i}",
                    premise=f"the {thing} is near {i % 200} {chance.choice(THINGS)}",
                    hypothesis=f"{SIGNS[label]} the {thing} is near",
                    label=given if i < count else None,
                    source="correction" if i < count else "unreviewed",
                    domain="example.org",
                )
            )
        return samples

    return make


@pytest.fixture
def recipe() -> NliLoraRecipe:
    """Quick, and strong enough for the rule."""
    return NliLoraRecipe(
        rank=4,
        targets="linear",
        learning_rate=0.01,
        epochs=4,
        rehearsal_weight=0.2,
        rehearsal_batch=4,
        rehearsal_pairs=40,
    )


@pytest.fixture
def make_training(base_folder, tmp_path, make_samples, recipe) -> Callable[..., NliLoraTraining]:
    def make(*, root: str = "checkpoints", samples=None, recipe=recipe, seed=7, **limits) -> NliLoraTraining:
        watchers = limits.pop("watchers", Watchers())
        return NliLoraTraining(
            load_base(str(base_folder)),
            prepare_data(samples or make_samples(120), recipe, seed=seed),
            recipe,
            seed=seed,
            limits=Limits(**limits),
            checkpoints_root=tmp_path / root,
            device=torch.device("cpu"),
            watchers=watchers,
        )

    return make


@pytest.fixture
def make_job(base_folder, base, tmp_path, make_samples, recipe) -> Callable[..., JobFolder]:
    """A prepared folder below `tmp_path/jobs`, as the server would leave it."""

    def make(job_id: str = "job-1", *, samples=None, recipe=recipe, **changes) -> JobFolder:
        folder = JobFolder(tmp_path / "jobs" / job_id)
        folder.path.mkdir(parents=True)
        samples = make_samples(120) if samples is None else samples
        content = "".join(sample.model_dump_json() + "\n" for sample in samples).encode()
        folder.samples.write_bytes(content)
        request = NliLoraRequest(
            job_id=job_id,
            base_model=str(base_folder),
            fingerprint=base.fingerprint,
            recipe_name="test",
            recipe=recipe,
            samples_sha256=hashlib.sha256(content).hexdigest(),
        )
        folder.request.write_text(request.model_copy(update=changes).model_dump_json(), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def child_does(tmp_path, monkeypatch) -> Callable[[str], None]:
    """Let these lines of shell stand in for the training that a machine starts; `$4` is the job's folder."""

    def write(lines: str) -> None:
        script = tmp_path / "child"
        script.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
        script.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(script))

    return write


@pytest.fixture
def may_end(child_does) -> Callable[[JobFolder], None]:
    """Let a script stand in for the training, and allow it to end, here or later."""
    child_does(f'shift 3; exec {shlex.quote(sys.executable)} {shlex.quote(str(SCRIPTED_CHILD))} "$@"')
    return lambda folder: (folder.path / "may-end").touch()


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the training process as the worker does, with the key of a sealed job; none survives the test."""
    started = []

    def start(folder: JobFolder, key: bytes | None = None) -> subprocess.Popen:
        if folder.read_status() is None:
            status = JobStatus(job_id=folder.path.name, kind="nli_lora", state="waiting", created_at=datetime.now(UTC))
            folder.write_status(status)
        command = [sys.executable, "-P", "-m", "ml_worker.training.run", folder.path]
        command += ["--adapters-root", folder.path.parent, *(() if key is None else ("--key-on-stdin",))]
        # A sealed job's output is no file of its folder: the child writes its log itself, sealed.
        with (folder.log if key is None else Path(os.devnull)).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        started.append(process)
        process.stdin.write(key or b"")
        process.stdin.close()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(120)
