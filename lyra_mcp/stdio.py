"""MCP over standard input and output; a request that cannot be read is answered, so that nobody waits for ever."""

import json
import logging
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

from lyra_mcp.operations.services import Services

log = logging.getLogger(__name__)


async def serve_stdio(server: MCPServer[Services]) -> None:
    """Serve until the input ends. The SDK drops a line that it cannot read and leaves its sender waiting."""
    lowlevel = server._lowlevel_server  # noqa: SLF001 - the SDK's own `run` offers no place for this; mcp is pinned
    async with stdio_server() as (lines, replies):
        forward, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)

        async def pass_on() -> None:
            async with forward:
                async for line in lines:
                    if isinstance(line, SessionMessage):
                        await forward.send(line)
                    elif refusal := refuse(line):
                        await replies.send(SessionMessage(refusal))
                    else:
                        log.warning("a line on standard input is no message of MCP")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pass_on)
            await lowlevel.run(messages, replies, lowlevel.create_initialization_options())
            tasks.cancel_scope.cancel()


def refuse(error: Exception) -> JSONRPCError | None:
    """The reply to a line that the SDK could not read; none where the line is no request with an id."""
    if not isinstance(error, ValidationError):
        return None
    problems = error.errors(include_url=False)
    for problem in problems:
        request = _as_request(problem["input"])
        if request is None:
            continue
        if problem["type"] == "json_invalid":
            # What json reads and pydantic does not is, in practice, half of a character.
            code, advice = PARSE_ERROR, "remove lone surrogates such as \\ud800"
        else:
            code, advice = INVALID_REQUEST, "write it as MCP's schema says"
        message = f"E_INVALID: the message cannot be read ({problem['msg']}); {advice} and send it again"
        return JSONRPCError(jsonrpc="2.0", id=request["id"], error=ErrorData(code=code, message=message))
    return None


def _as_request(found: object) -> dict[str, Any] | None:
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return None
    if not isinstance(found, dict) or "method" not in found:
        return None
    return found if isinstance(found.get("id"), int | str) else None
