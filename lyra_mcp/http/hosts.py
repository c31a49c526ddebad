"""From where: the Host and Origin headers, so that a hostile web page cannot speak for the person before it."""

import ipaddress
from collections.abc import Iterable, Sequence

from lyra_mcp.http.refusals import RequestRefused

#: What a person on this machine may write for it.
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - recognised, to be refused or warned about
DEFAULT_PORTS = {"http": 80, "https": 443}

Headers = Sequence[tuple[bytes, bytes]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def known_hosts(host: str, port: int, more: Iterable[str]) -> frozenset[str]:
    """The Host headers that mean this server; without a port where a browser leaves it out."""
    names = {*LOOPBACK_NAMES, *more}
    if host not in WILDCARDS:
        names.add(f"[{host}]" if ":" in host else host)
    spelled = {f"{name}:{port}" for name in names if not _has_port(name)} | {name for name in names if _has_port(name)}
    if port in DEFAULT_PORTS.values():
        spelled |= names
    # A proxy in front has a port of its own, and passes on the name alone.
    return frozenset(name.lower() for name in spelled | set(more))


def check_host(headers: Headers, known: frozenset[str]) -> None:
    """Raises RequestRefused (400, 421) unless the request means this server: another name is DNS rebinding."""
    found = _only(headers, b"host")
    if found is None or found.lower() not in known:
        raise RequestRefused(421, "the Host header does not name this server; use the address it was started with")


def check_origin(headers: Headers, known: frozenset[str]) -> None:
    """Raises RequestRefused (400, 403) for a web page of another origin; programs send none."""
    origin = _only(headers, b"origin")
    if origin is None:
        return
    scheme, separator, host = origin.partition("://")
    if not separator or scheme not in DEFAULT_PORTS or host.lower() not in known:
        raise RequestRefused(403, "web pages of other origins may not ask; use an MCP client, not a browser")


def _only(headers: Headers, name: bytes) -> str | None:
    found = [value for key, value in headers if key == name]
    if len(found) > 1:
        raise RequestRefused(400, f"more than one {name.decode()} header; send one")
    return found[0].decode("latin-1") if found else None


def _has_port(name: str) -> bool:
    return name.rpartition("]")[2].count(":") == 1
