"""The worker's life as the server sees it: started on first need, shared, watched, started again after a crash."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from lyra_mcp.errors import LyraError, WorkerGone, WorkerWarming
from lyra_mcp.settings import Settings
from lyra_mcp.worker_client.address import WorkerAbsent, make_runtime_dir, named_model, socket_path
from lyra_mcp.worker_client.connection import NEXT_STEP, Connection, WorkerEnded, WorkerSilent
from lyra_mcp.worker_client.presence import Presence
from lyra_mcp.worker_client.spawn import (
    LOGS_HINT,
    REAL_WORKER,
    Command,
    CrashLoop,
    check_installed,
    ending,
    last_words,
    spawn,
    spawn_lock,
)
from lyra_mcp.worker_client.status import WorkerStatus
from schema import wire

#: From the start of the process to its first answer; the models are loaded after that.
START_TIMEOUT_S = 20.0
#: Longer than a start, so that a server waits for the one that is starting the worker.
SPAWN_LOCK_WAIT_S = START_TIMEOUT_S + 5.0
#: Generous, because a worker that is importing its libraries answers late.
HEALTH_TIMEOUT_S = 5.0
STATUS_TIMEOUT_S = 2.0
POLL_S = 0.05
#: How long the exit code of a worker that no longer listens is waited for.
REAP_WAIT_S = 1.0

#: A worker that could not load its models is replaced after this time: somebody may have mended the cause.
FAILED_RETRY_S = 30.0
#: A worker told to leave has this long to do so.
LEAVE_TIMEOUT_S = 5.0


class WorkerProcess:
    """One worker for all servers with the same home and models. It belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        command: Command = REAL_WORKER,
        start_timeout_s: float = START_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._command = command
        self._start_timeout_s = start_timeout_s
        self._clock = clock
        self.socket = socket_path(settings)
        self.connection = Connection(self.socket)
        self._presence = Presence(self.connection)
        self._is_ready = False
        self._starting: asyncio.Task[None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._crashes = CrashLoop()
        self._problem: str | None = None
        #: Process id of the worker seen last in a state, and when it was first seen in it.
        self._warming_since: tuple[int, float] | None = None
        self._failed_since: tuple[int, float] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End this server's share in the worker; the worker leaves by itself when its last server has gone."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self._presence.close()
        await self.connection.close()

    def forget(self) -> None:
        """Look at the worker again before the next request, because the last one failed."""
        self._is_ready = False

    async def health(self, *, timeout_s: float = HEALTH_TIMEOUT_S) -> wire.Health:
        """Ask the worker how it is; starts none.

        Raises:
            WorkerGone: there is none, it does not answer, or it speaks another protocol.
        """
        health = await self.connection.ask("GET", "/health", wire.Health, timeout_s=timeout_s)
        if health.protocol != wire.PROTOCOL:
            raise WorkerGone(
                f"the running worker speaks protocol {health.protocol}, this server {wire.PROTOCOL}; "
                f"end the process {health.pid} and call again"
            )
        return health

    async def ensure(self) -> None:
        """Return when a worker is ready; start one if there is none.

        Raises:
            WorkerWarming: it is still loading its models after `worker_wait_s`.
            WorkerGone: it could not start, failed to load, or does not answer.
            Invalid, StorageFailed: there is no usable place for its socket.
        """
        if self._is_ready and self._presence.is_held:
            return
        if not await self._is_answering():
            await self._start()
        self._presence.want()
        await self._wait_until_ready()

    async def status(self) -> WorkerStatus:
        """Describe the worker; never starts one, and a dead one is a state and not an error."""
        models = {
            "nli": named_model(self._settings.nli_model, self._settings),
            "embedding": named_model(self._settings.embedding_model, self._settings),
        }
        try:
            health = await self.health(timeout_s=STATUS_TIMEOUT_S)
        except (WorkerAbsent, WorkerEnded):
            is_starting = self._starting is not None and not self._starting.done()
            return WorkerStatus("warming" if is_starting else "stopped", models, problem=self._problem)
        except LyraError as error:
            return WorkerStatus("unreachable", models, problem=str(error))
        return WorkerStatus.of(health)

    # Starting

    async def _is_answering(self) -> bool:
        """Whether a worker listens that is worth waiting for."""
        try:
            health = await self.health()
        except (WorkerAbsent, WorkerEnded):
            # A killed worker's socket takes connections until the kernel has cleared up.
            return False
        except WorkerSilent:
            return True
        if health.state == "failed" and self._failed_for_s(health.pid) >= FAILED_RETRY_S:
            await self._send_away(health.pid)
            return False
        return True

    async def _start(self) -> None:
        """Start a worker in a task of its own: a caller that leaves must not stop what others wait for."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start_alone(), name="lyra-worker-start")
            self._starting.add_done_callback(_retrieve_error)
        await asyncio.shield(self._starting)

    async def _start_alone(self) -> None:
        try:
            make_runtime_dir(self.socket)
            async with spawn_lock(self.socket.with_name(f"{self.socket.name}.spawn"), wait_s=SPAWN_LOCK_WAIT_S):
                if not await self._is_answering():
                    await self._spawn()
        except LyraError as error:
            self._problem = str(error)
            raise
        self._problem = None

    async def _spawn(self) -> None:
        await self._note_crash()
        self._crashes.check(self._clock())
        check_installed(self._command)
        # Nobody answers there, and nobody else may bind it while we hold the lock.
        self.socket.unlink(missing_ok=True)
        self._child = spawn([*self._command.argv, *self._options()], output=self._output)
        has_answered = False
        try:
            await self._wait_for_answer(self._child)
            has_answered = True
        finally:
            if not has_answered:
                # Without the lock a half-started worker would meet the next one on the same socket.
                self._child.kill()
                self._child = None

    async def _wait_for_answer(self, child: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._start_timeout_s
        while True:
            try:
                await self.health()
            except WorkerAbsent as error:
                if (returncode := child.poll()) is not None:
                    self._crashes.note(self._clock())
                    raise WorkerGone(
                        f"the worker {self._reason(returncode)}; correct that and call again; {LOGS_HINT}"
                    ) from error
                if loop.time() >= deadline:
                    self._crashes.note(self._clock())
                    raise WorkerGone(
                        f"the worker did not listen within {self._start_timeout_s:g} s of its start; "
                        f"call again when the machine is less busy; {LOGS_HINT}"
                    ) from error
            except WorkerSilent:
                return
            else:
                return
            await asyncio.sleep(POLL_S)

    def _options(self) -> list[str]:
        settings = self._settings
        options = {
            "--socket": self.socket,
            "--nli-model": named_model(settings.nli_model, settings),
            "--embedding-model": named_model(settings.embedding_model, settings),
            "--adapters-root": settings.adapters_root.expanduser().absolute(),
            "--jobs-root": settings.jobs_root.expanduser().absolute(),
            "--default-adapter": settings.default_adapter,
            "--threads": settings.threads,
            "--idle-s": settings.worker_idle_s,
            "--linger-s": settings.worker_linger_s,
            "--log-file": self._log,
        }
        return [f"{name}={value}" for name, value in options.items() if value is not None]

    @property
    def _log(self) -> Path:
        """What the worker logs, in a file that it rotates itself."""
        return self._settings.log_dir.expanduser().absolute() / f"worker-{self.socket.stem}.log"

    @property
    def _output(self) -> Path:
        """What the process prints: mostly nothing, or why it could not start."""
        return self._log.with_suffix(".out")

    # Waiting

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.worker_wait_s
        while True:
            error: WorkerWarming | WorkerSilent | None
            try:
                error = self._not_ready(await self.health())
            except WorkerSilent as silent:
                error = silent
            except (WorkerAbsent, WorkerEnded) as gone:
                raise self._ended() from gone
            if error is None:
                self._is_ready = True
                return
            if loop.time() >= deadline:
                raise error
            await asyncio.sleep(POLL_S)

    def _not_ready(self, health: wire.Health) -> WorkerWarming | None:
        """Return what to say if the worker stays like this, or nothing if it is ready.

        Raises:
            WorkerGone: it failed, and waiting does not help.
        """
        now = self._clock()
        if health.state == "failed":
            self._failed_for_s(health.pid)
            raise WorkerGone(
                f"the worker could not load its models: {health.problem}; correct that, and a call "
                f"after {FAILED_RETRY_S:g} s tries again; {LOGS_HINT}"
            )
        if health.state == "ready":
            self._warming_since = self._failed_since = None
            return None
        if self._warming_since is None or self._warming_since[0] != health.pid:
            self._warming_since = (health.pid, now)
        return WorkerWarming(
            f"the models have been loading for {now - self._warming_since[1]:.0f} s; "
            "call again in about 10 s; server_status shows when they are ready"
        )

    # Endings

    def _ended(self) -> WorkerGone:
        child = self._child
        returncode = None if child is None else child.poll()
        how = "ended" if returncode is None else self._reason(returncode)
        return WorkerGone(f"the worker {how} while its models were loading; {NEXT_STEP}; {LOGS_HINT}")

    def _reason(self, returncode: int) -> str:
        words = last_words(self._output, self._log)
        return f"{ending(returncode)}: {words}" if words else ending(returncode)

    async def _note_crash(self) -> None:
        """Count the end of the worker that this server started last, unless it left in order."""
        if self._child is None:
            return
        # Its socket may refuse a moment before the thread that waits for the process learns of its end.
        for _ in range(round(REAP_WAIT_S / POLL_S)):
            if self._child.poll() is not None:
                break
            await asyncio.sleep(POLL_S)
        if self._child.returncode not in (None, 0, -signal.SIGTERM):
            self._crashes.note(self._clock())
        self._child = None

    def _failed_for_s(self, pid: int) -> float:
        """How long this server has known that the worker `pid` failed, in seconds."""
        if self._failed_since is None or self._failed_since[0] != pid:
            self._failed_since = (pid, self._clock())
        return self._clock() - self._failed_since[1]

    async def _send_away(self, pid: int) -> None:
        """End a worker that could not load its models, so that a new one can try."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                while True:
                    await self.health()
                    await asyncio.sleep(POLL_S)
        except WorkerGone:
            return
        except TimeoutError as error:
            raise WorkerGone(f"the worker failed and does not leave; end the process {pid} and call again") from error


def _retrieve_error(task: asyncio.Task[None]) -> None:
    """Mark a start's error as seen: its callers may all have left, and `status` shows it."""
    if not task.cancelled():
        task.exception()
