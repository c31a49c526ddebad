"""Give memories their vectors: in the background, in batches, whatever happens to the worker."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from lyra_mcp.domain.passages import passages
from lyra_mcp.errors import LyraError, Unavailable
from lyra_mcp.storage import memory_index
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.memory_index import Encoder, PartVector
from lyra_mcp.worker_client.client import WorkerClient
from schema.wire import EmbedReply

#: Texts of one request: small, so that a query that arrives meanwhile waits for little.
BATCH_TEXTS = 16
#: What a query's vector may take before the words alone answer; a worker that starts needs longer.
QUERY_TIMEOUT_S = 3.0
RETRY_S_MIN = 2.0
RETRY_S_MAX = 120.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueryVector:
    encoder: Encoder
    #: (D,) float32, little endian, of unit length.
    vector: bytes


class Indexer:
    """One background task of a server; it sleeps until something was written, and starts no worker before."""

    def __init__(self, database: Database, worker: WorkerClient) -> None:
        self._database = database
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = False
        #: The one that answered last; None until it has answered once.
        self._encoder: Encoder | None = None
        #: Why memories wait, as the last failure said it; empty when all is well.
        self.problem = ""

    def wake(self) -> None:
        """Something was written: embed it soon. Returns at once; call it after the transaction."""
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="lyra-index")

    async def forget(self) -> None:
        """The database was replaced: nothing that is still being embedded may reach the new one."""
        await self.close()
        self._is_wanted, self._encoder, self.problem = False, None, ""

    async def idle(self) -> None:
        """Return when nothing waits that can be embedded."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop; what is left is found again at the next write or recall."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def embed_query(self, query: str) -> QueryVector:
        """
        Raises:
            Unavailable: the worker is not there, not ready within `QUERY_TIMEOUT_S`, or busy.
        """
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                reply = await self._worker.embed([query])
        except TimeoutError as error:
            raise Unavailable("the worker is starting or busy; call again in about 10 s") from error
        return QueryVector(await self._served_by(reply), base64.b64decode(reply.vectors[0]))

    async def prepare(self) -> tuple[Encoder, int]:
        """Wait for the worker; the encoder that serves, and how many memories wait for it.

        Raises:
            Unavailable: no worker gets ready.
        """
        await self._worker.ready()
        encoder = await self._served_by(await self._worker.embed(["ready"]))
        async with self._database.reading() as tx:
            return encoder, await memory_index.count_waiting(tx)

    async def embed_waiting(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Embed until nothing waits; `progress` hears after each batch how many memories were done.

        Raises:
            LyraError: the worker or the database cannot be used now; what was done stays done.
        """
        while done := await self._embed_batch():
            if progress is not None:
                progress(done)

    async def _run(self) -> None:
        retry_s = RETRY_S_MIN
        while self._is_wanted:
            self._is_wanted = False
            try:
                await self.embed_waiting()
            except LyraError as error:
                self.problem = str(error)
                log.warning("memories wait for their vectors; again in %g s: %s", retry_s, error)
                self._is_wanted = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)
            else:
                self.problem, retry_s = "", RETRY_S_MIN

    async def _embed_batch(self) -> int:
        async with self._database.reading() as tx:
            waiting = await memory_index.list_waiting(tx, limit=BATCH_TEXTS)
        if not waiting:
            return 0
        texts = [(one.seq, part, text) for one in waiting for part, text in enumerate(passages(one.text))]
        vectors: list[PartVector] = []
        encoder: Encoder | None = None
        for start in range(0, len(texts), BATCH_TEXTS):
            some = texts[start : start + BATCH_TEXTS]
            reply = await self._worker.embed([text for _, _, text in some])
            answered = await self._served_by(reply)
            if encoder is not None and answered != encoder:
                return 1  # another worker took over in between; the same memories still wait
            encoder = answered
            vectors += [
                PartVector(seq, part, base64.b64decode(vector))
                for (seq, part, _), vector in zip(some, reply.vectors, strict=True)
            ]
        assert encoder is not None, "every memory has a passage"
        async with self._database.transaction() as tx:
            await memory_index.insert_vectors(tx, encoder, vectors)
        return len(waiting)

    async def _served_by(self, reply: EmbedReply) -> Encoder:
        """What answered; where it is another one than before, everything waits for it."""
        if self._encoder is None or self._encoder.fingerprint != reply.fingerprint:
            async with self._database.transaction() as tx:
                self._encoder = await memory_index.serve(
                    tx, fingerprint=reply.fingerprint, model=reply.model, dimension=reply.dimension
                )
        return self._encoder
