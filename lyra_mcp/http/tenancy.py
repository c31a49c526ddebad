"""Between HTTP and the tools: each request meets its own user's data, and does only what its token's role allows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from mcp.server import Server
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.types import CallToolResult, TextContent

from lyra_mcp.domain.identities import Identity
from lyra_mcp.domain.roles import NEEDED, Role, least_role, may, needed_role
from lyra_mcp.errors import Forbidden
from lyra_mcp.http.access_log import record_of
from lyra_mcp.operations.denials import Denials
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.tenants import Tenants
from lyra_mcp.tools import split_name

#: Under it, in the ASGI scope, stands whom the gateway recognised.
SCOPE_KEY = "lyra_mcp.identity"

Lifespan = Callable[[Server[Services]], AbstractAsyncContextManager[Services]]


def tenancy(tenants: Tenants) -> ServerMiddleware[Services]:
    """The SDK's middleware: it hands on the user's services in place of the server's, so that no tool can choose."""
    denials = Denials()

    async def middleware(ctx: ServerRequestContext[Services, Any], call_next: CallNext) -> HandlerResult:
        identity = _identity(ctx)
        local = ctx.lifespan_context
        if ctx.method == "tools/call" and (denied := _denied(ctx, identity)) is not None:
            await denials.record(local, identity, *denied)
            return _refusal(identity, denied.needed)
        async with tenants.held(local, identity.user) as services:
            result = await call_next(replace(ctx, lifespan_context=replace(services, actor=identity.user)))
        return _listed(result, identity) if ctx.method == "tools/list" else result

    return middleware


def retaining(lifespan: Lifespan, tenants: Tenants) -> Lifespan:
    """As long as the server lives, what is too old is forgotten for every user, whether they come or not."""

    @asynccontextmanager
    async def retained(server: Server[Services]) -> AsyncIterator[Services]:
        async with lifespan(server) as local:
            task = asyncio.create_task(tenants.keep_retaining(local), name="retention of tenants")
            try:
                yield local
            finally:
                task.cancel()
                await asyncio.wait([task])

    return retained


def _identity(ctx: ServerRequestContext[Services, Any]) -> Identity:
    """Of the request that carries this very message, not of the one that opened the session."""
    identity = None if ctx.request is None else ctx.request.scope.get(SCOPE_KEY)
    assert isinstance(identity, Identity), "a message reached MCP past the gateway"
    return identity


class _Denied(NamedTuple):
    tool: str
    action: object
    needed: Role


def _denied(ctx: ServerRequestContext[Services, Any], identity: Identity) -> _Denied | None:
    """What the call asks for and its role does not allow."""
    params = ctx.params or {}
    name, arguments = params.get("name"), params.get("arguments")
    if not isinstance(name, str):
        return None  # the SDK says what is wrong with it
    tool, action = split_name(name)
    # Where both are given and differ, the call is refused later; here the name's word counts.
    asked = action or (arguments.get("action") if isinstance(arguments, Mapping) else None)
    record = record_of(ctx.request.scope) if ctx.request else None
    if record is not None and tool in NEEDED:
        record.tool = tool
    needed = needed_role(tool, asked)
    return None if may(identity.role, needed) else _Denied(tool, asked, needed)


def _refusal(identity: Identity, needed: Role) -> CallToolResult:
    error = Forbidden(
        f"this needs the role {needed}, and the token has {identity.role}; ask the server's owner for another token"
    )
    return CallToolResult(content=[TextContent(type="text", text=str(error))], is_error=True)


def _listed(result: HandlerResult, identity: Identity) -> HandlerResult:
    """The tools the role has a use for; what one caller sees is not for another's cache."""
    if not isinstance(result, dict):
        return result
    tools = [tool for tool in result.get("tools", []) if may(identity.role, least_role(tool["name"]))]
    scope = {"cacheScope": "private"} if "cacheScope" in result else {}
    return {**result, "tools": tools, **scope}
