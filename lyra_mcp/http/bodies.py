"""How much and how slowly: a request's body is read whole, up to a size and within a time, before MCP sees it."""

import asyncio
import json

from starlette.types import Message, Receive

from lyra_mcp.http.hosts import Headers
from lyra_mcp.http.refusals import RequestRefused

#: Of arrays and objects in each other; no request of MCP comes near it, and the parsers' recursion is not far above.
DEPTH_MAX = 64


class CallerLeft(Exception):
    """There is nobody to answer."""


async def read_body(receive: Receive, headers: Headers, *, bytes_max: int, timeout_s: float) -> bytes:
    """Raises RequestRefused (408, 413) and CallerLeft."""
    declared = next((value for key, value in headers if key == b"content-length"), b"0")
    if not declared.isdigit() or int(declared) > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise CallerLeft
                body += message.get("body", b"")
                if len(body) > bytes_max:
                    raise _too_large(bytes_max)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        message_text = f"the body did not arrive within {timeout_s:g} s; send it again, whole"
        raise RequestRefused(408, message_text, headers={"Connection": "close"}) from error


def check_json(body: bytes) -> None:
    """Raises RequestRefused (400) for what a JSON parser may stumble over rather than refuse."""
    try:
        message = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "the body is not JSON in UTF-8; send one JSON-RPC message") from error
    if _is_deep(message):
        raise RequestRefused(400, f"the body nests deeper than {DEPTH_MAX} levels; flatten it")


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, handed out once more; afterwards whatever still comes, such as a disconnect."""
    handed_out = False

    async def replayed() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _refuse_constant(constant: str) -> None:
    """NaN and Infinity are no JSON, although Python reads them."""
    raise ValueError(constant)


def _is_deep(message: object) -> bool:
    """Level by level, because a recursion of ours would stumble too."""
    level: list[dict[str, object] | list[object]] = [message] if isinstance(message, dict | list) else []
    for _ in range(DEPTH_MAX):
        parts = [part.values() if isinstance(part, dict) else part for part in level]
        level = [child for children in parts for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _too_large(bytes_max: int) -> RequestRefused:
    message = f"the body is larger than {bytes_max} bytes; send less at once"
    return RequestRefused(413, message, headers={"Connection": "close"})
