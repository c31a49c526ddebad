"""One request and one checked reply over the worker's socket; it starts no worker and asks nothing twice."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar

import httpx2
from pydantic import ValidationError

from lyra_mcp.errors import (
    Conflict,
    DiskFull,
    Invalid,
    LyraError,
    NotFound,
    StorageFailed,
    TooFewReviews,
    Unavailable,
    WorkerBusy,
    WorkerGone,
    WorkerWarming,
)
from lyra_mcp.worker_client.address import WorkerAbsent, check_place
from schema import wire
from schema.jobs import JobProblem, JobProblemCode

#: How long the worker may take to accept a presence.
PRESENCE_OPEN_TIMEOUT_S = 10.0

NEXT_STEP = "server_status shows the worker's state, and the next call starts a new worker when it is gone"

WARMING_NEXT_STEP = "call again in about 10 s; server_status shows when the models are ready"

ReplyT = TypeVar("ReplyT", bound=wire.Message)

_ERRORS: dict[wire.ProblemCode, tuple[type[LyraError], str]] = {
    "invalid": (Invalid, "change the request"),
    "warming": (WorkerWarming, WARMING_NEXT_STEP),
    "busy": (WorkerBusy, "call again in a few seconds, or with fewer pairs"),
    "failed": (WorkerGone, NEXT_STEP),
    "unknown_adapter": (NotFound, "server_status shows what is loaded"),
    "out_of_memory": (WorkerGone, "call again with fewer or shorter texts"),
}


#: Why a job was refused; the messages name the next step. What is not listed, another request mends.
_JOB_ERRORS: dict[JobProblemCode, type[LyraError]] = {
    "not_found": NotFound,
    "conflict": Conflict,
    "too_few_samples": TooFewReviews,
    "insufficient_disk": DiskFull,
    "insufficient_gpu_memory": Unavailable,
    "no_gpu": Unavailable,
    "sealed": StorageFailed,
    "out_of_memory": WorkerGone,
    "failed": WorkerGone,
}


class WorkerSilent(WorkerGone):
    """Somebody listens and did not answer in time."""


class WorkerEnded(WorkerGone):
    """The connection broke before the answer: somebody listened, and has gone or is going."""


class Connection:
    """HTTP over one Unix socket; both sides are checked."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        transport = httpx2.AsyncHTTPTransport(
            uds=str(socket),
            # A new connection costs 0.1 ms; a kept one may be closed by the worker just as a request leaves.
            limits=httpx2.Limits(max_keepalive_connections=0),
            # Reading the system's certificates costs 40 ms, and nothing here is encrypted.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        )
        self._http = httpx2.AsyncClient(transport=transport, base_url="http://worker", trust_env=False, timeout=None)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        reply: type[ReplyT],
        *,
        timeout_s: float,
        message: wire.Message | None = None,
    ) -> ReplyT:
        """Ask once.

        Raises:
            WorkerAbsent: nobody listens.
            WorkerSilent: no whole answer within `timeout_s`.
            WorkerEnded: the connection broke.
            WorkerGone: the answer makes no sense.
            StorageFailed: the socket or its folder is not ours.
            LyraError: what the worker said went wrong.
        """
        check_place(self.socket)
        body = None if message is None else message.model_dump_json().encode()
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._http.request(method, path, content=body, headers=headers)
        except TimeoutError as error:
            raise WorkerSilent(f"the worker did not answer within {timeout_s:g} s; {NEXT_STEP}") from error
        except httpx2.ConnectError as error:
            raise WorkerAbsent(f"no worker is running; {NEXT_STEP}") from error
        except httpx2.TransportError as error:
            raise WorkerEnded(f"the worker ended during the request; {NEXT_STEP}") from error
        if response.is_success:
            return _parsed(reply, response.content)
        if path.startswith("/jobs"):
            raise job_error(_parsed(JobProblem, response.content))
        raise _error(_parsed(wire.Problem, response.content))

    @asynccontextmanager
    async def presence(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hold `GET /presence` open: the worker knows by it that a server lives. Ends when the worker does.

        Raises:
            httpx2.TransportError: there is no worker, or it ended.
            StorageFailed: the socket or its folder is not ours.
        """
        check_place(self.socket)
        timeout = httpx2.Timeout(PRESENCE_OPEN_TIMEOUT_S, read=None)
        async with self._http.stream("GET", "/presence", timeout=timeout) as response:
            yield response.aiter_raw()


def _parsed(model: type[ReplyT], content: bytes) -> ReplyT:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise WorkerGone(f"the worker's answer is no {model.__name__} of this version; {NEXT_STEP}") from error


def job_error(problem: JobProblem) -> LyraError:
    """The error as which a refusal of the job machine is told."""
    return _JOB_ERRORS.get(problem.code, Invalid)(problem.message)


def _error(problem: wire.Problem) -> LyraError:
    kind, next_step = _ERRORS[problem.code]
    return kind(f"{problem.message}; {next_step}")
