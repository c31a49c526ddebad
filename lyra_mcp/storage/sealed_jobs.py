"""What a training leaves to read or to serve: sealed under the user's key, and opened again where it is needed."""

from collections.abc import Iterator
from pathlib import Path

from lyra_mcp.errors import StorageFailed
from lyra_mcp.storage.database import translate
from lyra_mcp.storage.files import shred, write_private
from schema import sealing

#: Files of a job's folder that hold a person's texts, or may: a log can quote one in an error.
WITH_TEXTS = (sealing.SAMPLES, "report.json", "report.html", "log")
#: In each folder of a checkpoint, beside its manifest of digests.
OF_CHECKPOINTS = ("tensors.safetensors", "state.pt")


class Damaged(StorageFailed):
    """A file is missing or was changed: another try finds the same, until somebody mends it."""


def seal_job(jobs_root: Path, job_id: str, key: bytes) -> int:
    """Seal what holds texts or what was learned from them; returns how many files that were.

    Interrupted, it is finished by the next call.

    Raises:
        DiskFull, StorageFailed: what is not sealed yet is still there in plain.
    """
    folder = jobs_root / job_id
    try:
        count = sum(_seal(folder / name, key, f"{job_id}/{name}") for name in WITH_TEXTS)
        for path in _checkpoints(folder):
            count += _seal(path, key, f"{job_id}/{path.relative_to(folder).as_posix()}")
    except OSError as error:
        raise translate(error) from error
    return count + seal_adapter(folder / sealing.ADAPTER, key)


def seal_adapter(folder: Path, key: bytes) -> int:
    """Likewise for the weights of an adapter; returns how many files that were."""
    try:
        return _seal(folder / sealing.WEIGHTS, key, sealing.place_of_weights(folder))
    except OSError as error:
        raise translate(error) from error


def read_file(jobs_root: Path, job_id: str, name: str, key: bytes) -> bytes:
    """A file of a job, sealed or not.

    Raises:
        FileNotFoundError: it is not there.
        Damaged: it was changed, or another user's key sealed it.
    """
    try:
        return sealing.read(jobs_root / job_id / name, key, f"{job_id}/{name}")
    except sealing.CannotOpen as error:
        raise Damaged(str(error)) from error


def read_weights(folder: Path, key: bytes) -> bytes:
    """Of an adapter. Raises like `read_file`."""
    try:
        return sealing.read(folder / sealing.WEIGHTS, key, sealing.place_of_weights(folder))
    except sealing.CannotOpen as error:
        raise Damaged(str(error)) from error


def has_file(jobs_root: Path, job_id: str, name: str) -> bool:
    plain = jobs_root / job_id / name
    return plain.is_file() or sealing.is_sealed(plain)


def _checkpoints(folder: Path) -> Iterator[Path]:
    for step in folder.glob("checkpoints/step-*"):
        yield from (step / name for name in OF_CHECKPOINTS)


def _seal(plain: Path, key: bytes, place: str) -> int:
    if not plain.is_file() or plain.is_symlink():
        return 0
    sealed = sealing.sealed_path(plain)
    # One that opens was written whole by a sealing that was interrupted: the plain file may be half overwritten.
    if not _opens(sealed, key, place):
        write_private(sealed, sealing.seal(key, plain.read_bytes(), place))
    shred(plain)
    return 1


def _opens(sealed: Path, key: bytes, place: str) -> bool:
    try:
        sealing.unseal(key, sealed.read_bytes(), place)
    except (FileNotFoundError, sealing.CannotOpen):
        return False
    return True
