"""The worker's Unix socket: one worker for each, in a private directory, for one user."""

import fcntl
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Linux holds 107 bytes, macOS 103.
PATH_BYTES_MAX = 100
BACKLOG = 128

#: How long a worker waits for a predecessor that is leaving: it still holds the lock, its socket is gone.
SUCCESSION_S = 10.0
POLL_S = 0.05


class BadPlace(Exception):
    """The socket must not or cannot be there."""


class AlreadyServed(Exception):
    """Another worker answers on this socket."""


def prepare_directory(path: Path) -> None:
    """Create the socket's directory, or refuse one that others may enter.

    Raises:
        BadPlace: the path is too long, or the directory is not this user's alone.
    """
    if (length := len(os.fsencode(path))) > PATH_BYTES_MAX:
        raise BadPlace(
            f"the socket path has {length} bytes, a Unix socket holds {PATH_BYTES_MAX}: {path}; "
            f"set LYRA_RUNTIME_DIR to a shorter directory"
        )
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise BadPlace(f"cannot create {folder}: {error.strerror}; set LYRA_RUNTIME_DIR to another place") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BadPlace(f"{folder} is not a directory of this user; set LYRA_RUNTIME_DIR to one that is")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise BadPlace(f"others may enter {folder}; run `chmod 700 {folder}`, or set LYRA_RUNTIME_DIR")


@contextmanager
def only_worker(path: Path) -> Iterator[None]:
    """Hold the socket's lock; the file stays, removing it would let two workers hold two of them.

    Raises:
        AlreadyServed: another worker holds it.
    """
    descriptor = os.open(f"{path}.worker", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + SUCCESSION_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _answers(path) or time.monotonic() > deadline:
                raise AlreadyServed(f"another worker serves {path}") from None
            time.sleep(POLL_S)
        else:
            return


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def listen(path: Path) -> socket.socket:
    """Bind, readable and writable by this user alone; a dead worker's socket is removed. Hold the lock before."""
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """The user on the other end, as the kernel says."""
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        return int(uid)
    # macOS and the BSDs: struct xucred of LOCAL_PEERCRED (sys/ucred.h): version, uid, ...
    _, uid = struct.unpack_from("Ii", connection.getsockopt(0, 1, 76))
    return int(uid)
