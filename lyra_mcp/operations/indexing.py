"""Give memories their vectors: in the background, in batches, whatever happens to the worker."""

import asyncio
import base64
import contextlib
import logging

from lyra_mcp.errors import LyraError
from lyra_mcp.storage import memory_index
from lyra_mcp.storage.database import Database
from lyra_mcp.storage.memory_index import Encoder
from lyra_mcp.worker_client.client import WorkerClient

#: Texts of one request: small, so that a query that arrives meanwhile waits for little.
BATCH_TEXTS = 16
#: What the encoder reads of a text is shorter than this; the rest is not sent.
TEXT_CHARS_READ = 4_096
RETRY_S_MIN = 2.0
RETRY_S_MAX = 120.0

log = logging.getLogger(__name__)


class Indexer:
    """One background task of a server; it sleeps until something was written, and starts no worker before."""

    def __init__(self, database: Database, worker: WorkerClient) -> None:
        self._database = database
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = False
        #: Why memories wait, as the last failure said it; empty when all is well.
        self.problem = ""
        #: Of the encoder that serves; None until it has answered once.
        self.encoder: Encoder | None = None

    def wake(self) -> None:
        """Something was written: embed it soon. Returns at once; call it after the transaction."""
        self._is_wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="lyra-index")

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

    async def _run(self) -> None:
        retry_s = RETRY_S_MIN
        while self._is_wanted:
            self._is_wanted = False
            try:
                while await self.embed_batch():
                    pass
            except LyraError as error:
                self.problem = str(error)
                log.warning("memories wait for their vectors; again in %g s: %s", retry_s, error)
                self._is_wanted = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, RETRY_S_MAX)
            else:
                self.problem, retry_s = "", RETRY_S_MIN

    async def embed_batch(self, limit: int = BATCH_TEXTS) -> int:
        """Embed some memories that wait; returns how many, 0 when none does.

        Raises:
            Unavailable: the worker or the database cannot be used now.
        """
        async with self._database.transaction() as tx:
            encoder = self.encoder or await memory_index.find_last_encoder(tx)
            waiting = await memory_index.list_pending(tx, encoder, limit=limit)
        if not waiting:
            return 0
        reply = await self._worker.embed([one.text[:TEXT_CHARS_READ] for one in waiting])
        vectors = [(one.seq, base64.b64decode(vector)) for one, vector in zip(waiting, reply.vectors, strict=True)]
        async with self._database.transaction() as tx:
            self.encoder = await memory_index.upsert_encoder(
                tx, fingerprint=reply.fingerprint, model=reply.model, dimension=reply.dimension
            )
            await memory_index.insert_vectors(tx, self.encoder, vectors)
        return len(waiting)
