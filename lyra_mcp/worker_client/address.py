"""Where the worker of some settings listens, and whether that place belongs to us alone."""

import hashlib
import os
import re
import stat
from importlib.metadata import version
from pathlib import Path

from lyra_mcp.errors import Invalid, StorageFailed, WorkerGone
from lyra_mcp.settings import Settings
from schema import wire
from schema.pulled_models import NAME_PATTERN, PULLED, folder_name

#: The kernel's limit is 108 bytes on Linux and 104 on macOS, the closing NUL included.
SOCKET_PATH_BYTES_MAX = 100

PRIVATE_DIR_MODE = 0o700


class WorkerAbsent(WorkerGone):
    """Nobody listens on the socket: the request never left."""


def pulled_folder(models_root: Path, name: str) -> Path | None:
    """Where the model of that name was pulled to, if it was."""
    if not re.fullmatch(NAME_PATTERN, name):
        return None
    folder = models_root / folder_name(name)
    return folder.resolve() if (folder / PULLED).is_file() else None


def named_model(name: str, settings: Settings) -> str:
    """Spell a pulled model or local folder in full: the worker runs in another folder, and knows no home."""
    if (pulled := pulled_folder(settings.models_root, name)) is not None:
        return str(pulled)
    folder = Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def worker_id(settings: Settings) -> str:
    """Name the worker that these settings share: 12 hexadecimal digits.

    Two servers share a worker when home, models, protocol and version are the same.
    """
    parts = (
        str(settings.home.expanduser().resolve()),
        named_model(settings.nli_model, settings),
        named_model(settings.embedding_model, settings),
        str(wire.PROTOCOL),
        version("lyra-mcp"),
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def socket_path(settings: Settings) -> Path:
    return settings.runtime_dir.expanduser().absolute() / f"{worker_id(settings)}.sock"


def make_runtime_dir(socket: Path) -> None:
    """Create the folder of a socket for the current user only.

    Raises:
        Invalid: the socket's path is longer than the system allows.
        StorageFailed: the folder cannot be created, or others may enter it.
    """
    _check_length(socket)
    try:
        socket.parent.mkdir(mode=PRIVATE_DIR_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"the folder for the worker's socket cannot be created ({error.strerror}); "
            "set LYRA_RUNTIME_DIR to a folder you may write to, and restart the server"
        ) from error
    check_place(socket)


def check_place(socket: Path) -> None:
    """Refuse a folder or a socket that somebody else controls, or a path too long for one; a missing one is fine.

    Raises:
        Invalid: the socket's path is longer than the system allows.
        StorageFailed: the folder is not a folder of ours alone, or the socket is not ours.
    """
    _check_length(socket)
    try:
        _check_folder(socket.parent)
        _check_socket(socket)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageFailed(
            f"the folder for the worker's socket cannot be read ({error.strerror}); "
            "set LYRA_RUNTIME_DIR to a private folder and restart the server"
        ) from error


def _check_length(socket: Path) -> None:
    if (length := len(os.fsencode(socket))) > SOCKET_PATH_BYTES_MAX:
        raise Invalid(
            f"the worker's socket path has {length} bytes and the system allows {SOCKET_PATH_BYTES_MAX}; "
            "set LYRA_RUNTIME_DIR to a shorter folder, such as /tmp/lyra, and restart the server"
        )


def _check_folder(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StorageFailed(
            f"{folder} is not a folder of the current user, so the worker's socket cannot be trusted there; "
            "set LYRA_RUNTIME_DIR to a private folder and restart the server"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageFailed(
            f"{folder} is open to other users (mode {stat.S_IMODE(found.st_mode):o}), so the worker's socket cannot "
            f"be trusted there; run `chmod 700 {folder}`, or set LYRA_RUNTIME_DIR to a private folder"
        )


def _check_socket(socket: Path) -> None:
    found = socket.lstat()
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise StorageFailed(
            f"{socket} is not a socket of the current user; remove it, or set LYRA_RUNTIME_DIR to a private folder"
        )
