"""The files of a job and of an adapter: written beside their place, synced and renamed."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lyra_mcp.errors import NotFound, StorageFailed
from lyra_mcp.storage import sealed_jobs
from lyra_mcp.storage.database import translate
from lyra_mcp.storage.sealed_jobs import Damaged
from schema import sealing
from schema.jobs import JobRequest, JobStatus, Sample
from schema.reports import NliReport
from schema.sealing import SAMPLES, WEIGHTS

#: What the worker calls the file by which a job knows that it was cancelled.
CANCEL_MARK = "cancel"


def dump_samples(samples: Sequence[Sample]) -> bytes:
    return b"".join(sample.model_dump_json().encode() + b"\n" for sample in samples)


def prepare_folder(jobs_root: Path, request: JobRequest, samples: bytes, *, key: bytes | None = None) -> None:
    """Write a job's order and its frozen samples, whole or not at all; sealed where there is a key.

    Raises:
        DiskFull, StorageFailed: nothing is left behind.
    """
    assert hashlib.sha256(samples).hexdigest() == request.samples_sha256
    partial = jobs_root / f".{request.job_id}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        if key is None:
            _write(partial / SAMPLES, samples)
        else:
            sealed = sealing.seal(key, samples, f"{request.job_id}/{SAMPLES}")
            _write(sealing.sealed_path(partial / SAMPLES), sealed)
        _write(partial / "request.json", request.model_dump_json(indent=1).encode())
        partial.rename(jobs_root / request.job_id)
        _sync_folder(jobs_root)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise translate(error) from error


def read_champion(jobs_root: Path, job_id: str) -> str | None:
    """The adapter a job is compared with; None: the base alone, or an order that cannot be read."""
    try:
        return JobRequest.model_validate_json((jobs_root / job_id / "request.json").read_bytes()).champion
    except (OSError, ValidationError):
        return None


def exists(jobs_root: Path, job_id: str) -> bool:
    return (jobs_root / job_id).is_dir()


def remove_folder(jobs_root: Path, job_id: str) -> None:
    shutil.rmtree(jobs_root / job_id, ignore_errors=True)


def remove_checkpoints(jobs_root: Path, job_id: str) -> None:
    """For a job that nobody can resume."""
    shutil.rmtree(jobs_root / job_id / "checkpoints", ignore_errors=True)


def read_state(jobs_root: Path, job_id: str) -> JobStatus | None:
    """What the worker last wrote of a job; None before it wrote anything. Raises Damaged, StorageFailed."""
    path = jobs_root / job_id / "state.json"
    try:
        return JobStatus.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise translate(error) from error
    except ValidationError as error:
        raise Damaged(f"the state of job {job_id!r} cannot be read; finetune(action='start') begins anew") from error


def is_left(jobs_root: Path, job_id: str) -> bool:
    """Whether the folder is there, with a state that is whole or was not written yet."""
    try:
        read_state(jobs_root, job_id)
    except Damaged:
        return False
    except StorageFailed:
        return True  # it may be read later
    return exists(jobs_root, job_id)


def mark_cancelled(jobs_root: Path, job_id: str) -> None:
    """A worker that the order reaches later ends the job at its start. Raises StorageFailed."""
    try:
        (jobs_root / job_id / CANCEL_MARK).touch(mode=0o600)
    except FileNotFoundError:
        return  # without a folder no order can be taken
    except OSError as error:
        raise translate(error) from error


def is_training(jobs_root: Path, job_id: str) -> bool:
    """Whether a training process lives: it holds a lock that the kernel releases when it dies. Raises StorageFailed."""
    try:
        with (jobs_root / job_id / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as error:
        raise translate(error) from error
    return False


def read_report(jobs_root: Path, job_id: str, key: bytes) -> NliReport:
    """`key` opens it where it is sealed.

    Raises:
        Damaged: a finished job's report is missing or was changed.
        StorageFailed: it cannot be read now.
    """
    try:
        return NliReport.model_validate_json(sealed_jobs.read_file(jobs_root, job_id, "report.json", key))
    except (FileNotFoundError, ValidationError) as error:
        raise Damaged(_says_damaged(job_id, "report.json")) from error
    except OSError as error:
        raise translate(error) from error


def read_log_tail(jobs_root: Path, job_id: str, key: bytes, *, bytes_max: int) -> str:
    """The end of what the training wrote; empty before it wrote anything. Raises StorageFailed."""
    try:
        log = sealed_jobs.read_file(jobs_root, job_id, "log", key)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise translate(error) from error
    tail = log[-bytes_max:]
    if len(log) > bytes_max:
        tail = tail.partition(b"\n")[2]  # the first line is cut
    return tail.decode("utf-8", "replace")


def read_page(jobs_root: Path, job_id: str, key: bytes) -> str:
    """A finished job's report for people, as HTML. Raises NotFound before it is written."""
    try:
        return sealed_jobs.read_file(jobs_root, job_id, "report.html", key).decode()
    except FileNotFoundError as error:
        raise NotFound(f"job {job_id!r} has no report yet; finetune_status(job_id='{job_id}') shows it") from error
    except (OSError, ValueError) as error:
        raise StorageFailed(f"the report of job {job_id!r} cannot be read; train again") from error


