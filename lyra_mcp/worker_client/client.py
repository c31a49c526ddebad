"""What the server asks of the worker: judgements, vectors, adapters. Every reply is checked before it is believed."""

import asyncio
import base64
import binascii
import math
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar

from pydantic import ValidationError

from lyra_mcp.errors import Invalid, WorkerGone, WorkerWarming
from lyra_mcp.worker_client.address import WorkerAbsent
from lyra_mcp.worker_client.connection import NEXT_STEP, WARMING_NEXT_STEP
from lyra_mcp.worker_client.process import WorkerProcess
from lyra_mcp.worker_client.status import WorkerStatus
from schema import wire
from schema.sealing import as_file_key

#: 64 pairs of full length on a slow CPU, behind a full queue.
JUDGE_TIMEOUT_S = 120.0
EMBED_TIMEOUT_S = 120.0
#: 7,500 examples of 150 intents take a minute of processor time.
FIT_TIMEOUT_S = 600.0
#: Reading an adapter and its digest from a slow disk, behind the batch that is running.
ADAPTER_TIMEOUT_S = 60.0

FLOAT32_BYTES = 4

ReplyT = TypeVar("ReplyT", bound=wire.Message)
MessageT = TypeVar("MessageT", bound=wire.Message)


class WorkerClient:
    """The worker as functions. Nothing is asked twice, but for a worker that is not there: then one is started."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._process.close()

    async def ready(self, *, within_s: float | None = None) -> None:
        """Return when a worker is ready; starts one if there is none, which goes on when the time is up.

        Raises:
            WorkerWarming: not within `within_s`.
            LyraError: like `judge`.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._process.ensure()
        except TimeoutError as error:
            raise WorkerWarming(f"the models are still loading; {WARMING_NEXT_STEP}") from error

    async def judge(
        self, pairs: Sequence[wire.Pair], *, adapter: str, representation: bool, key: bytes | None = None
    ) -> wire.JudgeReply:
        """Judge up to `PAIRS_MAX` pairs; `key` opens a sealed adapter. Starts a worker if there is none.

        Raises:
            Invalid: too many pairs, or none.
            NotFound: the worker has no such adapter.
            WorkerWarming, WorkerBusy: the same call may work in some seconds.
            WorkerGone: the worker could not start, died, or its answer makes no sense.
        """
        message = _built(
            wire.JudgePairs,
            pairs=list(pairs),
            adapter=adapter,
            key=as_file_key(key),
            representation=representation,
        )
        reply = await self.serve("/nli", wire.JudgeReply, message, timeout_s=JUDGE_TIMEOUT_S)
        _check_judgements(reply, len(message.pairs), representation=representation)
        return reply

    async def embed(self, texts: Sequence[str]) -> wire.EmbedReply:
        """Embed up to `TEXTS_MAX` texts; starts a worker if there is none. Raises like `judge`."""
        message = _built(wire.EmbedTexts, texts=list(texts))
        reply = await self.serve("/embed", wire.EmbedReply, message, timeout_s=EMBED_TIMEOUT_S)
        _check_vectors(reply, len(message.texts))
        return reply

    async def fit_intents(
        self, intents: Sequence[str], vectors: bytes, *, dimension: int, seed: int
    ) -> wire.FittedIntents:
        """Fit an intent classifier on vectors (N, D) float32, little endian. Raises like `judge`."""
        encoded = base64.b64encode(vectors).decode()
        message = _built(wire.FitIntents, intents=list(intents), vectors=encoded, dimension=dimension, seed=seed)
        return await self.serve("/intent/fit", wire.FittedIntents, message, timeout_s=FIT_TIMEOUT_S)

    async def load_adapter(self, path: str | None = None, *, key: bytes | None = None) -> wire.AdapterLoaded:
        """Make the worker serve an adapter inside the adapters root; null: the default adapter.

        `key` opens it where it is sealed.

        A refusal is a reply with `ok: false`, and the previous adapter keeps serving.

        Raises:
            WorkerGone: there is no worker, or it died.
        """
        message = _built(wire.LoadAdapter, adapter_path=path, key=as_file_key(key))
        return await self.ask(
            "POST", "/nli/adapter/load", wire.AdapterLoaded, timeout_s=ADAPTER_TIMEOUT_S, message=message
        )

    async def unload_adapter(self) -> wire.AdapterUnloaded:
        """Make the worker serve the base alone. Raises like `load_adapter`."""
        return await self.ask("POST", "/nli/adapter/unload", wire.AdapterUnloaded, timeout_s=ADAPTER_TIMEOUT_S)

    async def adapter_status(self) -> wire.AdapterStatus:
        """Say which adapter serves. Raises like `load_adapter`."""
        return await self.ask("GET", "/nli/adapter/status", wire.AdapterStatus, timeout_s=ADAPTER_TIMEOUT_S)

    async def health(self) -> wire.Health:
        """Ask the worker how it is. Raises like `load_adapter`."""
        return await self._process.health()

    async def status(self) -> WorkerStatus:
        """Describe the worker, also one that is not there; raises nothing for it."""
        return await self._process.status()

    async def serve(self, path: str, reply: type[ReplyT], message: wire.Message | None, *, timeout_s: float) -> ReplyT:
        """Post to a ready worker; starts one if there is none. Raises like `judge`."""
        await self._process.ensure()
        try:
            return await self.ask("POST", path, reply, timeout_s=timeout_s, message=message)
        except WorkerAbsent:
            # The worker left after it was last seen; this request never did.
            await self._process.ensure()
        return await self.ask("POST", path, reply, timeout_s=timeout_s, message=message)

    async def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        reply: type[ReplyT],
        *,
        timeout_s: float,
        message: wire.Message | None = None,
    ) -> ReplyT:
        """Ask the worker that is there; starts none. Raises like `load_adapter`."""
        try:
            return await self._process.connection.ask(method, path, reply, timeout_s=timeout_s, message=message)
        except WorkerGone:
            self._process.forget()
            raise


def _built(model: type[MessageT], **fields: object) -> MessageT:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Invalid(f"{place}: {first['msg']}; change it and call again") from error


def _check_judgements(reply: wire.JudgeReply, pairs: int, *, representation: bool) -> None:
    if len(reply.judgements) != pairs:
        raise WorkerGone(f"the worker answered {pairs} pairs with {len(reply.judgements)} judgements; {NEXT_STEP}")
    for judgement in reply.judgements:
        logits = judgement.logits
        if not all(math.isfinite(logit) for logit in (logits.supports, logits.refutes, logits.neutral)):
            raise WorkerGone(f"the worker's logits are not finite; another model or adapter may help; {NEXT_STEP}")
        if representation and judgement.representation is None:
            raise WorkerGone(f"the worker left out a representation that was asked for; {NEXT_STEP}")


def _check_vectors(reply: wire.EmbedReply, texts: int) -> None:
    if len(reply.vectors) != texts:
        raise WorkerGone(f"the worker answered {texts} texts with {len(reply.vectors)} vectors; {NEXT_STEP}")
    for vector in reply.vectors:
        try:
            size = len(base64.b64decode(vector, validate=True))
        except binascii.Error as error:
            raise WorkerGone(f"the worker's vector is no base64; {NEXT_STEP}") from error
        if size != FLOAT32_BYTES * reply.dimension:
            raise WorkerGone(f"the worker's vector does not have {reply.dimension} numbers; {NEXT_STEP}")
