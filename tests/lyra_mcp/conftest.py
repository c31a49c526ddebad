"""A home, a worker and a job machine that can be read off, and the services made of them."""

import base64
import fcntl
import hashlib
import math
import random
import re
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lyra_mcp.errors import Invalid, LyraError, NotFound, WorkerGone
from lyra_mcp.operations.indexing import Indexer
from lyra_mcp.operations.services import ByHand, Services
from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.worker_client import WorkerStatus
from schema import reports, sealing, wire
from schema.jobs import JobProblem, JobStatus, NliLoraRequest, Preflight, PreflightReply, Sample
from schema.vocabulary import Label, RunState

VECTOR_SIZE = 32


def weights_of(path: str) -> bytes:
    """What a scripted training makes; an adapter's folder is named as its job."""
    return f"weights of {Path(path).name}".encode()


class KeywordWorker:
    """The client of a worker: "not" in the premise refutes, "maybe" is neutral, anything else supports.

    The label's logit is 2, or what `margin=` in the premise says; the other two are 0. Pairs that share most of their
    words have similar representations.
    """

    def __init__(self) -> None:
        self.asked: list[list[wire.Pair]] = []
        self.embedded: list[list[str]] = []
        #: Which adapter was asked for with which key.
        self.keys: list[tuple[str | None, bytes | None]] = []
        #: The name of what embeds.
        self.model = "keywords"
        self.fingerprint = "first"
        self.temperature = 1.0
        self.problem: LyraError | None = None
        self.unreadable: str | None = None  # a text in which this word stands cannot be embedded
        #: Adapters that cannot be loaded, and why; the others can.
        self.refused: dict[str, str] = {}
        #: Adapters that are no longer what was trained.
        self.changed: set[str] = set()
        self.loaded: str | None = None
        #: Runs while the model is thinking.
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def judge(
        self, pairs: Sequence[wire.Pair], *, adapter: str, representation: bool, key: bytes | None = None
    ) -> wire.JudgeReply:
        self.keys.append((adapter, key))
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        self._fail()
        if adapter in self.refused:
            raise NotFound(self.refused[adapter])
        self.asked.append(list(pairs))
        return wire.JudgeReply(
            judgements=[self._judgement(pair, representation=representation) for pair in pairs],
            served_by=wire.ServedBy(
                base_model="keywords",
                fingerprint=self.fingerprint,
                adapter=None if adapter == "base" else adapter,
                adapter_sha256=hashlib.sha256(weights_of("" if adapter in self.changed else adapter)).hexdigest(),
                temperature=self.temperature,
                device="cpu",
            ),
        )

    async def embed(self, texts: Sequence[str]) -> wire.EmbedReply:
        """Texts that share most of their words have similar vectors."""
        self._fail()
        if any(not text.strip() or (self.unreadable and self.unreadable in text) for text in texts):
            raise Invalid("a text cannot be read; change the request")
        self.embedded.append(list(texts))
        return wire.EmbedReply(
            vectors=[self._vector(text) for text in texts],
            dimension=VECTOR_SIZE,
            model=self.model,
            fingerprint=self.fingerprint,
            device="cpu",
        )

    async def ready(self, *, within_s: float | None = None) -> None:
        self._fail()

    async def health(self) -> wire.Health:
        self._fail()
        return wire.Health(
            state="ready",
            problem=None,
            protocol=wire.PROTOCOL,
            pid=1,
            version="0",
            nli_model="keywords",
            embedding_model="keywords",
            device="cpu",
            fingerprint=self.fingerprint,
            adapter=self.loaded,
            queue=wire.Queue(pairs_waiting=0, pairs_max=512),
        )

    async def load_adapter(self, path: str | None = None, *, key: bytes | None = None) -> wire.AdapterLoaded:
        self.keys.append((path, key))
        self._fail()
        path = path or "the-default"
        if path in self.refused:
            return wire.AdapterLoaded(ok=False, adapter_path=self.loaded, message=self.refused[path])
        self.loaded = path
        return wire.AdapterLoaded(ok=True, adapter_path=path, message="loaded")

    async def unload_adapter(self) -> wire.AdapterUnloaded:
        self._fail()
        self.loaded = None
        return wire.AdapterUnloaded(ok=True, message="the base alone serves")

    async def adapter_status(self) -> wire.AdapterStatus:
        self._fail()
        return wire.AdapterStatus(
            adapter_loaded=self.loaded is not None,
            adapter_path=self.loaded,
            base_model="keywords",
            fingerprint=self.fingerprint,
            device="cpu",
        )

    def _fail(self) -> None:
        if self.problem:
            raise self.problem

    async def status(self) -> WorkerStatus:
        if self.problem:
            return WorkerStatus("stopped", {"nli": "keywords", "embedding": "keywords"}, problem=str(self.problem))
        return WorkerStatus(
            "ready",
            {"nli": "keywords", "embedding": "keywords"},
            pid=1,
            device="cpu",
            fingerprint=self.fingerprint,
            adapter=None,
            queue=wire.Queue(pairs_waiting=0, pairs_max=512),
        )

    async def close(self) -> None:
        """There is nothing to stop."""

    def _judgement(self, pair: wire.Pair, *, representation: bool) -> wire.Judgement:
        label: Label = "supports"
        if "not" in pair.premise.split():
            label = "refutes"
        elif "maybe" in pair.premise.split():
            label = "neutral"
        written = re.search(r"margin=([\d.]+)", pair.premise)
        logits = {"supports": 0.0, "refutes": 0.0, "neutral": 0.0, label: float(written[1]) if written else 2.0}
        return wire.Judgement(
            logits=wire.PerLabel(**logits),
            truncated=False,
            representation=self._vector(f"{pair.premise} {pair.hypothesis}") if representation else None,
        )

    def _vector(self, text: str) -> str:
        total = [0.0] * VECTOR_SIZE
        for word, count in Counter(text.split()).items():
            digest = hashlib.sha256(f"{self.fingerprint} {word}".encode()).digest()
            for index, byte in enumerate(digest):
                total[index] += count * (byte - 127.5)
        norm = math.hypot(*total)
        return base64.b64encode(struct.pack(f"<{VECTOR_SIZE}f", *(value / norm for value in total))).decode()


