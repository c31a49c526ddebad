"""The worker's HTTP face: validate, put into the queue, await, answer; no model is touched here."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ml_worker.errors import Failed, Invalid, WorkerError
from ml_worker.intent_fits import IntentFits
from ml_worker.job_routes import mount_jobs
from ml_worker.jobs import JobMachine
from ml_worker.lifetime import Lifetime
from ml_worker.model_thread import ModelThread
from ml_worker.options import Options
from schema.sealing import as_bytes
from schema.wire import (
    PROTOCOL,
    AdapterLoaded,
    AdapterStatus,
    AdapterUnloaded,
    EmbedReply,
    EmbedTexts,
    FitIntents,
    FittedIntents,
    Health,
    JudgePairs,
    JudgeReply,
    LoadAdapter,
    Problem,
    Queue,
)

#: Of a request with many mistakes, so many are named.
MISTAKES_NAMED_MAX = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Worker:
    """What the handlers reach through the app's state."""

    options: Options
    models: ModelThread
    lifetime: Lifetime
    intent_fits: IntentFits = field(default_factory=IntentFits)


def _worker(request: Request) -> Worker:
    worker: Worker = request.app.state.worker
    return worker


async def _count_request(request: Request) -> AsyncIterator[None]:
    with _worker(request).lifetime.request():
        yield


async def _require_ready(request: Request) -> None:
    _worker(request).models.require_serving()


TheWorker = Annotated[Worker, Depends(_worker)]

always = APIRouter()
working = APIRouter(dependencies=[Depends(_count_request), Depends(_require_ready)])


async def _answer(request: Request, work: Future[T] | Coroutine[Any, Any, T]) -> T:
    """The work's result; when the caller leaves first, the work is dropped."""
    result = asyncio.wrap_future(work) if isinstance(work, Future) else asyncio.create_task(work)
    left = asyncio.create_task(_wait_until_left(request.receive))
    ends: set[asyncio.Future[Any]] = {result, left}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise Failed("the caller left before the answer")
        return result.result()
    finally:
        left.cancel()
        result.cancel()


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@always.get("/health")
async def health(worker: TheWorker) -> Health:
    models, serving = worker.models, worker.models.serving
    loaded = serving.loaded if serving else None
    return Health(
        state=models.state,
        problem=models.problem,
        protocol=PROTOCOL,
        pid=os.getpid(),
        version=version("lyra-mcp"),
        nli_model=worker.options.nli_model,
        embedding_model=worker.options.embedding_model,
        device=serving.device if serving else None,
        fingerprint=serving.fingerprint if serving else None,
        adapter=loaded.path if loaded else None,
        queue=Queue(pairs_waiting=models.queue.pairs_waiting, pairs_max=models.queue.pairs_max),
    )


class Presence(Response):
    """Never ends while both sides live: each server holds one open, and that is how the worker knows of it."""

    def __init__(self, lifetime: Lifetime) -> None:
        super().__init__(media_type="text/plain")
        del self.headers["content-length"]
        self._lifetime = lifetime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI hands over all three
        with self._lifetime.presence():
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"present\n", "more_body": True})
            ends = [
                asyncio.create_task(_wait_until_left(receive)),
                asyncio.create_task(self._lifetime.leaving.wait()),
            ]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@always.get("/presence")
async def presence(worker: TheWorker) -> Response:
    return Presence(worker.lifetime)


@always.get("/nli/adapter/status")
async def adapter_status(worker: TheWorker) -> AdapterStatus:
    serving = worker.models.serving
    loaded = serving.loaded if serving else None
    return AdapterStatus(
        adapter_loaded=loaded is not None,
        adapter_path=loaded.path if loaded else None,
        base_model=worker.options.nli_model,
        fingerprint=serving.fingerprint if serving else None,
        device=serving.device if serving else None,
    )


@working.post("/nli")
async def nli(body: JudgePairs, request: Request, worker: TheWorker) -> JudgeReply:
    future = worker.models.queue.judge(
        body.pairs, body.adapter, representation=body.representation, key=as_bytes(body.key)
    )
    return await _answer(request, future)


@working.post("/embed")
async def embed(body: EmbedTexts, request: Request, worker: TheWorker) -> EmbedReply:
    serving = worker.models.require_serving()
    return await _answer(request, worker.models.queue.run(lambda: serving.embed(body.texts), size=len(body.texts)))


@working.post("/intent/fit")
async def fit_intents(body: FitIntents, request: Request, worker: TheWorker) -> FittedIntents:
    return await _answer(request, worker.intent_fits.run(body))


@working.post("/nli/adapter/load")
async def load_adapter(body: LoadAdapter, request: Request, worker: TheWorker) -> AdapterLoaded:
    serving = worker.models.require_serving()
    key = as_bytes(body.key)
    return await _answer(request, worker.models.queue.run(lambda: serving.load(body.adapter_path, key), first=True))


@working.post("/nli/adapter/unload")
async def unload_adapter(request: Request, worker: TheWorker) -> AdapterUnloaded:
    serving = worker.models.require_serving()
    return await _answer(request, worker.models.queue.run(serving.unload, first=True))


# Failures


def _problem(error: WorkerError, status: int | None = None) -> JSONResponse:
    return JSONResponse(error.problem().model_dump(), status or error.status)


async def _worker_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, WorkerError)
    return _problem(error)


async def _invalid(_: Request, error: Exception) -> Response:
    """Names the places and the rules, never the texts."""
    assert isinstance(error, RequestValidationError)
    mistakes = [f"{'.'.join(map(str, each['loc'][1:])) or 'body'}: {each['msg']}" for each in error.errors()]
    rest = len(mistakes) - MISTAKES_NAMED_MAX
    message = "; ".join(mistakes[:MISTAKES_NAMED_MAX]) + (f"; and {rest} more" if rest > 0 else "")
    return _problem(Invalid(message))


async def _no_such_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(Invalid(f"{error.detail}; GET /openapi.json lists what there is"), error.status_code)


async def _unexpected(_: Request, error: Exception) -> Response:
    return _problem(Failed(f"the worker failed: {type(error).__name__}; see its log"))


def create_app(worker: Worker, machine: JobMachine) -> FastAPI:
    failure = {"model": Problem}
    app = FastAPI(title="Lyra worker", version=version("lyra-mcp"), docs_url=None, redoc_url=None)
    app.state.worker = worker
    app.include_router(always)
    app.include_router(working, responses={400: failure, 404: failure, 500: failure, 503: failure})
    mount_jobs(app, machine)
    app.add_exception_handler(WorkerError, _worker_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(Exception, _unexpected)
    return app
