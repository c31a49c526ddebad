"""The server on a real loopback socket, its users with tokens, and a worker that reads keywords."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from lyra_mcp.app import build_server
from lyra_mcp.http.gateway import Limits
from lyra_mcp.http.serving import HttpServer, Options, bound, running
from lyra_mcp.operations.tokens import add_token
from lyra_mcp.settings import Settings

#: Tests ask faster than people, except where the rate is what they are about.
GENEROUS = Limits(requests_per_s=1e6, requests_burst=1e6, failures_per_s=1e6, failures_burst=1e6, shutdown_s=1)
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}},
}


@dataclass
class Agent:
    client: Client

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured result of a call that works."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def text(self, tool: str, /, **arguments: Any) -> str:
        """All that a call says, whether it works or not."""
        return (await self.client.call_tool(tool, arguments)).model_dump_json()


@dataclass
class Site:
    """A server that is running, and how to reach it."""

    settings: Settings
    address: str
    http: HttpServer
    #: What httpx is told about certificates.
    verify: Any = True
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return httpx2.URL(self.address).port

    def token(self, user: str, role: str = "owner", **options: Any) -> str:
        """A new token of a user, given out while the server runs."""
        given = {"days": None, "now": datetime.now(UTC), **options}
        return add_token(self.settings, user=user, role=role, **given)[1]

    def browser(self, token: str | None = None, **headers: str) -> httpx2.AsyncClient:
        """A bare HTTP client at the root of the site."""
        bearer = {} if token is None else {"authorization": f"Bearer {token}"}
        root = self.address.removesuffix("/mcp")
        return httpx2.AsyncClient(
            base_url=root, headers={**JSON, **bearer, **headers}, verify=self.verify, trust_env=False, timeout=20
        )

    @asynccontextmanager
    async def agent(self, token: str | None = None, *, mode: str = "auto", **options: Any) -> AsyncIterator[Agent]:
        """An MCP client; without a token nobody in particular."""
        async with self.browser(token) as http:
            transport = streamable_http_client(self.address, http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield Agent(client)


@pytest.fixture
def serving(settings, build_services):
    """Serve for as long as the block lasts."""

    @asynccontextmanager
    async def served(
        options: Options | None = None, *, limits: Limits = GENEROUS, verify: Any = True, **changes: Any
    ) -> AsyncIterator[Site]:
        ours = settings.model_copy(update={"tools": "full", **changes})
        options = options or Options(port=0)
        server = build_server(ours, services=build_services)
        with bound(options) as listening:
            async with running(server, ours, options, listening, limits=limits) as (http, address):
                task = asyncio.create_task(http.serve(sockets=[listening]))
                try:
                    yield Site(ours, address, http, verify)
                finally:
                    http.should_exit = True
                    await task

    return served


@pytest.fixture(params=["auto", "legacy"])
def era(request) -> str:
    """`auto` ends in the newest protocol, `legacy` in the handshake of 2025."""
    return request.param


@pytest.fixture
def initialize() -> dict[str, Any]:
    return INITIALIZE


@pytest.fixture
def generous() -> Limits:
    return GENEROUS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"
