"""Plays the host of the demonstration: starts the server over stdio with a fresh home, and leaves nothing behind."""

import asyncio
import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, types
from mcp.client import ClientRequestContext
from mcp.client.stdio import StdioServerParameters

#: Loading the models on a busy machine; the server answers E_WARMING until then.
WORKER_READY_TIMEOUT_S = 120.0
#: The worker leaves by itself when its last server has gone; after this time it is told to.
WORKER_LEAVE_TIMEOUT_S = 15.0
#: An ended process that nobody reaps, as in some containers, is not waited for longer than this.
WORKER_END_TIMEOUT_S = 10.0
POLL_S = 0.1
#: A longer folder for temporary files leaves no room for the name of a socket.
TEMPORARY_FOLDER_CHARS_MAX = 60


class CallFailed(Exception):
    """A tool answered with an error."""


@dataclass
class Host:
    """A client as an agent's host has one; it remembers what the person was asked."""

    client: Client
    #: From starting the process to the end of the handshake.
    handshake_s: float
    questions: list[str]

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured answer.

        Raises:
            CallFailed: with the tool's own words.
        """
        result = await self.client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            raise CallFailed(" ".join(part.text for part in result.content if isinstance(part, types.TextContent)))
        answer: dict[str, Any] = result.structured_content
        return answer

    async def call_when_warm(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call again for as long as the models are loading, which only the first call should meet."""
        deadline = time.monotonic() + WORKER_READY_TIMEOUT_S
        while True:
            try:
                return await self.call(tool, **arguments)
            except CallFailed as error:
                if "E_WARMING" not in str(error) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def start_server(**settings: object) -> AsyncIterator[Host]:
    """Start `lyra-mcp serve` in a temporary home; on leaving, its worker is gone too.

    `settings` are environment variables by name.
    """
    parent = None if len(tempfile.gettempdir()) <= TEMPORARY_FOLDER_CHARS_MAX else "/tmp"  # noqa: S108 - a private folder is made in it
    with tempfile.TemporaryDirectory(prefix="lyra-demo-", dir=parent) as folder:
        runtime_dir = Path(folder) / "run"
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "lyra_mcp", "serve"],
            env={
                **os.environ,
                "LYRA_HOME": str(Path(folder) / "home"),
                "LYRA_RUNTIME_DIR": str(runtime_dir),
                "LYRA_KEY_SOURCE": "file",  # nothing of a demonstration stays in the system's keyring
                "LYRA_USER": "demo",
                "LYRA_WORKER_LINGER_S": "1",
                "HF_HUB_OFFLINE": "1",
                **{name: str(value) for name, value in settings.items()},
            },
        )
        questions: list[str] = []

        async def say_yes(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
            del context
            questions.append(params.message)
            return types.ElicitResult(action="accept", content={"confirm": True})

        started = time.monotonic()
        try:
            async with Client(parameters, elicitation_callback=say_yes) as client:
                yield Host(client, time.monotonic() - started, questions)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_wait_until_gone, runtime_dir)


def _wait_until_gone(runtime_dir: Path) -> None:
    """Wait for the worker, which holds a lock with its process id in it, to leave; tell it to when it does not."""
    for lock in runtime_dir.glob("*.sock.worker"):
        pid = int(lock.read_text(encoding="ascii"))
        deadline = time.monotonic() + WORKER_LEAVE_TIMEOUT_S
        with lock.open() as file:
            while not _is_free(file.fileno()):
                if time.monotonic() > deadline:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                    deadline = time.monotonic() + WORKER_LEAVE_TIMEOUT_S
                time.sleep(POLL_S)
        # The lock is free; taking torch down lasts a moment longer.
        deadline = time.monotonic() + WORKER_END_TIMEOUT_S
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(POLL_S)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
