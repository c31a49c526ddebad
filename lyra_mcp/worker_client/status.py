"""What a person or an agent may know of the worker."""

from dataclasses import dataclass
from typing import Literal, Self

from schema import wire


@dataclass(frozen=True)
class WorkerStatus:
    """What `server_status` shows of the worker."""

    state: Literal["stopped", "warming", "ready", "failed", "unreachable"]
    models: dict[str, str]
    pid: int | None = None
    device: str | None = None
    fingerprint: str | None = None
    adapter: str | None = None
    queue: wire.Queue | None = None
    problem: str | None = None

    @classmethod
    def of(cls, health: wire.Health) -> Self:
        return cls(
            health.state,
            {"nli": health.nli_model, "embedding": health.embedding_model},
            pid=health.pid,
            device=health.device,
            fingerprint=health.fingerprint,
            adapter=health.adapter,
            queue=health.queue,
            problem=health.problem,
        )
