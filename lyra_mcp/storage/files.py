"""Private files: written whole or not at all, and overwritten before they are deleted."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lyra_mcp.errors import Conflict


def refuse_existing(path: Path) -> None:
    """Raises Conflict: nothing of a person's is overwritten."""
    if path.exists():
        raise Conflict(f"{path} exists already; give another name")


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600 that is on the disk when this returns; a power cut leaves the old one."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shred(path: Path) -> None:
    """Overwrite a file and delete it. Disks that write elsewhere (flash, snapshots) may keep the old blocks."""
    if path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)
        return
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(bytes(min(left, 1 << 20)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def shred_folder(folder: Path) -> None:
    """Likewise for every file below a folder, and the folder; links are not followed."""
    if folder.is_symlink() or not folder.is_dir():
        shred(folder)
        return
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            shred(path)
    shutil.rmtree(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process inside; the kernel lets go when a process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
