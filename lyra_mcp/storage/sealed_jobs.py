"""What a training that has ended leaves to read: sealed under the user's key, and opened again where it is needed."""

import secrets
import shutil
from pathlib import Path

from lyra_mcp.errors import StorageFailed
from lyra_mcp.storage.database import translate
from lyra_mcp.storage.files import shred, write_private

#: Files of a job's folder that hold a person's texts, or may: a log can quote one in an error.
WITH_TEXTS = ("samples.jsonl", "report.json", "report.html", "log")
SUFFIX = ".sealed"
MAGIC = b"LYRA JOB 1\n"
NONCE_BYTES = 12


def seal_job(jobs_root: Path, job_id: str, key: bytes) -> int:
    """Seal what holds texts; returns how many files that were. Interrupted, it is finished by the next call.

    Raises:
        DiskFull, StorageFailed: what is not sealed yet is still there in plain.
    """
    count = 0
    try:
        for name in WITH_TEXTS:
            plain = jobs_root / job_id / name
            if plain.is_file() and not plain.is_symlink():
                write_private(plain.with_name(name + SUFFIX), _seal(key, plain.read_bytes(), f"{job_id}/{name}"))
                shred(plain)
                count += 1
    except OSError as error:
        raise translate(error) from error
    return count


def unseal_job(jobs_root: Path, job_id: str, key: bytes) -> None:
    """Put the plain files back, for a job that goes on.

    Raises:
        DiskFull, StorageFailed: it cannot go on.
    """
    try:
        for name in WITH_TEXTS:
            plain = jobs_root / job_id / name
            sealed = plain.with_name(name + SUFFIX)
            if sealed.is_file():
                if not plain.exists():
                    write_private(plain, _open(key, sealed.read_bytes(), f"{job_id}/{name}"))
                sealed.unlink()
    except OSError as error:
        raise translate(error) from error


def read_file(jobs_root: Path, job_id: str, name: str, key: bytes) -> bytes:
    """A file of a job, sealed or not.

    Raises:
        FileNotFoundError: it is not there.
        StorageFailed: it was changed, or another user's key sealed it.
    """
    plain = jobs_root / job_id / name
    try:
        return plain.read_bytes()
    except FileNotFoundError:
        return _open(key, plain.with_name(name + SUFFIX).read_bytes(), f"{job_id}/{name}")


def has_file(jobs_root: Path, job_id: str, name: str) -> bool:
    plain = jobs_root / job_id / name
    return plain.is_file() or plain.with_name(name + SUFFIX).is_file()


def remove_checkpoints(jobs_root: Path, job_id: str) -> None:
    """For a job that nobody can resume."""
    shutil.rmtree(jobs_root / job_id / "checkpoints", ignore_errors=True)


def _seal(key: bytes, content: bytes, about: str) -> bytes:
    """AES-256-GCM; `about` binds the content to its place, so that no file can stand in for another."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - loaded where it is needed

    nonce = secrets.token_bytes(NONCE_BYTES)
    return MAGIC + nonce + AESGCM(key).encrypt(nonce, content, about.encode())


def _open(key: bytes, sealed: bytes, about: str) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - loaded where it is needed
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - likewise

    written = sealed.removeprefix(MAGIC)
    try:
        return AESGCM(key).decrypt(written[:NONCE_BYTES], written[NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError) as error:
        raise StorageFailed(
            f"{about}{SUFFIX} was changed, or belongs to another key; restore lyra.key from a backup, or train again"
        ) from error
