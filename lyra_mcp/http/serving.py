"""`lyra-mcp serve --http`: from the options to a socket that answers, until SIGTERM."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from mcp.server import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from lyra_mcp.errors import Invalid, LyraError
from lyra_mcp.http.authentication import Verifiers
from lyra_mcp.http.gateway import MCP_PATH, Gateway, Limits
from lyra_mcp.http.hosts import WILDCARDS, is_loopback, known_hosts
from lyra_mcp.http.jwks import verifier_of
from lyra_mcp.http.patience import impatient
from lyra_mcp.http.tenancy import retaining, tenancy
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.tenants import Tenants
from lyra_mcp.settings import Settings

log = logging.getLogger(__name__)

HEAD_BYTES_MAX = 16_384
KEEP_ALIVE_S = 15
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Options:
    host: str = "127.0.0.1"
    #: 0: any free one.
    port: int = 8765
    #: More names that the Host header may have, such as that of a proxy in front.
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None


class HttpServer(uvicorn.Server):
    """uvicorn, which leaves in order with exit code 0 after SIGTERM and SIGINT."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread: a test
            for one in signals:
                loop.add_signal_handler(one, self.handle_exit, one, None)
        try:
            yield
        finally:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                for one in signals:
                    loop.remove_signal_handler(one)


async def serve_http(
    server: MCPServer[Services], settings: Settings, options: Options, *, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the address once requests are taken.

    Raises:
        Invalid: the options would open the server to somebody nobody has verified, or make no sense.
        StorageFailed: the file of tokens cannot be used.
    """
    with bound(options) as listening:
        async with running(server, settings, options, listening, limits=Limits()) as (http, address):
            announce(address)
            await http.serve(sockets=[listening])


@contextlib.asynccontextmanager
async def running(
    server: MCPServer[Services], settings: Settings, options: Options, listening: socket.socket, *, limits: Limits
) -> AsyncIterator[tuple[HttpServer, str]]:
    """A server ready to serve on a bound socket, and the address of MCP on it."""
    address, port = listening.getsockname()[:2]
    is_private = is_loopback(address)
    verifiers = Verifiers(settings, verifier_of(settings), is_private=is_private, clock=lambda: datetime.now(UTC))
    check_tls(options)
    if not is_private:
        check_exposure(verifiers, options)
    tenants = Tenants()
    server.middleware.append(tenancy(tenants))
    manager = _manager(server, limits)
    manager.app.lifespan = retaining(manager.app.lifespan, tenants)
    http: HttpServer | None = None

    def problems() -> list[str]:
        stopping = ["stopping"] if http is None or http.should_exit else []
        return stopping + _problems(settings, verifiers)

    gateway = Gateway(
        manager.handle_request,
        hosts=known_hosts(options.host, port, options.allowed_hosts),
        verifiers=verifiers,
        limits=limits,
        is_alive=lambda session: session in manager._server_instances,  # noqa: SLF001 - there is no other way to ask
        problems=problems,
    )
    http = HttpServer(_config(gateway, options, limits))
    try:
        async with manager.run():
            yield http, _address(options, port)
    finally:
        await tenants.close()


def check_tls(options: Options) -> None:
    """Raises Invalid for half a certificate, or one that is not there."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise Invalid("--tls-cert and --tls-key belong together; give both")
    for file in (options.tls_cert, options.tls_key):
        if file is not None and not file.is_file():
            raise Invalid(f"{file} is no file; name the certificate and its key in PEM")


def check_exposure(verifiers: Verifiers, options: Options) -> None:
    """Raises Invalid unless everybody needs a token: others can reach the server."""
    if not verifiers.are_configured:
        raise Invalid(
            f"{options.host} can be reached from other machines, and nobody would need a token; make one with"
            " `lyra-mcp token add --user NAME --role reader`, or set LYRA_OAUTH_ISSUER, or serve on 127.0.0.1"
        )
    if options.tls_cert is None:
        log.warning("tokens and texts travel unencrypted: give --tls-cert and --tls-key, or encrypt in a proxy")
    if options.host in WILDCARDS and not options.allowed_hosts:
        log.warning("only requests for localhost are answered: name this server with --allowed-host")


@contextlib.contextmanager
def bound(options: Options) -> Iterator[socket.socket]:
    """The listening socket. Raises Invalid where it cannot be had."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Invalid(
            f"--host {options.host} is no address of this machine ({error.strerror}); name another"
        ) from error
    with contextlib.closing(listening):
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            message = (
                f"{options.host}:{options.port} cannot be used ({error.strerror}); choose another --port or --host"
            )
            raise Invalid(message) from error
        yield listening


def _manager(server: MCPServer[Services], limits: Limits) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server._lowlevel_server,  # noqa: SLF001 - the SDK's own application offers no place for our checks; mcp is pinned
        # The gateway has checked Host and Origin, for every path.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        session_idle_timeout=limits.session_idle_s,
        max_request_body_size=limits.body_bytes_max,
        max_sessions=limits.sessions_max,
    )


def _config(gateway: Gateway, options: Options, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http=impatient(limits.head_timeout_s),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections_max,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(limits.shutdown_s),
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )


def _address(options: Options, port: int) -> str:
    host = "127.0.0.1" if options.host in WILDCARDS else options.host
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if options.tls_cert else 'http'}://{shown}:{port}{MCP_PATH}"


def _problems(settings: Settings, verifiers: Verifiers) -> list[str]:
    """In single words: whoever asks is not known."""
    problems = []
    home = settings.home if settings.home.exists() else settings.home.parent
    if not os.access(home, os.W_OK | os.X_OK):
        problems.append("storage")
    try:
        assert verifiers.are_configured in (True, False)
    except LyraError:
        problems.append("tokens")
    return problems
