"""Requests of HTTP and MCP in which something is wrong; a seeded `random.Random` makes each of them again."""

import json
import random
import string
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Target:
    """What a request may know of the server it is for."""

    port: int
    tokens: list[str]
    #: With the tokens that opened them.
    sessions: list[tuple[str, str]]


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


def head_of(chance: random.Random, target: Target, routing: dict[str, str], length: int) -> bytes:
    token = chance.choice(target.tokens) if chance.random() < 0.85 else chance.choice(("lyra_guess", "", "a.b.c", "é"))
    own = f"127.0.0.1:{target.port}"
    headers: list[tuple[str, str]] = [
        (
            "host",
            chance.choice((own,) * 60 + ("evil.example", "", f"{own}@x")),
        ),
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
        session, owner = chance.choice(target.sessions)
        headers.append(("mcp-session-id", session))
        headers = [
            (key, f"Bearer {owner}" if key == "authorization" and chance.random() < 0.9 else value)
            for key, value in headers
        ]
    elif chance.random() < 0.1:
        headers.append(("mcp-session-id", chance.choice(("0" * 32, "x" * 9_000, "\x7f", ""))))
    if chance.random() < 0.05:
        headers.append(("origin", chance.choice(("null", "https://evil.example", f"http://127.0.0.1:{target.port}"))))
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


def request_of(chance: random.Random, target: Target) -> tuple[bytes, bool]:
    """The bytes, and whether they are all that the server has to wait for."""
    if chance.random() < 0.04:
        return chance.randbytes(chance.randrange(1, 3_000)), False
    body, routing = body_of(chance)
    if chance.random() < 0.02:
        body += b" " * (5 * 2**20)
    # A head that says more than comes is waited for; most of the time somebody who leaves ends that.
    length = len(body) if chance.random() < 0.95 else chance.choice((0, len(body) + 7, 10**12, -5))
    written = head_of(chance, target, routing, length) + body
    if chance.random() < 0.03:
        return written[: chance.randrange(1, len(written))], False
    return written, length == len(body)
