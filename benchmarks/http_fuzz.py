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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psutil

from benchmarks.malformed_requests import INITIALIZE, META, Target, request_of
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


# The server


@dataclass
class Site:
    target: Target
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
        yield Site(Target(port, tokens, sessions), process, home / "log")
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
    reader, writer = await asyncio.open_connection("127.0.0.1", site.target.port)
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
            except OSError:  # it closed while we wrote
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
    written, is_whole = request_of(chance, site.target)
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
    if leak := LEAKS.search(said) or next((1 for token in site.target.tokens if token.encode() in said), None):
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
    async with client(site.target.port, site.target.tokens[0]) as http:
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
    if SECRET.encode() in log or any(token.encode() in log for token in site.target.tokens):
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
