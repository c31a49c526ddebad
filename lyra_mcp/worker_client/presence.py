"""Shows the worker that this server lives, and this server that the worker does."""

import asyncio
import contextlib

import httpx2

from lyra_mcp.errors import StorageFailed
from lyra_mcp.worker_client.connection import Connection


class Presence:
    """A background task that holds one request open for as long as the server and the worker live.

    The kernel closes it when either dies, even by `kill -9`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_held = False

    def want(self) -> None:
        """Connect, now or when the present connection ends; returns at once."""
        if self.is_held:
            return
        self._wanted.set()
        if self._task is None:
            self._task = asyncio.create_task(self._hold_for_ever(), name="lyra-worker-presence")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _hold_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            # One attempt for each call that needed the worker, so a dead worker is not asked in a busy loop.
            self._wanted.clear()
            with contextlib.suppress(httpx2.TransportError, StorageFailed):
                await self._hold()

    async def _hold(self) -> None:
        try:
            async with self._connection.presence() as beats:
                self.is_held = True
                async for _ in beats:
                    pass
        finally:
            self.is_held = False
