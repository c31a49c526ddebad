"""Both real processes: a server started as an agent's host starts it, and the worker that it starts."""

import asyncio
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from benchmarks.tiny_model import write_tiny_model

#: A start of the worker imports torch; on a busy machine that takes its time.
WORKER_TIMEOUT_S = 120.0
POLL_S = 0.05

SERVE = ("-m", "lyra_mcp", "serve")


# Models


@pytest.fixture(name="tiny_model", scope="session")
def _tiny_model(tmp_path_factory) -> Path:
    """Short pairs take it a millisecond, 64 long ones some seconds; a temperature has something to mend."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"), sureness=3)


# Houses


@dataclass(frozen=True)
class House:
    """One LYRA_HOME with its folder of sockets; all servers in it share one worker."""

    home: Path
    runtime: Path
    settings: dict[str, Any] = field(default_factory=dict)
    #: Of the environment, beside the settings.
    variables: dict[str, str] = field(default_factory=dict)
    #: What stands before the command of a server.
    prefix: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return [*self.prefix, sys.executable, *SERVE]

    def environment(self, **settings: Any) -> dict[str, str]:
        """What a server in this house is started with; `settings` are named as in `Settings`."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LYRA_")}
        ours = {"home": self.home, "runtime_dir": self.runtime, "threads": 1, "key_source": "file"}
        ours |= {**self.settings, **settings}
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        return clean | quiet | {f"LYRA_{name.upper()}": str(value) for name, value in ours.items()} | self.variables

    def having(self, **settings: Any) -> "House":
        return replace(self, settings={**self.settings, **settings})

    def workers(self) -> list[int]:
        """Process ids of the workers that listen, or listened, in this house."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(word.startswith(f"--socket={self.runtime}/") for word in process.info["cmdline"] or ())
        ]

    def wait_until_empty(self, timeout_s: float = 30.0) -> None:
        """Return when every worker has left by itself."""
        wait_until(lambda: not self.workers(), timeout_s=timeout_s)


def wait_until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(POLL_S)  # the fact lies in another process, which sends no event


@pytest.fixture(name="waiting")
def _waiting() -> Callable[..., None]:
    """Wait until something is true, and fail when that takes too long."""
    return wait_until


@contextlib.contextmanager
def open_house(parent: Path, **settings: Any) -> Iterator[House]:
    """A house whose workers leave soon after its last server; one that stays is an error, and is ended."""
    runtime = Path(tempfile.mkdtemp(prefix="lyra"))  # shorter than pytest's folders, because a socket's path is
    house = House(parent / "home", runtime, {"worker_linger_s": 2, "worker_wait_s": 60, **settings})
    try:
        yield house
        house.wait_until_empty()
    finally:
        for pid in house.workers():
            psutil.Process(pid).kill()
        shutil.rmtree(runtime)


@pytest.fixture(name="opened", scope="session")
def _opened() -> Callable[..., contextlib.AbstractContextManager[House]]:
    """Open a house with other settings."""
    return open_house


@pytest.fixture(name="own_house")
def _own_house(tmp_path, tiny_model) -> Iterator[House]:
    """A house of this test alone: a worker in it is started by the test."""
    with open_house(tmp_path, nli_model=tiny_model) as house:
        yield house


@pytest.fixture(name="kept_house", scope="session")
def _kept_house(tmp_path_factory, tiny_model) -> Iterator[tuple[House, "Host"]]:
    """A house whose worker stays for all tests, because one host keeps its server there."""
    with open_house(tmp_path_factory.mktemp("kept"), nli_model=tiny_model) as house, Host(house) as keeper:
        keeper.initialize()
        yield house, keeper


@pytest.fixture(name="house")
def _house(kept_house) -> House:
    """The common house with a running worker, and in it a user of this test's own: an empty database."""
    house, keeper = kept_house
    keeper.answer("judge", pairs=[{"premise": "a", "hypothesis": "b"}])
    return house.having(user=f"user-{token_hex(4)}")


# Agents: the SDK's client


