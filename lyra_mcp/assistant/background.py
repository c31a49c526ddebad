"""One thread with an event loop for programs that have none, or that come and go: all services live on it."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from lyra_mcp.operations.services import Services, build_services
from lyra_mcp.settings import Settings

T = TypeVar("T")
Operation = Callable[[Services], Awaitable[T]]


class Background:
    """Runs operations for any thread and any event loop. Nothing starts before the first; it ends with the program.

    Each user has a database of their own; the calls of one user wait for each other there, and nowhere else.
    """

    def __init__(self, build: Callable[[Settings], Services] = build_services) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        #: Of the process that started the thread: a fork takes none along.
        self._pid = 0
        self._end_pid = 0
        self._services: dict[object, Services] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, settings: Settings, operation: Operation[T]) -> T:
        """Run it and wait; an interrupt ends the waiting, and what was begun is finished."""
        return self._submit(settings, operation).result()

    async def run_async(self, settings: Settings, operation: Operation[T]) -> T:
        """Run it and wait without blocking the caller's event loop."""
        return await asyncio.wrap_future(self._submit(settings, operation))

    def close(self) -> None:
        """Close every database and end the thread; the next operation starts another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is None or thread is None or self._pid != os.getpid():
                return
            asyncio.run_coroutine_threadsafe(self._close_services(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _submit(self, settings: Settings, operation: Operation[T]) -> Future[T]:
        async def call() -> T:
            return await operation(self._services_of(settings))

        with self._lock:
            return asyncio.run_coroutine_threadsafe(call(), self._running())

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._pid != os.getpid():
            self._services = {}
            self._pid = os.getpid()
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="lyra-background", daemon=True)
            self._thread.start()
            self._watch_the_end()
        return self._loop

    def _watch_the_end(self) -> None:
        """The database has a thread that the interpreter waits for at its end, before any `atexit`."""
        if self._end_pid != os.getpid():
            self._end_pid = os.getpid()
            threading.Thread(target=self._close_at_the_end, name="lyra-background-end").start()

    def _close_at_the_end(self) -> None:
        threading.main_thread().join()
        self.close()

    def _services_of(self, settings: Settings) -> Services:
        """Runs on the loop only, so no two calls build the same."""
        key = (settings.home, settings.user)
        if key not in self._services:
            self._services[key] = self._build(settings)
        return self._services[key]

    async def _close_services(self) -> None:
        for services in self._services.values():
            await services.close()
        self._services = {}
