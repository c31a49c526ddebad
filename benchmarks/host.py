"""A host that speaks lines of JSON with a server it started, and survives the server's death."""

import json
import queue
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from typing import Any

CALL_TIMEOUT_S = 90.0


class ServerDied(Exception):
    """Its output ended before the answer."""


class CallFailed(Exception):
    """A tool refused; the message is what it said."""


class Host:
    """Starts one server and speaks lines of JSON with it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lyra_mcp", "serve"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._ids = count(1)
        #: None: the output has ended.
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def initialize(self) -> None:
        client = {"name": "kills", "version": "0"}
        self._request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Raises ServerDied, CallFailed."""
        result = self._request("tools/call", {"name": tool, "arguments": arguments})["result"]
        if result.get("isError"):
            raise CallFailed(result["content"][0]["text"])
        answer: dict[str, Any] = result["structuredContent"]
        return answer

    def close(self) -> None:
        """Leave as a client does; a server that stays is killed, and that is an error."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while (line := self._lines.get(timeout=CALL_TIMEOUT_S)) is not None:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == number:
                return message
        self.process.wait()
        raise ServerDied

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise ServerDied from error

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)