@dataclass(frozen=True)
class Agent:
    """Calls tools through the SDK's client."""

    client: Client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a tool that must not fail."""
        result = await self._call(tool, arguments)
        assert not result.is_error, result.content
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """What a tool says that must fail."""
        result = await self._call(tool, arguments)
        assert result.is_error, result.structured_content
        return result.content[0].text

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        async with asyncio.timeout(WORKER_TIMEOUT_S):
            return await self.client.call_tool(tool, arguments)

    async def until(self, tool: str, is_enough: Callable[[dict[str, Any]], bool], **arguments: Any) -> dict[str, Any]:
        """Ask again and again until the answer is one that was waited for."""
        async with asyncio.timeout(WORKER_TIMEOUT_S):
            while not is_enough(answer := await self(tool, **arguments)):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(POLL_S)
        return answer


@asynccontextmanager
async def connect(house: House, *, mode: str = "auto", **settings: Any) -> AsyncIterator[Agent]:
    command, *arguments = house.command
    parameters = StdioServerParameters(command=command, args=arguments, env=house.environment(**settings))
    async with Client(parameters, mode=mode) as client:
        yield Agent(client)


@pytest.fixture(name="connect")
def _connect() -> Callable[..., contextlib.AbstractAsyncContextManager[Agent]]:
    """Start a server in a house and talk to it; with the test's end it ends."""
    return connect


# Hosts: lines of JSON


class Host:
    """Writes and reads the lines itself: it can send what no client library would, and knows its server's process."""

    def __init__(self, house: House, **settings: Any) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server, in `kill`
        self.process = subprocess.Popen(
            house.command,
            env=house.environment(**settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        self._ids = count(1)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout_s: float = 20.0) -> None:
        """Leave as a client does: close the input; a server that stays is an error."""
        try:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait(timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def initialize(self) -> dict[str, Any]:
        capabilities = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"},
        }
        reply = self.request("initialize", capabilities)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return reply["result"]

    def send(self, message: dict[str, Any] | bytes) -> None:
        """Send a message, or any bytes as a line."""
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> int:
        """Send a request and wait for nothing; returns its id."""
        number = next(self._ids)
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return self.receive(self.ask(method, params))

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The whole result of a tool, also of one that failed."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})["result"]

    def answer(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a tool that must not fail."""
        result = self.call(tool, **arguments)
        assert not result.get("isError"), result
        return result["structuredContent"]

    def refusal(self, tool: str, **arguments: Any) -> str:
        """What a tool says that must fail."""
        result = self.call(tool, **arguments)
        assert result["isError"], result
        return result["content"][0]["text"]

    def receive(self, number: int | str | None = None, timeout_s: float = WORKER_TIMEOUT_S) -> dict[str, Any]:
        """The reply to a request, or the next message; whatever the server writes must be JSON-RPC."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            assert message["jsonrpc"] == "2.0"
            if number is None or message.get("id") == number:
                return message

    def rest(self) -> list[dict[str, Any]]:
        """What was written and not read, once the server has ended."""
        self._reader.join(5)
        messages = []
        with contextlib.suppress(queue.Empty):
            while True:
                messages.append(json.loads(self._lines.get_nowait()))
        return messages

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)


@contextlib.contextmanager
def starting_hosts() -> Iterator[Callable[..., Host]]:
    hosts: list[Host] = []

    def start(house: House, **settings: Any) -> Host:
        hosts.append(Host(house, **settings))
        hosts[-1].initialize()
        return hosts[-1]

    try:
        yield start
    finally:
        for one in hosts:
            if one.process.poll() is None:
                one.close()
            else:
                one.kill()


@pytest.fixture(name="host")
def _host() -> Iterator[Callable[..., Host]]:
    """Start servers in houses; what a test leaves is closed after it."""
    with starting_hosts() as start:
        yield start


@pytest.fixture(name="module_host", scope="module")
def _module_host() -> Iterator[Callable[..., Host]]:
    """Likewise, for all tests of a module."""
    with starting_hosts() as start:
        yield start
