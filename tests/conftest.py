"""Golden files (`pytest --update-golden` writes them anew), a ticking clock, a report, an OpenAI-like server."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from schema import reports, wire
from schema.jobs import NliLoraRequest, Sample
from schema.vocabulary import LABELS, Label

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew instead of comparing")


@pytest.fixture
def golden(request) -> Callable[[str, Any], Any]:
    """What the golden file of this name holds, after it was written anew if that was asked for."""

    def read(name: str, actual: Any) -> Any:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(actual, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    return read


class TickingClock:
    """Every look is one second later."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def build_report() -> Callable[..., reports.NliReport]:
    return write_report


def write_report(
    request: NliLoraRequest,
    samples: Sequence[Sample],
    *,
    adapter_sha256: str,
    base_right: float = 0.5,
    candidate_right: float = 1.0,
    agreement: float | None = 1.0,
) -> reports.NliReport:
    """A report as the worker writes it: every fifth reviewed sample is held out, with shares of right answers."""
    reviewed = [sample for sample in samples if sample.label is not None]
    held_out = reviewed[::5]
    parts = {sample.sample_id: "holdout" if sample in held_out else "train" for sample in reviewed}
    count = len(held_out)

    def answers(right: float) -> list[wire.PerLabel]:
        return [_sure_of(_said(sample.label, is_right=i < round(right * count))) for i, sample in enumerate(held_out)]

    base, candidate = answers(base_right), answers(candidate_right)
    return reports.NliReport(
        job_id=request.job_id,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        base_model=request.base_model,
        fingerprint=request.fingerprint,
        base_weights_sha256="0" * 64,
        champion_adapter=request.champion,
        adapter_sha256=adapter_sha256,
        adapter_bytes=10,
        recipe_name=request.recipe_name,
        recipe=request.recipe,
        seed=1,
        data=_summary(request),
        assigned=[
            reports.AssignedSample(sample_id=s.sample_id, part=parts.get(s.sample_id, "train"), source=s.source)
            for s in samples
        ],
        training=_trained(),
        base=_scores(count, base_right),
        champion=None if request.champion is None else _scores(count, base_right),
        candidate=_scores(count, candidate_right),
        predictions=[
            reports.Prediction(
                sample_id=sample.sample_id,
                label=sample.label,
                base=base[i],
                champion=None if request.champion is None else base[i],
                candidate=candidate[i],
            )
            for i, sample in enumerate(held_out)
        ],
        agreement=_agreement(agreement),
        changes=[],
        changes_total=0,
        warnings=[],
        environment={},
    )


def _agreement(share: float | None) -> reports.Agreement:
    n = 0 if share is None else 20
    return reports.Agreement(
        base_confidence_min=0.9, n=n, agreed=round(n * (share or 0)), share=share, unreviewed=n // 4
    )


def _said(label: Label, *, is_right: bool) -> Label:
    return label if is_right else LABELS[(LABELS.index(label) + 1) % 3]


def _sure_of(label: Label) -> wire.PerLabel:
    return wire.PerLabel(**{**dict.fromkeys(LABELS, 0.1), label: 0.8})


def _scores(n: int, right: float) -> reports.Scores:
    unknown = reports.LabelScores(precision=None, recall=None, f1=None, support=0)
    return reports.Scores(
        n=n,
        accuracy=right,
        brier=1 - right / 2,
        nll=2 - right,
        ece=0.1,
        macro_f1=right,
        per_label=reports.ScoresPerLabel(supports=unknown, refutes=unknown, neutral=unknown),
        confusion=[[0] * 3] * 3,
        reliability=[],
        temperature=1.0,
    )


def _trained() -> reports.Training:
    return reports.Training(
        steps=50,
        epochs=3,
        best_epoch=3,
        stopped_by="epochs",
        warmup_steps=5,
        learning_rate_max=1e-3,
        target_modules=["query"],
        trainable_parameters=10,
        trainable_share=0.01,
        lora_parameters=8,
        duration_s=1.0,
        samples_per_s=10.0,
        peak_memory_bytes=1,
        device="cpu",
        threads=1,
        resumed=0,
        curve=[],
    )


def _summary(request: NliLoraRequest) -> reports.DataSummary:
    return reports.DataSummary(
        samples_sha256=request.samples_sha256,
        labels=[],
        domains=[],
        sources=[],
        parts=[],
        chars_mean=20.0,
        rehearsal_unreviewed=0,
        rehearsal_built=0,
    )


@dataclass
class ChatServer:
    """Answers like OpenAI and Ollama, on the loopback: in the words of the last message, backwards, piece by piece."""

    url: str = ""
    #: What was asked: (headers, body) each.
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    #: Said in the place of the next answers.
    answers: list[str] = field(default_factory=list)
    #: The status of so many next answers.
    failures: list[int] = field(default_factory=list)
    #: So many next answers break off after two pieces.
    cuts: int = 0

    def pieces(self, body: dict[str, Any]) -> list[str]:
        words = self.answers.pop(0) if self.answers else " ".join(body["messages"][-1]["content"].split()[::-1])
        return [f"{word} " for word in words.split(" ")[:-1]] + [words.split(" ")[-1]]


class _ChatHandler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        chat: ChatServer = self.server.chat
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
        status = chat.failures.pop(0) if chat.failures else 200
        if status != 200 or self.path != "/v1/chat/completions":
            self._say_problem(status if status != 200 else 404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        is_cut, chat.cuts = chat.cuts > 0, max(0, chat.cuts - 1)
        pieces = chat.pieces(body)
        for piece in pieces[:2] if is_cut else pieces:
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        if is_cut:
            self._event({"error": {"message": "the model crashed"}})
            return
        self._event({"choices": []})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, fields: dict[str, Any]) -> None:
        piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", **fields}
        self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
        self.wfile.flush()

    def _say_problem(self, status: int) -> None:
        content = json.dumps({"error": {"message": f"problem {status}"}}).encode()
        self.send_response(status)
        if status == HTTPStatus.TEMPORARY_REDIRECT:
            self.send_header("Location", f"{self.server.chat.url}/chat/completions")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _ChatHandler) as server:
        server.chat = chat = ChatServer(f"http://127.0.0.1:{server.server_port}/v1")  # type: ignore[attr-defined]  # its handlers look there
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield chat
        finally:
            server.shutdown()
            thread.join()
