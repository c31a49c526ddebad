"""Malformed HTTP requests against a real `lyra-mcp serve --http`: no 500, no hang, no leak.

    python -m benchmarks.http_fuzz --requests 10000 --seed 1
    python -m benchmarks.http_fuzz --requests 300 --seed 1 --json

Each request is bytes on a socket of its own: noise, broken heads, and messages of MCP in which something is wrong, with
the token of one of many users, another's, none, or a made-up one. The seed and the number of a request make it again.
Exit code 1 where anything went wrong.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import string
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil

from lyra_mcp.operations.tokens import add_token
from lyra_mcp.settings import Settings

USERS = 40
AT_ONCE = 16
#: Beyond every time limit of the server's.
HANG_S = 45.0
#: A stream that is silent so long has said what it had to.
STREAM_S = 2.0
READ_BYTES_MAX = 65_536
SECRET = "the-planted-secret-of-somebody-else"
#: Nothing of this may stand in an answer.
LEAKS = re.compile(rb"Traceback|File \"|site-packages|" + SECRET.encode())
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "f", "version": "0"}},
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "f", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("tools/list", {}),
    ("prompts/list", {}),
    ("resources/templates/list", {}),
    ("tools/call", {"name": "get_claims", "arguments": {"limit": 3}}),
    ("tools/call", {"name": "server_status", "arguments": {}}),
    ("tools/call", {"name": "adapters", "arguments": {"action": "list"}}),
    ("tools/call", {"name": "calibration_metrics.get_stats", "arguments": {}}),
    ("tools/call", {"name": "feedback", "arguments": {"action": "edge_retract", "review_id": "x"}}),
    ("resources/read", {"uri": "claim://x"}),
    ("prompts/get", {"name": "correction_session", "arguments": {"count": "3"}}),
    ("ping", {}),
    ("notifications/cancelled", {"requestId": 1}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}}),
    ("subscriptions/listen", {}),
    ("logging/setLevel", {"level": "debug"}),
    ("server/discover", {}),
]


@dataclass
class Outcome:
    #: By status; `closed`: the server closed without a word; `hang`: it did neither in time.
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0
    rss_before_mb: float = 0.0
    rss_after_mb: float = 0.0
    files_before: int = 0
    files_after: int = 0
    exit_code: int | None = None


# Requests


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A value of JSON that nobody expected there."""
    simple: list[Any] = [
        *(None, True, 0, -1, 2**70, 1.5e308, "", "action", "claim://x", [], {}),
        *("x" * chance.choice((1, 300, 20_000)), "\ud800", "\x00", "../../etc/passwd", "💥" * 50, "' OR 1=1 --"),
    ]
    if depth < 4 and chance.random() < 0.3:
        if chance.random() < 0.5:
            return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
        return {word(chance): anything(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice(simple)


def word(chance: random.Random) -> str:
    return chance.choice(("id", "method", "params", "name", "arguments", "_meta", "jsonrpc", "uri", "action", "π", ""))


def mutate(chance: random.Random, value: Any) -> Any:
    """The same value with one thing wrong, somewhere."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        changed = {**value}
        match chance.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[word(chance)] = anything(chance)
            case _:
                changed[key] = mutate(chance, value[key])
        return changed
    return anything(chance)


def body_of(chance: random.Random) -> tuple[bytes, dict[str, str]]:
    """A body, and the headers that belong to it; none where it needs a session."""
    method, params = chance.choice(CALLS)
    is_modern = chance.random() < 0.5
    message: Any = {"jsonrpc": "2.0", "id": chance.randrange(99), "method": method, "params": params}
    if is_modern:
        message["params"] = {**params, "_meta": META}
    if chance.random() < 0.15:
        message = INITIALIZE
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 5))):
        message = mutate(chance, message)
    written = json.dumps(message).encode()
    match chance.randrange(12):
        case 0:
            written = written[: chance.randrange(len(written) + 1)]
        case 1:
            place = chance.randrange(len(written) + 1)
            written = written[:place] + chance.randbytes(chance.randrange(1, 8)) + written[place:]
        case 2:
            depth = chance.choice((70, 3_000, 100_000))
            written = b"[" * depth + written + b"]" * depth
        case 3:
            written = b"[" + b",".join([written] * chance.randrange(1, 50)) + b"]"
        case 4:
            written = written.decode().encode(chance.choice(("utf-16", "utf-32", "utf-8-sig")))
        case _:
            pass
    name = str(params.get("name", params.get("uri", "")))
    routing = {"mcp-protocol-version": "2026-07-28", "mcp-method": method, "mcp-name": name}
    return written, {key: value for key, value in routing.items() if value} if is_modern else {}


def head_of(chance: random.Random, site: "Site", routing: dict[str, str], length: int) -> bytes:
    token = chance.choice(site.tokens) if chance.random() < 0.85 else chance.choice(("lyra_guess", "", "a.b.c", "é"))
    headers: list[tuple[str, str]] = [
        ("host", chance.choice((f"127.0.0.1:{site.port}",) * 60 + ("evil.example", "", f"127.0.0.1:{site.port}@x"))),
        (
            "content-type",
            chance.choice(("application/json",) * 40 + ("text/plain", "application/json; charset=utf-16")),
        ),
        ("accept", chance.choice(("application/json, text/event-stream",) * 40 + ("*/*", "", "text/html"))),
        ("authorization", f"Bearer {token}"),
    ]
    if chance.random() < 0.9:
        headers += routing.items()
    else:
        headers.append(("mcp-protocol-version", chance.choice(("2026-07-28", "2025-11-25", "", "9", "2026-07-28 "))))
        headers.append(("mcp-name", chance.choice(("get_claims", "adapters", "=?base64?zzz?=", "π"))))
    if not routing and chance.random() < 0.8:
        session, owner = chance.choice(site.sessions)
        headers.append(("mcp-session-id", session))
        headers = [
            (key, f"Bearer {owner}" if key == "authorization" and chance.random() < 0.9 else value)
            for key, value in headers
        ]
    elif chance.random() < 0.1:
        headers.append(("mcp-session-id", chance.choice(("0" * 32, "x" * 9_000, "\x7f", ""))))
    if chance.random() < 0.05:
        headers.append(("origin", chance.choice(("null", "https://evil.example", f"http://127.0.0.1:{site.port}"))))
    if chance.random() < 0.05:
        name = chance.choice(("transfer-encoding", "content-length", "expect", "upgrade", "connection", "cookie"))
        value = chance.choice(("chunked", "-1", "1e9", "100-continue", "websocket", "close", "upgrade", "x" * 20_000))
        headers.append((name, value))
    if chance.random() < 0.05:
        headers.append((noise(chance, 5), noise(chance, 20)))
    headers += [("content-length", str(length)), ("connection", "close")]
    chance.shuffle(headers)
    verb = chance.choice(("POST",) * 50 + ("GET", "DELETE", "PUT", "OPTIONS", "HEAD", "TRACE", "P\x00ST"))
    path = chance.choice(
        ("/mcp",) * 60
        + ("/", "/mcp/", "//mcp", "/%2e%2e/mcp", "/live", "/ready?x=1", "*", "http://evil/mcp", "/mcp\x01")
    )
    version = chance.choice(("HTTP/1.1",) * 60 + ("HTTP/1.0", "HTTP/2", "HTTP/9.9", "", "FTP/1"))
    lines = [f"{verb} {path} {version}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return chance.choice(("\r\n",) * 60 + ("\n", "\r")).join(lines).encode("utf-8", "replace")


def noise(chance: random.Random, length: int) -> str:
    return "".join(chance.choice(string.printable) for _ in range(length))


def request_of(chance: random.Random, site: "Site") -> tuple[bytes, bool]:
    """The bytes, and whether they are all that the server has to wait for."""
    if chance.random() < 0.04:
        return chance.randbytes(chance.randrange(1, 3_000)), False
    body, routing = body_of(chance)
    if chance.random() < 0.02:
        body += b" " * (5 * 2**20)
    # A head that says more than comes is waited for; most of the time somebody who leaves ends that.
    length = len(body) if chance.random() < 0.95 else chance.choice((0, len(body) + 7, 10**12, -5))
    written = head_of(chance, site, routing, length) + body
    if chance.random() < 0.03:
        return written[: chance.randrange(1, len(written))], False
    return written, length == len(body)


# The server


@dataclass
class Site:
    port: int
    tokens: list[str]
    #: With the tokens that opened them.
    sessions: list[tuple[str, str]]
    process: asyncio.subprocess.Process
    log: Path


@asynccontextmanager
async def serving(home: Path) -> AsyncIterator[Site]:
    settings = Settings(home=home, runtime_dir=home / "run")
    tokens = [
        add_token(settings, user=f"user{number}", role="owner", days=None, now=datetime.now(UTC))[1]
        for number in range(USERS)
    ]
    victim = add_token(settings, user="victim", role="owner", days=None, now=datetime.now(UTC))[1]
    environment = {**os.environ, "LYRA_HOME": str(home), "LYRA_RUNTIME_DIR": str(home / "run"), "LYRA_TOOLS": "full"}
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lyra_mcp", "serve", "--http", "--port", "0", env=environment, stderr=log
        )
    try:
        port = await _port(home / "log")
        await plant(port, victim)
        sessions = [(await session(port, token), token) for token in tokens[:20]]
        yield Site(port, tokens, sessions, process, home / "log")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port(log: Path) -> int:
    async with asyncio.timeout(60):
        while not (found := re.search(r"127\.0\.0\.1:(\d+)/mcp", await asyncio.to_thread(log.read_text))):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return int(found[1])


def client(port: int, token: str) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False)


async def session(port: int, token: str) -> str:
    async with client(port, token) as http:
        return str((await http.post("/mcp", json=INITIALIZE)).headers["mcp-session-id"])


async def plant(port: int, token: str) -> None:
    """Something of another user's that no answer may hold: a rule about a domain needs no worker."""
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "feedback",
            "arguments": {"action": "domain_block", "domain_pattern": "example.com", "reason": SECRET},
            "_meta": META,
        },
    }
    routing = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "feedback"}
    async with client(port, token) as http:
        planted = (await http.post("/mcp", json=message, headers=routing)).json()
    assert not planted["result"].get("isError"), planted