class ScriptedJobs:
    """The client of a job machine: writes a job's files like the worker, and trains when the test says so."""

    def __init__(self, root: Path, build_report: Callable[..., reports.NliReport]) -> None:
        self.root, self.build_report = root, build_report
        self.asked: list[tuple[str, str]] = []
        self.order: Preflight | None = None
        self.estimate_s: float | None = 90
        #: The keys of jobs that were ordered with one.
        self.keys: dict[str, bytes] = {}
        #: Why a preflight says that a job would be refused.
        self.obstacle: JobProblem | None = None
        #: Raised by whatever is asked of the worker.
        self.problem: LyraError | None = None
        #: Why it starts no job.
        self.refused: LyraError | None = None
        #: Takes the next order and dies before it answers.
        self.dies_after_start = False
        #: Runs between the worker's look at a job and its answer.
        self.after_status: Callable[[], Awaitable[object]] | None = None

    async def preflight(self, order: Preflight) -> PreflightReply:
        self._hear("preflight", "")
        self.order = order
        return PreflightReply(
            device="cpu", steps=50, estimate_s=self.estimate_s, warnings=["slow"], problem=self.obstacle
        )

    async def start(self, job_id: str, key: bytes | None = None) -> JobStatus:
        self._hear("start", job_id)
        if self.refused:
            raise self.refused
        self._keep(job_id, key)
        started = self.write(job_id, "training")
        if self.dies_after_start:
            self.problem = WorkerGone("the worker ended during the request")
            raise self.problem
        return started

    async def resume(self, job_id: str, key: bytes | None = None) -> JobStatus:
        self._hear("resume", job_id)
        self._keep(job_id, key)
        return self.write(job_id, "training")

    async def cancel(self, job_id: str) -> JobStatus:
        self._hear("cancel", job_id)
        status = self._read(job_id)
        return status if status.state == "evaluated" else self.write(job_id, "cancelled")

    async def status(self, job_id: str) -> JobStatus:
        self._hear("status", job_id)
        status = self._read(job_id)
        if self.after_status:
            happens, self.after_status = self.after_status, None
            await happens()
        return status

    def write(self, job_id: str, state: RunState, **fields: Any) -> JobStatus:
        """What the worker knows of a job from now on."""
        fields = {"created_at": datetime(2026, 3, 1, tzinfo=UTC), "step": 5, "steps": 50, "loss": 0.5, **fields}
        status = JobStatus(job_id=job_id, kind="nli_lora", state=state, **fields)
        (self.root / job_id / "state.json").write_text(status.model_dump_json())
        return status

    def finish(self, job_id: str, **scores: Any) -> reports.NliReport:
        """Train, evaluate and report; `scores` as `build_report` takes them."""
        folder = self.root / job_id
        request = NliLoraRequest.model_validate_json((folder / "request.json").read_bytes())
        written = sealing.read(folder / "samples.jsonl", self.keys.get(job_id), f"{job_id}/samples.jsonl")
        samples = [Sample.model_validate_json(line) for line in written.splitlines()]
        weights = weights_of(job_id)
        (folder / "adapter").mkdir()
        self.put(job_id, "adapter/adapter_model.safetensors", weights, place=f"{job_id}/adapter_model.safetensors")
        (folder / "adapter" / "lyra_adapter.json").write_text("{}")
        report = self.build_report(request, samples, adapter_sha256=hashlib.sha256(weights).hexdigest(), **scores)
        self.put(job_id, "report.json", report.model_dump_json().encode())
        self.put(job_id, "report.html", b"<!doctype html><title>Training</title>")
        self.put(job_id, "log", b"trained\n")
        self.write(job_id, "evaluated")
        return report

    def put(self, job_id: str, name: str, content: bytes, *, place: str | None = None) -> None:
        """Write a file as the training child does: sealed where the job is."""
        path = self.root / job_id / name
        if sealing.is_sealed(self.root / job_id / "samples.jsonl"):
            content = sealing.seal(self.keys[job_id], content, place or f"{job_id}/{name}")
            path = sealing.sealed_path(path)
        path.write_bytes(content)

    def _keep(self, job_id: str, key: bytes | None) -> None:
        if key is not None:
            self.keys[job_id] = key

    @contextmanager
    def living(self, job_id: str) -> Iterator[None]:
        """A training process that holds the job's lock."""
        with (self.root / job_id / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _hear(self, verb: str, job_id: str) -> None:
        self.asked.append((verb, job_id))
        if self.problem:
            raise self.problem

    def _read(self, job_id: str) -> JobStatus:
        path = self.root / job_id / "state.json"
        if not path.exists():
            raise NotFound(f"job {job_id!r} was never started")
        return JobStatus.model_validate_json(path.read_bytes())


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home", runtime_dir=tmp_path / "run", key_source="file")


@pytest.fixture
def worker() -> KeywordWorker:
    return KeywordWorker()


@pytest.fixture
def machine(settings, build_report) -> ScriptedJobs:
    return ScriptedJobs(settings.jobs_root, build_report)


@pytest.fixture
def build_services(worker, machine, clock) -> Callable[[Settings], Services]:
    """What a server is built with; every call is another process's view of the same home."""
    chance = random.Random(7)
    numbers = iter(range(1_000_000))

    def build(settings: Settings) -> Services:
        database = Database(settings.user_dir)
        return Services(
            settings=settings,
            database=database,
            worker=worker,
            jobs=machine,
            index=Indexer(database, worker),
            by_hand=ByHand(),
            clock=clock,
            new_id=lambda prefix: f"{prefix}_{next(numbers):012x}",
            chance=chance,
        )

    return build


@pytest.fixture
async def services(settings, build_services):
    built = build_services(settings)
    yield built
    await built.index.close()
    await built.database.close()