def publish_adapter(
    jobs_root: Path, adapters_root: Path, job_id: str, *, sha256: str, key: bytes, place: str = ""
) -> str:
    """Copy a finished job's adapter to where it is served from; returns its path inside the adapters root.

    A sealed one is copied as it is, and a damaged copy gives way to a new one. `place`: the user's part of the adapters
    root, with a slash at the end; empty for the local user.

    Raises:
        Damaged: the bytes are not those of the report.
        DiskFull, StorageFailed: nothing is left behind.
    """
    path = f"{place}{job_id}"
    source, target = jobs_root / job_id / sealing.ADAPTER, adapters_root / path
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _held(target.parent):
            if not _has_weights(target, sha256, key):
                if not _has_weights(source, sha256, key):
                    raise Damaged(_says_damaged(job_id, sealing.ADAPTER))
                _copy_adapter(source, target)
    except OSError as error:
        raise translate(error) from error
    verify_adapter(adapters_root, path, sha256=sha256, key=key)
    return path


def _says_damaged(job_id: str, name: str) -> str:
    return (
        f"{name} of job {job_id!r} is missing or was changed; put it back and call finetune(action='resume',"
        f" job_id='{job_id}'), or train again"
    )


def _has_weights(folder: Path, sha256: str, key: bytes) -> bool:
    try:
        return sealing.sha256(folder / WEIGHTS, key, sealing.place_of_weights(folder)) == sha256
    except (FileNotFoundError, sealing.CannotOpen):
        return False


def _copy_adapter(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        for path in partial.iterdir():
            _sync(path)
        _sync_folder(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync_folder(target.parent)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Be the only server that publishes; the kernel lets go when a process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def verify_adapter(adapters_root: Path, adapter_path: str, *, sha256: str, key: bytes) -> None:
    """`key` opens them where they are sealed. Raises StorageFailed unless the weights are the registered ones."""
    folder = adapters_root / adapter_path
    try:
        found = sealing.sha256(folder / WEIGHTS, key, sealing.place_of_weights(folder))
    except sealing.CannotOpen as error:
        raise StorageFailed(f"{error}, or roll back, or activate another version") from error
    except OSError as error:
        raise StorageFailed(
            f"the files of adapter {adapter_path!r} are missing; roll back, or activate another version"
        ) from error
    if found != sha256:
        raise StorageFailed(
            f"the files of adapter {adapter_path!r} were changed; roll back, or activate another version"
        )


def remove_adapter(adapters_root: Path, adapter_path: str) -> None:
    """Delete an adapter's files; a half-deleted one is never loadable, because its folder is renamed first."""
    target = adapters_root / adapter_path
    doomed = target.with_name(f".{target.name}.pruned")
    shutil.rmtree(doomed, ignore_errors=True)
    if target.exists():
        target.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