# The run


async def ask(site: Site, written: bytes, *, leaves: bool) -> bytes:
    """What the server says until it closes, or falls silent in a stream. `leaves`: close our half, as after a crash."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    said = b""
    try:
        async with asyncio.timeout(HANG_S):
            try:
                writer.write(written)
                await writer.drain()
                if leaves:
                    writer.write_eof()
                while len(said) < READ_BYTES_MAX and (part := await _part(reader, said)):
                    said += part
            except ConnectionError:
                return said
    finally:
        writer.close()
    return said


async def _part(reader: asyncio.StreamReader, said: bytes) -> bytes:
    if b"text/event-stream" not in said:
        return await reader.read(READ_BYTES_MAX)
    try:
        return await asyncio.wait_for(reader.read(READ_BYTES_MAX), STREAM_S)
    except TimeoutError:
        return b""


async def attack(site: Site, number: int, seed: int, outcome: Outcome) -> None:
    chance = random.Random(f"{seed}-{number}")
    written, is_whole = request_of(chance, site)
    started = time.perf_counter()
    try:
        said = await ask(site, written, leaves=not is_whole or chance.random() < 0.05)
    except TimeoutError:
        outcome.statuses["hang"] += 1
        outcome.wrong.append(f"request {number}: hang: {written[:200]!r}")
        return
    outcome.slowest_s = max(outcome.slowest_s, time.perf_counter() - started)
    status = re.match(rb"(?:HTTP/1\.1 100 [^\r]*\r\n\r\n)?HTTP/1\.[01] (\d{3})", said)
    outcome.statuses[status[1].decode() if status else "closed"] += 1
    if status and status[1].startswith(b"5") and status[1] != b"503":
        outcome.wrong.append(f"request {number}: {status[1].decode()}: {written[:300]!r}")
    if leak := LEAKS.search(said) or next((1 for token in site.tokens if token.encode() in said), None):
        outcome.wrong.append(f"request {number}: leak {leak}: {written[:200]!r}")


async def run(requests: int, seed: int) -> Outcome:
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="lyra") as folder:
        async with serving(Path(folder)) as site:
            process = psutil.Process(site.process.pid)
            await asyncio.gather(*(attack(site, -number, seed, Outcome()) for number in range(1, 101)))  # warm
            outcome.rss_before_mb = process.memory_info().rss / 2**20
            outcome.files_before = process.num_fds()
            started = time.perf_counter()
            numbers = iter(range(requests))

            async def attacker() -> None:
                for number in numbers:
                    await attack(site, number, seed, outcome)

            await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))
            outcome.seconds = time.perf_counter() - started
            await finish(site, process, outcome)
    return outcome


async def finish(site: Site, process: psutil.Process, outcome: Outcome) -> None:
    """The server still serves, holds no more than before, and leaves in order."""
    async with client(site.port, site.tokens[0]) as http:
        ready = await http.get("/ready")
        served = await http.post("/mcp", json=INITIALIZE)
    if (ready.status_code, served.status_code) != (200, 200):
        outcome.wrong.append(f"afterwards: ready {ready.status_code}, initialize {served.status_code}")
    outcome.rss_after_mb = process.memory_info().rss / 2**20
    outcome.files_after = process.num_fds()
    site.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        outcome.exit_code = await site.process.wait()
    log = site.log.read_bytes()
    if outcome.exit_code != 0:
        outcome.wrong.append(f"exit code {outcome.exit_code} after SIGTERM")
    if b"Traceback" in log:
        where = log.index(b"Traceback")
        outcome.wrong.append(
            f"a traceback in the log: {log[max(0, where - 300) : where + 3_000].decode(errors='replace')}"
        )
    if SECRET.encode() in log or any(token.encode() in log for token in site.tokens):
        outcome.wrong.append("a token or a text in the log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    outcome = asyncio.run(run(options.requests, options.seed))
    if options.json:
        print(json.dumps({**vars(outcome), "statuses": dict(outcome.statuses)}))
    else:
        per_status = ", ".join(f"{status}: {count}" for status, count in outcome.statuses.most_common())
        print(
            f"{options.requests} requests in {outcome.seconds:.0f} s, slowest {outcome.slowest_s:.1f} s: {per_status}"
        )
        print(f"memory {outcome.rss_before_mb:.0f} -> {outcome.rss_after_mb:.0f} MB, "
              f"open files {outcome.files_before} -> {outcome.files_after}, exit code {outcome.exit_code}")  # fmt: skip
        for wrong in outcome.wrong[:20]:
            print(wrong)
    raise SystemExit(bool(outcome.wrong))


if __name__ == "__main__":
    main()
