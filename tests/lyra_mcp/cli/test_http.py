"""`lyra-mcp token` and `lyra-mcp serve --http` as a person runs them."""

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[3]
TIMEOUT_S = 120


@pytest.fixture(name="environment")
def _environment(tmp_path):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LYRA_")}
    return {**inherited, "LYRA_HOME": str(tmp_path / "home"), "LYRA_RUNTIME_DIR": str(tmp_path / "run")}


async def _start(environment, *arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *("lyra_mcp", *arguments),
        env=environment,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(environment, *options):
    """A server that is told to leave at the end, and its address."""
    process = await _start(environment, "serve", "--http", "--port", "0", *options)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            line = (await process.stderr.readline()).decode()
        address = re.search(r"https?://\S+", line)
        assert address, line + (await process.stderr.read()).decode()
        yield process, address[0]
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def test_a_token_is_shown_once_listed_without_itself_and_revoked(lyra_mcp, tmp_path):
    code, output, errors = lyra_mcp("token", "add", "--user", "alice", "--role", "reader", "--days", "30")
    token = output.strip()
    _, listed, _ = lyra_mcp("token", "list", "--json")
    [found] = json.loads(listed)["tokens"]
    revoked = lyra_mcp("token", "revoke", found["token_id"])
    again = lyra_mcp("token", "revoke", found["token_id"])
    _, empty, advice = lyra_mcp("token", "list")

    assert code == 0
    assert re.fullmatch(r"lyra_[\w-]{43}", token)
    assert "shown this once" in errors
    assert (found["user"], found["role"]) == ("alice", "reader")
    assert token not in listed
    assert "sha256" not in found
    assert token not in (tmp_path / "home" / "tokens.json").read_text()
    assert revoked == (0, f"revoked {found['token_id']} of alice\n", "")
    assert again[0] == 1
    assert "E_NOT_FOUND" in again[2]
    assert (empty, "serve --http asks for one all the same" in advice) == ("", True)


@pytest.mark.parametrize("user", ["../bob", "Bob", "oauth-x", ""])
def test_a_name_that_is_no_folder_is_refused(lyra_mcp, user):
    code, output, errors = lyra_mcp("token", "add", "--user", user, "--role", "reader")

    assert (code, output) == (1, "")
    assert errors.startswith("E_INVALID: ")


async def test_an_open_address_without_tokens_is_refused_with_the_way_out(environment):
    process = await _start(environment, "serve", "--http", "--host", "0.0.0.0", "--port", "0")
    async with asyncio.timeout(TIMEOUT_S):
        output, errors = await process.communicate()

    assert (process.returncode, output) == (1, b"")
    assert re.match(r"E_INVALID: 0\.0\.0\.0 can be reached from other machines.*lyra-mcp token add", errors.decode())


async def test_a_server_answers_and_leaves_in_order_at_sigterm_with_a_stream_open(environment, lyra_mcp):
    _, output, _ = await asyncio.to_thread(lyra_mcp, "token", "add", "--user", "local", "--role", "owner", "--json")
    token = json.loads(output)["token"]
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
    }
    async with (
        serving(environment) as (process, address),
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as http,
    ):
        opened = await http.post(address, json=message)
        session = {"mcp-session-id": opened.headers["mcp-session-id"]}
        async with http.stream("GET", address, headers=session) as stream:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                code = await process.wait()
            with pytest.raises((httpx2.HTTPError, StopAsyncIteration)):
                await anext(stream.aiter_bytes())
        output, errors = await process.communicate()

    assert (opened.status_code, stream.status_code, code) == (200, 200, 0)
    assert output == b""
    assert b"Traceback" not in errors
    assert token.encode() not in errors
    assert [json.loads(line)["status"] for line in errors.decode().splitlines() if line.startswith("{")] == [200, 200]


async def test_malformed_requests_bring_neither_a_500_nor_a_hang_nor_a_leak():
    """The benchmark with 10,000 of them, in small; a seed makes each request again."""
    program = [sys.executable, "-m", "benchmarks.http_fuzz", "--requests", "250", "--seed", "20261120", "--json"]
    process = await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(250):
        output, _ = await process.communicate()

    outcome = json.loads(output)
    assert outcome["wrong"] == []
    assert sum(outcome["statuses"].values()) == 250
    assert "hang" not in outcome["statuses"]
    assert len(outcome["statuses"]) >= 6, "a fuzz that meets one answer only shows little"
