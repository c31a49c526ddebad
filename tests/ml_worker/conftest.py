"""Tiny real models, adapters and worker processes, built on the spot."""

import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model

from benchmarks import tiny_model
from ml_worker.base_models import BaseModel, load_base, quiet_libraries

WORDS = ("the", "trial", "patients", "hospital", "more", "not", "guitar", "music", "stage", "empty")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
    quiet_libraries()


def write_tiny_model(folder: Path, *, names: tuple[str, ...] = tiny_model.NAMES, seed: int = 1) -> Path:
    return tiny_model.write_tiny_model(folder, hidden=32, positions=64, spread=0.3, words=WORDS, names=names, seed=seed)


def write_adapter(base: BaseModel, folder: Path, *, seed: int, **manifest: Any) -> Path:
    """A LoRA adapter with a head of its own, random and far from the base."""
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"], init_lora_weights=False
    )
    adapted = get_peft_model(copy.deepcopy(base.model), config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter))
    adapted.save_pretrained(folder, save_embedding_layers=False)
    content = {"base_fingerprint": base.fingerprint, **manifest}
    (folder / "lyra_adapter.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(name="make_model", scope="session")
def _make_model() -> Callable[..., Path]:
    return write_tiny_model


@pytest.fixture(name="make_adapter", scope="session")
def _make_adapter() -> Callable[..., Path]:
    return write_adapter


@pytest.fixture(name="tiny_folder", scope="session")
def _tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(name="tiny", scope="session")
def _tiny(tiny_folder: Path) -> BaseModel:
    return load_base(str(tiny_folder))


@pytest.fixture(name="adapters_root", scope="session")
def _adapters_root(tmp_path_factory: pytest.TempPathFactory, tiny: BaseModel) -> Path:
    """Two good adapters: `one` with a temperature, `two` without."""
    root = tmp_path_factory.mktemp("adapters")
    write_adapter(tiny, root / "one", seed=1, temperature=1.5)
    write_adapter(tiny, root / "two", seed=2)
    return root


@pytest.fixture(name="own_root")
def _own_root(tmp_path: Path, adapters_root: Path) -> Path:
    """A copy a test may damage."""
    return Path(shutil.copytree(adapters_root, tmp_path / "root"))


@pytest.fixture(name="socket_folder")
def _socket_folder() -> Iterator[Path]:
    """Private and short: pytest's own folders are too long for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        yield Path(folder)


@dataclass
class WorkerProcess:
    socket: Path
    process: subprocess.Popen[str]
    clients: list[httpx2.Client] = field(default_factory=list)

    def client(self) -> httpx2.Client:
        transport = httpx2.HTTPTransport(uds=str(self.socket))
        self.clients.append(httpx2.Client(transport=transport, base_url="http://worker", timeout=60))
        return self.clients[-1]

    def wait_for_state(self, state: str, *, timeout_s: float = 120) -> dict[str, Any]:
        """Ask for health until it says so."""
        deadline = time.monotonic() + timeout_s
        last: Any = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the worker left: {self.log}"
            if self.is_listening():
                with self.client() as client:
                    last = client.get("/health").json()
                if last["state"] == state:
                    return dict(last)
            time.sleep(0.05)
        raise AssertionError(f"not {state} after {timeout_s} s: {last}")

    def is_listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    @property
    def log(self) -> str:
        return self.socket.with_name("log").read_text(encoding="utf-8")

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.process.kill()
        self.process.wait()


def start_process(folder: Path, *options: str) -> WorkerProcess:
    path = folder / "w.sock"
    command = [sys.executable, "-m", "ml_worker", "--socket", str(path), "--threads", "1", *options]
    log = folder / "log"
    process = subprocess.Popen(
        [*command, "--log-file", str(log)], env={**os.environ, "TOKENIZERS_PARALLELISM": "false"}, text=True
    )
    return WorkerProcess(path, process)


@pytest.fixture(name="start_worker")
def _start_worker(socket_folder: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a worker with options; everything started is ended with the test."""
    started: list[WorkerProcess] = []

    def start(*options: str) -> WorkerProcess:
        started.append(start_process(socket_folder, *options))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


@pytest.fixture(name="worker", scope="session")
def _worker(tiny_folder: Path, adapters_root: Path) -> Iterator[WorkerProcess]:
    """One ready worker with the tiny model, shared by the tests that only ask."""
    with tempfile.TemporaryDirectory(prefix="lw-") as folder:
        stays = ("--linger-s", "7200", "--idle-s", "7200")  # also where its next test comes much later
        worker = start_process(
            Path(folder), "--nli-model", str(tiny_folder), "--adapters-root", str(adapters_root), *stays
        )
        try:
            worker.wait_for_state("ready")
            yield worker
        finally:
            worker.close()


@pytest.fixture(name="client")
def _client(worker: WorkerProcess) -> Iterator[httpx2.Client]:
    """Of the shared worker, with no adapter loaded."""
    with worker.client() as client:
        client.post("/nli/adapter/unload")
        yield client
