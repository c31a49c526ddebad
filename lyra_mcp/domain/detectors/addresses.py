"""Addresses of machines on a network: IPv4 and IPv6."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from lyra_mcp.domain.detectors.findings import Finding, Findings

_V4 = re.compile(r"(?<![0-9A-Za-z_.-])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9]|-[0-9])")
_V6 = re.compile(r"(?<![0-9A-Za-z_:.])[0-9A-Fa-f:]{6,39}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![0-9A-Za-z_:])")
#: Four numbers with dots after such a word are a version.
_VERSION = re.compile(r"(?:\bv|version|ver\.?|release|バージョン|版)\s?\Z", re.ASCII | re.IGNORECASE)
_V6_GROUPS_MIN = 2


def find_ip_addresses(text: str) -> Findings:
    """All but loopback and unspecified ones, which name nobody's machine."""
    if text.count(".") >= 3:  # noqa: PLR2004 - an address has three dots
        for match in _V4.finditer(text):
            if _names_a_machine(match[0], IPv4Address) and not _VERSION.search(
                text[max(0, match.start() - 9) : match.start()]
            ):
                yield Finding("ip_address", match.start(), match.end(), 0.9)
    if text.count(":") >= 2:  # noqa: PLR2004 - an address has two colons at least
        for match in _V6.finditer(text):
            groups = [group for group in match[0].split(":") if group]
            if len(groups) < _V6_GROUPS_MIN or not any(c.isdigit() for c in match[0]):
                continue
            if _names_a_machine(match[0], IPv6Address):
                yield Finding("ip_address", match.start(), match.end(), 0.9)


def _names_a_machine(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        address = kind(text)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
