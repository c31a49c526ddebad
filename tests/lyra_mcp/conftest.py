"""A home, a clock that ticks, a worker whose answers can be read off its input, and the services made of them."""

import base64
import hashlib
import math
import random
import re
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from lyra_mcp.errors import LyraError
from lyra_mcp.operations.services import ByHand, Services
from lyra_mcp.settings import Settings
from lyra_mcp.storage.database import Database
from lyra_mcp.worker_client import WorkerStatus
from lyra_mcp.worker_client.jobs import JobsClient
from schema import wire
from schema.vocabulary import Label

VECTOR_SIZE = 32


class KeywordWorker:
    """The client of a worker: "not" in the premise refutes, "maybe" is neutral, anything else supports.

    The label's logit is 2, or what `margin=` in the premise says; the other two are 0. Pairs that share most of their
    words have similar representations.
    """

    def __init__(self) -> None:
        self.asked: list[list[wire.Pair]] = []
        self.fingerprint = "first"
        self.temperature = 1.0
        self.problem: LyraError | None = None
        #: Runs while the model is thinking.
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def judge(self, pairs: Sequence[wire.Pair], *, adapter: str, representation: bool) -> wire.JudgeReply:
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        if self.problem:
            raise self.problem
        self.asked.append(list(pairs))
        return wire.JudgeReply(
            judgements=[self._judgement(pair, representation=representation) for pair in pairs],
            served_by=wire.ServedBy(
                base_model="keywords",
                fingerprint=self.fingerprint,
                adapter=None if adapter == "base" else adapter,
                temperature=self.temperature,
                device="cpu",
            ),
        )

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
            representation=self._vector(pair) if representation else None,
        )

    def _vector(self, pair: wire.Pair) -> str:
        total = [0.0] * VECTOR_SIZE
        for word, count in Counter(f"{pair.premise} {pair.hypothesis}".split()).items():
            digest = hashlib.sha256(f"{self.fingerprint} {word}".encode()).digest()
            for index, byte in enumerate(digest):
                total[index] += count * (byte - 127.5)
        norm = math.hypot(*total)
        return base64.b64encode(struct.pack(f"<{VECTOR_SIZE}f", *(value / norm for value in total))).decode()


class TickingClock:
    """Every look is one second later."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home", runtime_dir=tmp_path / "run")


@pytest.fixture
def worker() -> KeywordWorker:
    return KeywordWorker()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def build_services(worker, clock) -> Callable[[Settings], Services]:
    """What a server is built with; every call is another process's view of the same home."""
    chance = random.Random(7)
    numbers = iter(range(1_000_000))

    def build(settings: Settings) -> Services:
        return Services(
            settings=settings,
            database=Database(settings.user_dir),
            worker=worker,
            jobs=JobsClient(worker),
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
    await built.database.close()
