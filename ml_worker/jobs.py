"""The job machine: one training child at a time, everything it knows kept in the jobs' folders.

A worker that dies loses nothing: a child goes on by itself and is found again by its lock, one
that died as well is found to be `interrupted`, and what waited still waits.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_worker import estimates, job_children
from ml_worker.job_folders import JobFolder, JobRefused, full_disk, reconciled
from ml_worker.training.preconditions import Probes, check_disk, choose_device
from schema import sealing
from schema.jobs import JobProblem, JobStatus, Preflight, PreflightReply

log = logging.getLogger(__name__)

#: Between two looks at a job's folder.
LOOK_S = 0.2
#: A child that was asked to stop and has not is killed after this time; its newest checkpoint stays.
STOP_GRACE_S = 20.0
#: A comment on the event stream so that a connection that has died is noticed.
KEEP_ALIVE_S = 15.0
#: States in which a child should be alive.
ACTIVE = frozenset({"preparing", "training", "evaluating"})
RESUMABLE = frozenset({"interrupted", "failed"})


@dataclass(frozen=True)
class JobOptions:
    jobs_root: Path
    adapters_root: Path
    probes: Probes = Probes()  # noqa: RUF009 - immutable
    #: What would be trained; None while it is loading.
    base: Callable[[], estimates.Base | None] = lambda: None


class JobMachine:
    """Lives on the event loop; call `reconcile` once before serving.

    The key of a sealed job comes with the order and stays in memory. A worker that finds such a job waiting was not
    given its key: the job goes on waiting, until a server starts it again.
    """

    def __init__(self, options: JobOptions) -> None:
        self._options = options
        self._child: asyncio.subprocess.Process | None = None
        #: The job whose child this worker has started and whose end it has not yet seen.
        self._starting: str | None = None
        self._watches: set[asyncio.Task[None]] = set()
        #: Of jobs that wait or run here.
        self._keys: dict[str, bytes] = {}
        #: Jobs that could not be started, where a full disk still keeps that from being written.
        self._unwritten: dict[str, JobStatus] = {}

    # Looking

    def folder(self, job_id: str) -> JobFolder:
        """The folder of a job this worker has seen.

        Raises:
            JobRefused: `not_found`.
        """
        folder = JobFolder(self._options.jobs_root / job_id, self._keys.get(job_id))
        if "/" in job_id or job_id.startswith(".") or not folder.path.is_dir():
            raise JobRefused("not_found", f"no job {job_id!r}; finetune_status() lists them")
        return folder

    def status(self, job_id: str) -> JobStatus:
        """What is true now, also of a job whose child was killed.

        Raises:
            JobRefused: `not_found`, or `failed` where the state cannot be read.
        """
        folder = self.folder(job_id)
        status = self._failed_unwritten(folder) or folder.read_status()
        if status is None:
            raise JobRefused(
                "not_found", f"job {job_id!r} was prepared but never started; finetune(action='start') begins anew"
            )
        status = reconciled(folder, status)
        if status.is_final:
            self._keys.pop(job_id, None)
        waits = status.state == "waiting" and folder.key is None and self._needs_key(folder)
        return status.model_copy(update={"waits_for_key": waits})

    def _needs_key(self, folder: JobFolder) -> bool:
        """Whether the job's own files are sealed, or the adapter it is compared with."""
        if folder.is_sealed:
            return True
        try:
            champion = folder.read_request().champion
        except JobRefused:
            return False  # its child will say why
        return champion is not None and sealing.is_sealed(self._options.adapters_root / champion / sealing.WEIGHTS)

    def all(self) -> list[JobStatus]:
        """Every job that was ever started here, oldest first; folders that are no jobs are passed over."""
        found = []
        for path in self._options.jobs_root.iterdir() if self._options.jobs_root.is_dir() else ():
            with suppress(JobRefused):
                found.append(self.status(path.name))
        return sorted(found, key=lambda status: (status.created_at, status.job_id))

    @property
    def is_busy(self) -> bool:
        """A worker with work must not leave; what waits for a key is work of whoever brings it."""
        return any(not status.is_final and not status.waits_for_key for status in self.all())

    # Acting

    def reconcile(self) -> None:
        """Find what an earlier worker left: running children are watched, dead ones noted, waiting ones go on."""
        for status in self.all():
            if status.state in ACTIVE:
                self._watch(self._wait_for_end(self.folder(status.job_id)))
        self._start_next()

    def start(self, job_id: str, key: bytes | None = None) -> JobStatus:
        """Begin, or wait for the job before; a job that was started already is left as it is, but may get its key.

        Raises:
            JobRefused: the order, its samples or the machine do not allow it; nothing was written.
        """
        folder = self.folder(job_id)
        if folder.read_status() is not None:
            return self._unlock_waiting(self.status(job_id), key)
        folder.key = key
        request = folder.read_request()
        self._check_key(folder)
        folder.verify_samples(request)
        check_disk(folder.path, self._options.probes)
        choose_device(request.limits, self._options.probes)
        status = JobStatus(job_id=job_id, kind=request.kind, state="waiting", created_at=_now())
        return self._queue(folder, status)

    def resume(self, job_id: str, key: bytes | None = None) -> JobStatus:
        """Go on from the newest checkpoint.

        Raises:
            JobRefused: `conflict` when there is nothing to resume, or what the machine does not allow.
        """
        folder, status = self.folder(job_id), self.status(job_id)
        if not status.is_final:
            return self._unlock_waiting(status, key)
        if status.state not in RESUMABLE:
            raise JobRefused("conflict", f"job {job_id!r} is {status.state}; only an interrupted or failed one resumes")
        folder.key = key
        request = folder.read_request()
        self._check_key(folder)
        check_disk(folder.path, self._options.probes)
        choose_device(request.limits, self._options.probes)
        return self._queue(folder, status.model_copy(update={"state": "waiting", "problem": None, "ended_at": None}))

    def _unlock_waiting(self, status: JobStatus, key: bytes | None) -> JobStatus:
        """Let a job that waits for its key go on, where this is the key."""
        if not status.waits_for_key or key is None:
            return status
        folder = self.folder(status.job_id)
        folder.key = key
        self._check_key(folder)
        return self._queue(folder, status)

    def _check_key(self, folder: JobFolder) -> None:
        """
        Raises:
            JobRefused: `sealed`, where the key is missing or does not fit.
        """
        folder.verify_key()
        if folder.key is None and self._needs_key(folder):
            raise JobRefused(
                "sealed",
                f"job {folder.path.name!r} is compared with a sealed adapter and came without a key; "
                "start it through the server of its user",
            )

    def cancel(self, job_id: str) -> JobStatus:
        """Ask the child to stop for good; a job that has ended stays as it ended, unless it could be resumed."""
        folder, status = self.folder(job_id), self.status(job_id)
        if status.state in ACTIVE or (status.state == "waiting" and self._starting == job_id):
            folder.cancel.touch()
            self._signal(status, signal.SIGTERM)
            self._watch(self._kill_late(job_id))
            return status
        if status.state in RESUMABLE or status.state == "waiting":
            folder.cancel.touch()
            status = status.model_copy(update={"state": "cancelled", "ended_at": _now(), "pid": None, "eta_s": None})
            self._write(folder, status.model_copy(update={"waits_for_key": False}))
        return self.status(job_id)

    async def stop(self) -> None:
        """Interrupt the running child, which saves; for a worker that leaves. What waits still waits."""
        child = self._child
        for watch in self._watches:
            watch.cancel()
        if child is not None and child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(STOP_GRACE_S):
                    await child.wait()
            except TimeoutError:
                child.kill()

    def _queue(self, folder: JobFolder, status: JobStatus) -> JobStatus:
        status = status.model_copy(update={"waits_for_key": False})
        self._write(folder, status)
        if folder.key is not None:
            self._keys[status.job_id] = folder.key
        self._start_next()
        return folder.read_status() or status

    def _start_next(self) -> None:
        """Start the oldest waiting job when no other trains; one without its key holds up nobody."""
        jobs = self.all()
        if self._starting is not None or any(status.state in ACTIVE for status in jobs):
            return
        for status in jobs:
            if status.state == "waiting" and not status.waits_for_key:
                self._starting = status.job_id
                self._watch(self._run_child(self.folder(status.job_id), status))
                return

    async def _run_child(self, folder: JobFolder, status: JobStatus) -> None:
        try:
            self._child = await self._spawn(folder, status)
            await job_children.hand_over(folder.key, self._child)
            if folder.cancel.exists():  # asked while there was no process to ask
                self._child.terminate()
            await self._child.wait()
        except (OSError, JobRefused) as error:
            log.error("job %s could not be started: %s", status.job_id, error)  # noqa: TRY400 - the message says all
            if not folder.is_running():  # another process may be training it, which then says how that ends
                self._fail(folder, status, error)
        self._child = self._starting = None
        if not folder.path.is_dir():  # deleted meanwhile: nobody will ask how it ended
            self._keys.pop(status.job_id, None)
            self._unwritten.pop(status.job_id, None)
        await self._wait_for_end(folder)

    async def _spawn(self, folder: JobFolder, status: JobStatus) -> asyncio.subprocess.Process:
        """Start the child with the lock already held, so that nobody ever sees a running job without one."""
        with folder.held() as lock:
            started_at = status.started_at or _now()
            folder.write_status(status.model_copy(update={"state": "preparing", "started_at": started_at}))
            return await job_children.spawn(folder, lock, self._options.adapters_root)

    async def _wait_for_end(self, folder: JobFolder) -> None:
        """Let the next one begin once nobody trains this one, also where its folder was deleted meanwhile."""
        while folder.is_running():  # noqa: ASYNC110 - the kernel tells nobody when another's lock goes
            await asyncio.sleep(LOOK_S)
        self._start_next()

    def _fail(self, folder: JobFolder, status: JobStatus, error: OSError | JobRefused) -> None:
        """End a job that cannot be started: left waiting, it would be tried again at once and hold up the others."""
        problem = error.problem if isinstance(error, JobRefused) else full_disk(error)
        if problem is None:
            problem = JobProblem(code="failed", message=f"its process did not start: {error}; resume the job")
        state = "cancelled" if folder.cancel.exists() else "failed"  # asked while it was being started
        failed = status.model_copy(update={"state": state, "problem": problem, "ended_at": _now()})
        self._unwritten[status.job_id] = failed
        self._failed_unwritten(folder)

    def _failed_unwritten(self, folder: JobFolder) -> JobStatus | None:
        """How a job ended whose folder does not say so yet; each look tries again to write it there."""
        failed = self._unwritten.get(folder.path.name)
        if failed is not None:
            with suppress(OSError):
                self._write(folder, failed)
        return failed

    def _write(self, folder: JobFolder, status: JobStatus) -> None:
        """Whatever is written is newer than what could not be."""
        folder.write_status(status)
        self._unwritten.pop(status.job_id, None)

    async def _kill_late(self, job_id: str) -> None:
        deadline = time.monotonic() + STOP_GRACE_S
        with suppress(JobRefused):  # its folder was deleted meanwhile
            while time.monotonic() < deadline:
                if self.status(job_id).is_final:
                    return
                await asyncio.sleep(LOOK_S)
            self._signal(self.status(job_id), signal.SIGKILL)

    def _signal(self, status: JobStatus, number: signal.Signals) -> None:
        """Reach our own child, or one we adopted; only while it holds the lock is its process id its own."""
        if self._starting == status.job_id and self._child is not None:
            with suppress(ProcessLookupError):
                self._child.send_signal(number)
        elif self._starting != status.job_id and status.pid is not None and self.folder(status.job_id).is_running():
            with suppress(ProcessLookupError):
                os.kill(status.pid, number)

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def events(self, job_id: str) -> AsyncIterator[bytes]:
        """Server-sent events: the status whenever it changes, the final one last."""
        told: JobStatus | None = None
        spoke_at = time.monotonic()
        while told is None or not told.is_final:
            status = self.status(job_id)
            if status != told:
                yield f"event: status\ndata: {status.model_dump_json()}\n\n".encode()
                told, spoke_at = status, time.monotonic()
            elif time.monotonic() - spoke_at >= KEEP_ALIVE_S:
                yield b": still here\n\n"
                spoke_at = time.monotonic()
            if not told.is_final:
                await asyncio.sleep(LOOK_S)

    def preflight(self, order: Preflight) -> PreflightReply:
        """Whether such a job would be accepted, and how long it would take."""
        return estimates.preflight(order, self._options.jobs_root, self._options.probes, base=self._options.base())


def _now() -> datetime:
    return datetime.now(UTC)
