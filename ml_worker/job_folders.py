"""A job's folder: its files by name, its state written atomically, and the lock that says who is training.

The lock is held by the training child for its whole life and released by the kernel when it dies,
however it dies; a process id alone could by then belong to somebody else.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from schema import sealing
from schema.jobs import JobProblem, JobProblemCode, JobRequest, JobStatus


class JobRefused(Exception):
    """A job that cannot start or go on; the message names what to do."""

    def __init__(self, code: JobProblemCode, message: str) -> None:
        super().__init__(message)
        self.problem = JobProblem(code=code, message=message)


def full_disk(error: Exception) -> JobProblem | None:
    """What a disk without room is told as; None for every other error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JobProblem(code="insufficient_disk", message=f"{error}; free some space, then resume the job")
    return None


def sync_folder(path: Path) -> None:
    """Make renames inside the folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


class JobFolder:
    """`key`: the user's file key, where there is one; it seals and opens what a sealed folder holds."""

    def __init__(self, path: Path, key: bytes | None = None) -> None:
        self.path = path
        self.key = key
        self.request = path / "request.json"
        self.samples = path / sealing.SAMPLES
        self.state = path / "state.json"
        self.loss = path / "loss.jsonl"
        self.log = path / "log"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / sealing.ADAPTER
        self.report = path / "report.json"
        self.page = path / "report.html"
        #: Exists once somebody asked to cancel; survives the death of everybody.
        self.cancel = path / "cancel"
        self.lock = path / "lock"

    # What is sealed in a sealed folder

    @property
    def is_sealed(self) -> bool:
        return sealing.is_sealed(self.samples)

    def place(self, path: Path) -> str:
        """What a file of this folder is bound to where it is sealed."""
        return f"{self.path.name}/{path.relative_to(self.path).as_posix()}"

    def verify_key(self) -> None:
        """Open one sealed file.

        Raises:
            JobRefused: `sealed`, where the key is missing or does not fit.
        """
        if self.is_sealed:
            self.read(self.samples)

    def read(self, path: Path) -> bytes:
        """A file of this folder, sealed or not.

        Raises:
            FileNotFoundError: it is not there.
            JobRefused: `sealed`, where the key is missing or does not fit.
        """
        try:
            return sealing.read(path, self.key, self.place(path))
        except sealing.CannotOpen as error:
            raise JobRefused("sealed", str(error)) from error

    def write(self, path: Path, content: bytes) -> None:
        """A reader sees the old file or the new one; in a sealed folder only somebody with the key does."""
        if not self.is_sealed:
            write_atomically(path, content)
            return
        write_atomically(sealing.sealed_path(path), self.seal(content, self.place(path)))

    def seal(self, content: bytes, place: str) -> bytes:
        assert self.key is not None, "a sealed folder is opened with its key before anything is written"
        return sealing.seal(self.key, content, place)

    # The order and its state

    def read_request(self) -> JobRequest:
        """Read the order.

        Raises:
            JobRefused: `invalid_request`, when the file is missing or does not say what is needed.
        """
        try:
            request = JobRequest.model_validate_json(self.request.read_bytes())
        except (OSError, ValidationError) as error:
            raise JobRefused(
                "invalid_request", f"request.json of job {self.path.name!r} is unusable: {error}; plan the job again"
            ) from error
        if request.job_id != self.path.name:
            raise JobRefused(
                "invalid_request",
                f"request.json in {self.path.name!r} belongs to {request.job_id!r}; plan the job again",
            )
        return request

    def verify_samples(self, request: JobRequest) -> None:
        """Compare the frozen samples with the digest in the order.

        Raises:
            JobRefused: `invalid_samples`, or `sealed` where the key is missing or does not fit.
        """
        try:
            found = sealing.sha256(self.samples, self.key, self.place(self.samples))
        except sealing.CannotOpen as error:
            raise JobRefused("sealed", str(error)) from error
        except OSError as error:
            raise JobRefused("invalid_samples", f"samples.jsonl cannot be read: {error}; plan the job again") from error
        if found != request.samples_sha256:
            raise JobRefused(
                "invalid_samples",
                f"samples.jsonl has SHA-256 {found}, the order says {request.samples_sha256}; plan the job again",
            )

    def read_status(self) -> JobStatus | None:
        """None: no worker has seen this job yet.

        Raises:
            JobRefused: `failed`, when the file cannot be read.
        """
        try:
            return JobStatus.model_validate_json(self.state.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise JobRefused(
                "failed", f"the state of job {self.path.name!r} cannot be read; finetune(action='start') begins anew"
            ) from error

    def write_status(self, status: JobStatus) -> None:
        """Whoever ends a job for good ends its checkpoints here: nothing resumes from them."""
        if status.state == "cancelled":
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        write_atomically(self.state, status.model_dump_json(indent=1).encode())

    def is_running(self) -> bool:
        """Whether a training child is alive, whoever started it."""
        try:
            with self.lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def held(self) -> Iterator[int]:
        """Be the one who trains; the file descriptor, handed to a child, keeps the lock for as long as that lives.

        Raises:
            JobRefused: `conflict`, when another process already is.
        """
        with self.lock.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise JobRefused(
                    "conflict", f"job {self.path.name!r} is already being trained; wait for its end"
                ) from error
            yield file.fileno()


def reconciled(
    folder: JobFolder, status: JobStatus, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> JobStatus:
    """What is true of a job whose child may have died: one that says it runs, and does not, was interrupted."""
    if status.is_final or status.state == "waiting" or folder.is_running():
        return status
    newest = folder.read_status() or status  # the child may have ended between the two looks
    if newest.is_final:
        return newest
    state = "cancelled" if folder.cancel.exists() else "interrupted"
    ended = newest.model_copy(update={"state": state, "pid": None, "eta_s": None, "ended_at": now()})
    with suppress(OSError):  # no room, or a folder that is just being deleted: it is true all the same
        folder.write_status(ended)
    return ended
