"""The process that trains a job: how it is started and gets its key; not when, which the job machine decides."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

from ml_worker.job_folders import JobFolder

#: How much a training child gives way to the worker that serves.
NICENESS = 10


async def spawn(folder: JobFolder, lock: int, adapters_root: Path) -> asyncio.subprocess.Process:
    """Start the training; `lock`, held, is the child's from here on.

    Raises:
        OSError: there is no room for its log, or no process to be had.
        JobRefused: `invalid_request`, when the order cannot be read.
    """
    with _output(folder).open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "ml_worker.training.run", str(folder.path)),
            *("--adapters-root", str(adapters_root), "--nice", str(NICENESS), "--locked"),
            *(() if folder.key is None else ("--key-on-stdin",)),
            stdin=asyncio.subprocess.DEVNULL if folder.key is None else asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            # A session of its own: Ctrl-C in a terminal stops the worker, which then stops the child in order.
            start_new_session=True,
            pass_fds=(lock,),
            env=_child_environment(folder),
        )


def _output(folder: JobFolder) -> Path:
    """Where a child's output goes. The child of a sealed job writes its log itself, sealed."""
    return Path(os.devnull) if folder.is_sealed else folder.log


async def hand_over(key: bytes | None, child: asyncio.subprocess.Process) -> None:
    """Through a pipe that closes at once: neither arguments, environment nor any file ever hold the key."""
    if key is None:
        return
    assert child.stdin is not None, "a child that needs a key has a pipe to read it from"
    with suppress(ConnectionError):  # it has died already, which is seen by its end
        child.stdin.write(key)
        await child.stdin.drain()
    child.stdin.close()


def _child_environment(folder: JobFolder) -> dict[str, str]:
    """The library counts threads when it starts, before the child can say how many it may use."""
    threads = str(folder.read_request().limits.threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",
    }
