"""A home, a short folder for sockets, and workers that never outlive their test."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from lyra_mcp.settings import Settings
from lyra_mcp.worker_client import WorkerProcess
from lyra_mcp.worker_client.spawn import Command

SCRIPT = Path(__file__).with_name("scripted_worker.py")


@dataclass
class Journal:
    """The process ids of all workers that were started, in order."""

    path: Path

    def pids(self) -> list[int]:
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []

    def living(self) -> list[int]:
        return [pid for pid in self.pids() if is_living(pid)]

    async def wait_until_living(self, pids: list[int]) -> None:
        async with asyncio.timeout(20):
            while self.living() != pids:  # noqa: ASYNC110 - the fact lies in another process, which sends no event
                await asyncio.sleep(0.01)


def is_living(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """Shorter than `tmp_path`, because a socket's path is."""
    folder = Path(tempfile.mkdtemp(prefix="lyra"))
    yield folder / "run"
    shutil.rmtree(folder)


@pytest.fixture
def settings(tmp_path, runtime_dir) -> Settings:
    return Settings(home=tmp_path / "home", runtime_dir=runtime_dir, worker_linger_s=0.2, worker_wait_s=20.0)


@pytest.fixture
def journal(tmp_path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal")
    yield journal
    for pid in journal.living():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def scripted(journal) -> Callable[..., Command]:
    def build(*options: str, requires: tuple[str, ...] = ()) -> Command:
        return Command((sys.executable, str(SCRIPT), f"--journal={journal.path}", *options), requires=requires)

    return build


@pytest.fixture
async def server(settings, scripted) -> AsyncIterator[Callable[..., WorkerProcess]]:
    """Build the worker processes of as many servers as a test needs."""
    servers: list[WorkerProcess] = []

    def build(*options: str, **fields) -> WorkerProcess:
        command = fields.pop("command", None) or scripted(*options)
        servers.append(WorkerProcess(settings.model_copy(update=fields.pop("update", {})), command=command, **fields))
        return servers[-1]

    yield build
    for one in servers:
        await one.close()
