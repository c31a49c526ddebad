"""The ASGI application: every request passes all the checks here, in this order, before MCP sees it."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lyra_mcp.domain.identities import Identity
from lyra_mcp.http.access_log import SCOPE_KEY as RECORD_KEY
from lyra_mcp.http.access_log import Record
from lyra_mcp.http.authentication import Verifiers, as_user, metadata_url
from lyra_mcp.http.bodies import CallerLeft, check_json, read_body, replay
from lyra_mcp.http.hosts import check_host, check_origin
from lyra_mcp.http.rates import Rates
from lyra_mcp.http.refusals import RequestRefused, too_many
from lyra_mcp.http.tenancy import SCOPE_KEY as IDENTITY_KEY

log = logging.getLogger(__name__)

MCP_PATH = "/mcp"
SESSION_HEADER = b"mcp-session-id"
PROBES = ("/live", "/ready")
#: On every answer: nothing here is for a cache or for a browser to guess at.
SAFE_HEADERS = {b"cache-control": b"no-store", b"x-content-type-options": b"nosniff"}


@dataclass(frozen=True, slots=True)
class Limits:
    body_bytes_max: int = 4 * 2**20
    body_timeout_s: float = 20.0
    #: Of each user, and so many at once.
    requests_per_s: float = 50.0
    requests_burst: float = 200.0
    #: Of each address whose tokens are refused.
    failures_per_s: float = 0.5
    failures_burst: float = 20.0
    #: Of all users together, and of one.
    sessions_max: int = 512
    sessions_per_user_max: int = 64
    #: A session nobody used so long ends.
    session_idle_s: float = 1800.0
    connections_max: int = 512
    #: For the whole head of a request.
    head_timeout_s: float = 10.0
    #: What is under way at SIGTERM may take so long.
    shutdown_s: float = 5.0


class Gateway:
    """`is_alive` tells which sessions still are; `problems` why the server is not ready."""

    def __init__(
        self,
        mcp: ASGIApp,
        *,
        hosts: frozenset[str],
        verifiers: Verifiers,
        limits: Limits,
        is_alive: Callable[[str], bool],
        problems: Callable[[], list[str]],
    ) -> None:
        self._mcp = AuthContextMiddleware(mcp)
        self._hosts, self._verifiers, self._limits = hosts, verifiers, limits
        self._is_alive, self._problems = is_alive, problems
        self._rates = Rates(per_s=limits.requests_per_s, burst=limits.requests_burst)
        self._failures = Rates(per_s=limits.failures_per_s, burst=limits.failures_burst)
        #: Whose a session is, by its id.
        self._sessions: dict[str, str] = {}
        self._metadata = _metadata(verifiers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", scope["type"]
        record = Record(scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "other", "other")
        scope[RECORD_KEY] = record
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                record.status = message["status"]
                kept = [header for header in message.get("headers", []) if header[0].lower() not in SAFE_HEADERS]
                message = {**message, "headers": [*kept, *SAFE_HEADERS.items()]}
            record.bytes_out += len(message.get("body", b""))
            with suppress(h11.LocalProtocolError):
                # What followed the request was no HTTP: uvicorn has answered that itself, and nobody reads this.
                await send(message)

        try:
            await self._answered(scope, receive, watched, record)
        except CallerLeft:
            record.status = 499
        except Exception:  # a process must answer; what went wrong stands in the log, not in the answer
            log.exception("a request failed")
            if not has_begun:
                await JSONResponse({"error": "internal error"}, 500)(scope, receive, watched)
        finally:
            record.write()

    async def _answered(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        try:
            await self._answer(scope, receive, send, record)
        except RequestRefused as refusal:
            await refusal.response()(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        path, headers = scope["path"], scope["headers"]
        check_origin(headers, self._hosts)
        if path in PROBES:
            record.path = path
            await self._probe(path, record.method)(scope, receive, send)
            return
        check_host(headers, self._hosts)
        if path in self._metadata and record.method == "GET":
            record.path = "metadata"
            await Response(self._metadata[path], media_type="application/json")(scope, receive, send)
            return
        if path != MCP_PATH:
            raise RequestRefused(404, f"there is nothing here; MCP is at {MCP_PATH}")
        record.path = path
        if record.method == "other":
            raise RequestRefused(405, "use POST, GET or DELETE", headers={"Allow": "GET, POST, DELETE"})
        await self._pass_on(scope, receive, send, record)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        identity = await self._identify(scope)
        record.user, record.token_id, record.role = identity.user, identity.token_id, identity.role
        if wait_s := self._rates.take(identity.user):
            raise too_many(wait_s, "of this user")
        limits = self._limits
        body = await read_body(
            receive, scope["headers"], bytes_max=limits.body_bytes_max, timeout_s=limits.body_timeout_s
        )
        record.bytes_in = len(body)
        if record.method == "POST":
            check_json(body)
        asked = {**scope, IDENTITY_KEY: identity, "user": as_user(identity)}
        await self._mcp(asked, replay(body, receive), self._counting(scope, send, identity))

    async def _identify(self, scope: Scope) -> Identity:
        try:
            return await self._verifiers.identify(scope["headers"])
        except RequestRefused as refusal:
            address = scope["client"][0] if scope.get("client") else "unknown"
            if refusal.status == 401 and (wait_s := self._failures.take(address)):  # noqa: PLR2004 - a status
                raise too_many(wait_s, "without a valid token") from refusal
            raise

    def _counting(self, scope: Scope, send: Send, identity: Identity) -> Send:
        """Remember whose a new session is, and refuse one too many; what needs no session is not counted."""
        names = {key for key, _ in scope["headers"]}
        if SESSION_HEADER in names:
            return send
        if scope["method"] == "POST" and self._sessions_of(identity.user) >= self._limits.sessions_per_user_max:
            message = "this user has too many sessions open; end one, or wait until an idle one ends"
            raise RequestRefused(429, message, headers={"Retry-After": "60"})

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                for key, value in message.get("headers", []):
                    if key.lower() == SESSION_HEADER:
                        self._sessions[value.decode("latin-1")] = identity.user
            await send(message)

        return counted

    def _sessions_of(self, user: str) -> int:
        self._sessions = {session: one for session, one in self._sessions.items() if self._is_alive(session)}
        return sum(one == user for one in self._sessions.values())

    def _probe(self, path: str, method: str) -> Response:
        if method != "GET":
            raise RequestRefused(405, "use GET", headers={"Allow": "GET"})
        if path == "/live":
            return JSONResponse({"status": "alive"})
        problems = self._problems()
        return JSONResponse(
            {"status": "unready" if problems else "ready", "problems": problems}, 503 if problems else 200
        )


def _metadata(verifiers: Verifiers) -> dict[str, bytes]:
    """Where clients learn who gives out tokens, by path. Source: RFC 9728."""
    if verifiers.oauth is None:
        return {}
    facts = {
        "resource": verifiers.oauth.audience,
        "authorization_servers": [verifiers.oauth.issuer],
        "scopes_supported": ["lyra:reader", "lyra:trainer", "lyra:owner"],
        "bearer_methods_supported": ["header"],
    }
    return {urlsplit(metadata_url(verifiers.oauth)).path: json.dumps(facts).encode()}
