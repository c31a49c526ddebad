"""Give memories their vectors: in the background, in batches, whatever happens to the worker."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lyra_mcp.domain.passages import passages
from lyra_mcp.errors import Invalid, LyraError, WorkerBusy
from lyra_mcp.storage import memory_index
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.memory_index import Encoder, PartVector, Waiting
from lyra_mcp.worker_client.client import WorkerClient
from schema.wire import EmbedReply

#: Texts of one request: small, so that a query that arrives meanwhile waits for little.
REQUEST_TEXTS = 16
#: Memories whose vectors become true together: each commit waits for the disk, and writers wait for it.
BATCH_MEMORIES = 64
#: So long after the last write the vectors are made: in a run of writes they would take its processor and its disk.
QUIET_S = 0.4
#: A run of writes that does not end gets one batch in so many seconds.
QUIET_S_MAX = 5.0
#: What a query's vector may take before the words alone answer.
QUERY_TIMEOUT_S = 3.0
#: To find out whether a worker is ready: one that is starting needs seconds, and nobody shall wait for it.
READY_TIMEOUT_S = 0.5
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
        #: By the loop's clock.
        self._quiet_at = 0.0
        #: Somebody waits for the vectors themselves.
        self._is_hurried = asyncio.Event()
        #: The one that answered last; None until it has answered once.
        self._encoder: Encoder | None = None
        #: Why memories wait, as the last failure said it; empty when all is well.
        self.problem = ""

    def note_write(self) -> None:
        """Something was written: embed it when no more follows. Returns at once; call it after the transaction."""
        self._quiet_at = asyncio.get_running_loop().time() + QUIET_S
        self.wake()

    def wake(self) -> None:
        """Something waits: embed it in the background."""
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="lyra-index")

    async def forget(self) -> None:
        """The database was replaced: nothing that is still being embedded may reach the new one."""
        await self.close()
        self._is_wanted, self._encoder, self.problem = False, None, ""

    async def idle(self) -> None:
        """Return when nothing waits that can be embedded; no quiet is waited for."""
        if self._task is not None:
            self._is_hurried.set()
            await asyncio.wait([self._task])
            self._is_hurried.clear()

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
            WorkerWarming: the worker is starting.
            WorkerBusy: it is ready, and does not answer within `QUERY_TIMEOUT_S`.
            Unavailable: there is none, or the database cannot be used.
        """
        await self._worker.ready(within_s=READY_TIMEOUT_S)
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                reply = await self._worker.embed([query])
        except TimeoutError as error:
            raise WorkerBusy(
                f"the worker did not answer within {QUERY_TIMEOUT_S:g} s; call again in a few seconds"
            ) from error
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
                await self._quiet()
                while await self._embed_batch():
                    await self._quiet()
            except LyraError as error:
                self.problem = str(error)
                log.warning("memories wait for their vectors; again in %g s: %s", retry_s, error)
                self._is_wanted = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)
            else:
                self.problem, retry_s = "", RETRY_S_MIN

    async def _quiet(self) -> None:
        """Return when a run of writes has ended, or has gone on for `QUIET_S_MAX`."""
        clock = asyncio.get_running_loop().time
        latest = clock() + QUIET_S_MAX
        while (until := min(self._quiet_at, latest)) > clock() and not self._is_hurried.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._is_hurried.wait()

    async def _embed_batch(self) -> int:
        async with self._database.reading() as tx:
            waiting = await memory_index.list_waiting(tx, limit=BATCH_MEMORIES)
        if waiting:
            await self._embed(waiting)
        return len(waiting)

    async def _embed(self, memories: Sequence[Waiting]) -> None:
        """Make their vectors true together; one that the worker refuses for good must not keep the others waiting."""
        try:
            made = await self._make_vectors(memories)
        except Invalid as refusal:
            if len(memories) == 1:
                await self._give_up(memories[0], refusal)
                return
            middle = len(memories) // 2
            await self._embed(memories[:middle])
            await self._embed(memories[middle:])
            return
        if made is not None:
            async with self._database.transaction() as tx:
                await memory_index.insert_vectors(tx, *made)

    async def _give_up(self, memory: Waiting, refusal: Invalid) -> None:
        """Its words find it; another encoder is asked again."""
        log.warning("memory %s gets no vector and is found by its words alone: %s", memory.memory_id, refusal)
        async with self._database.transaction() as tx:
            await memory_index.stop_waiting(tx, memory.seq)

    async def _make_vectors(self, memories: Sequence[Waiting]) -> tuple[Encoder, list[PartVector]] | None:
        """None: another worker took over in between, and the same memories still wait.

        Raises:
            Invalid: the worker refuses one of the texts, and always will.
            LyraError: there are no vectors now.
        """
        texts = [(one.seq, part, text) for one in memories for part, text in enumerate(passages(one.text))]
        vectors: list[PartVector] = []
        encoder: Encoder | None = None
        for start in range(0, len(texts), REQUEST_TEXTS):
            some = texts[start : start + REQUEST_TEXTS]
            reply = await self._worker.embed([text for _, _, text in some])
            answered = await self._served_by(reply)
            if encoder is not None and answered != encoder:
                return None
            encoder = answered
            vectors += [
                PartVector(seq, part, base64.b64decode(vector))
                for (seq, part, _), vector in zip(some, reply.vectors, strict=True)
            ]
        if encoder is None:
            raise Invalid("nothing in it but white space")
        return encoder, vectors

    async def _served_by(self, reply: EmbedReply) -> Encoder:
        """What answered; where it is another one than before, everything waits for it."""
        if self._encoder is None or self._encoder.fingerprint != reply.fingerprint:
            async with self._database.transaction() as tx:
                self._encoder = await memory_index.serve(
                    tx, fingerprint=reply.fingerprint, model=reply.model, dimension=reply.dimension
                )
        return self._encoder
