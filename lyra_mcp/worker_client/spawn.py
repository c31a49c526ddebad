"""Starts the worker's process, detached, and reads what it said when it ended."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from asyncio import get_running_loop, sleep
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lyra_mcp.errors import DiskFull, StorageFailed, WorkerGone

LOCK_POLL_S = 0.05
LAST_WORDS_CHARS_MAX = 300
LAST_WORDS_BYTES_READ = 8_192

CRASHES_MAX = 3
CRASH_WINDOW_S = 60.0

LOGS_HINT = "the folder `logs` under LYRA_HOME has more"


@dataclass(frozen=True)
class Command:
    """What to run as the worker; its options are appended."""

    argv: tuple[str, ...]
    #: Top-level modules that it cannot run without, all of the extra `worker`.
    requires: tuple[str, ...] = ()


#: `-P`: modules that lie in the folder of the host must not take the place of ours.
REAL_WORKER = Command(
    (sys.executable, "-P", "-m", "ml_worker"),
    requires=("torch", "transformers", "peft", "sentence_transformers", "safetensors", "fastapi", "uvicorn"),
)


class CrashLoop:
    """Keeps a worker that crashes again and again from being started for ever. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=CRASHES_MAX)

    def note(self, now: float) -> None:
        self._times.append(now)

    def check(self, now: float) -> None:
        """Refuse a start right after several crashes.

        Raises:
            WorkerGone: with the time to wait.
        """
        if len(self._times) < CRASHES_MAX:
            return
        if (wait_s := self._times[0] + CRASH_WINDOW_S - now) > 0:
            raise WorkerGone(
                f"the worker crashed {CRASHES_MAX} times within {CRASH_WINDOW_S:g} s and is not started for another "
                f"{wait_s:.0f} s; find out why, then call again; {LOGS_HINT}"
            )


def check_installed(command: Command) -> None:
    """Find out before the start what would fail after it.

    Raises:
        WorkerGone: the extra is not installed.
    """
    if missing := [name for name in command.requires if find_spec(name) is None]:
        raise WorkerGone(
            f"the worker's libraries are not installed ({', '.join(missing)}); "
            'run `pip install "lyra-mcp[worker]"` and call again'
        )


def spawn(argv: Sequence[str], *, output: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one; what it prints goes to `output`, the previous output to `.1`.

    Raises:
        DiskFull, StorageFailed: the output cannot be written.
        WorkerGone: the program cannot be run.
    """
    try:
        output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if output.exists():
            output.replace(output.with_name(f"{output.name}.1"))
        file = output.open("wb")
    except OSError as error:
        kind = DiskFull if error.errno == errno.ENOSPC else StorageFailed
        raise kind(
            f"the worker's log cannot be written ({error.strerror}); make LYRA_HOME writable and call again"
        ) from error
    with file:
        try:
            child = subprocess.Popen(  # noqa: S603 - the command is ours, no shell reads it
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerGone(f"the worker cannot be started ({error.strerror}); reinstall lyra-mcp") from error
    # The server may live for days: an ended worker is reaped when it ends, not when somebody asks.
    threading.Thread(target=child.wait, name="lyra-worker-reaper", daemon=True).start()
    return child


def ending(returncode: int) -> str:
    """Say in words how a process ended."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"


def last_words(*logs: Path) -> str:
    """Return the last line of the first log that has one, or nothing."""
    for log in logs:
        try:
            with log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LAST_WORDS_BYTES_READ))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            continue
        if spoken := [line.strip() for line in lines if line.strip()]:
            return spoken[-1][:LAST_WORDS_CHARS_MAX]
    return ""


@asynccontextmanager
async def spawn_lock(path: Path, *, wait_s: float) -> AsyncIterator[None]:
    """Keep other servers from starting the same worker; the kernel frees the lock when its holder dies.

    Raises:
        WorkerGone: another server held it for all of `wait_s`.
        StorageFailed: the lock file cannot be opened.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"the lock for starting the worker cannot be opened ({error.strerror}); "
            "set LYRA_RUNTIME_DIR to a private folder you may write to, and restart the server"
        ) from error
    try:
        await _locked(file, wait_s=wait_s)
        yield
    finally:
        os.close(file)


async def _locked(file: int, *, wait_s: float) -> None:
    deadline = get_running_loop().time() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if get_running_loop().time() >= deadline:
                raise WorkerGone(
                    f"another server has been starting the worker for {wait_s:g} s; call again in a minute"
                ) from error
        else:
            return
        await sleep(LOCK_POLL_S)
