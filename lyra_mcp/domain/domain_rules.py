"""Which sources a person has blocked: patterns, and the rule that decides for a domain."""

import functools
import ipaddress
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lyra_mcp.errors import Invalid
from schema.vocabulary import DomainDecision

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

#: Limits of DNS. Source: RFC 1035, section 2.3.4.
_NAME_CHARS_MAX = 253
_LABEL_CHARS_MAX = 63
_LABEL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
#: What a browser also reads as a dot. Source: UTS 46, section 4.5.
_DOTS = str.maketrans("。．｡", "...")


@dataclass(frozen=True, slots=True)
class Pattern:
    """`example.com` matches that domain alone; `*.example.com` every subdomain, and not example.com itself."""

    #: Lower case, punycode, no trailing dot, without the `*.`.
    domain: str
    is_wildcard: bool

    def __str__(self) -> str:
        return f"*.{self.domain}" if self.is_wildcard else self.domain

    def matches(self, domain: str) -> bool:
        return domain.endswith(f".{self.domain}") if self.is_wildcard else domain == self.domain


@dataclass(frozen=True, slots=True)
class Rule:
    rule_id: str
    pattern: Pattern
    decision: DomainDecision
    #: Position in the history; a higher one is newer.
    seq: int


def parse_pattern(text: str) -> Pattern:
    """Read what a person wrote as a domain pattern.

    Raises Invalid for anything that is not one registrable domain, or the subdomains of one.
    """
    written = text.strip()
    _refuse_other_forms(written)
    is_wildcard = written.startswith("*.")
    rest = written[2:] if is_wildcard else written
    if "*" in rest:
        raise Invalid(f"{_shown(text)} has a * in the wrong place; only a leading '*.' is read, as in '*.example.com'")
    domain = _ascii_name(rest.translate(_DOTS).removesuffix("."))
    _refuse_bad_labels(domain, text)
    _refuse_address(domain)
    if _public_suffixes().is_public(domain):
        raise Invalid(
            f"{_shown(text)} would match every site under the public suffix {domain!r}; "
            f"write one domain, as in 'example.{domain}' or '*.example.{domain}'"
        )
    return Pattern(domain, is_wildcard)


def domain_of(url: str) -> str | None:
    """Host of an http(s) URL as patterns spell it, or None where there is none."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError:  # a bracket without its partner, or no address between the brackets
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    return _ascii_name(host.translate(_DOTS).removesuffix(".")) or None


def decide(domain: str, rules: Iterable[Rule]) -> Rule | None:
    """Find the active rule that decides: an exact pattern beats a wildcard, the longer wins, then the newer."""
    matching = [rule for rule in rules if rule.pattern.matches(domain)]
    return max(
        matching,
        key=lambda rule: (not rule.pattern.is_wildcard, len(rule.pattern.domain), rule.seq),
        default=None,
    )


def is_blocked(domain: str | None, rules: Iterable[Rule]) -> bool:
    """Say whether evidence from this domain is left out; evidence without a domain never is."""
    if domain is None:
        return False
    rule = decide(domain, rules)
    return rule is not None and rule.decision == "block"


def _refuse_other_forms(written: str) -> None:
    if not written:
        raise Invalid("the domain pattern is empty; write a domain such as 'example.com' or '*.example.com'")
    if written.strip("*.") == "":
        raise Invalid(f"{_shown(written)} would match every site; write one domain, as in '*.example.com'")
    if any(character in written for character in "/?#@\\"):
        host = domain_of(written if "://" in written else f"https://{written}")
        instead = f"{host!r} or '*.{host}'" if host else "'example.com' or '*.example.com'"
        raise Invalid(f"{_shown(written)} is a URL or a path, not a domain; write {instead}")
    without = written.split(":", maxsplit=1)[0]
    _refuse_address(written)
    _refuse_address(without)
    if ":" in written:
        raise Invalid(f"{_shown(written)} has a port; rules hold for a whole domain, write {without[:80]!r}")


def _refuse_address(written: str) -> None:
    # A name that ends in a number is an IPv4 address in short. Source: WHATWG URL standard, "ends in a number".
    if _is_address(written.strip("[]")) or written.removesuffix(".").rpartition(".")[2].isdecimal():
        raise Invalid(f"{_shown(written)} is an IP address; write a domain such as 'example.com'")


def _is_address(written: str) -> bool:
    try:
        ipaddress.ip_address(written)
    except ValueError:
        return False
    return True


def _refuse_bad_labels(domain: str, text: str) -> None:
    labels = domain.split(".")
    if not all(labels):
        raise Invalid(f"{_shown(text)} has two dots in a row or one at the start; write it as in 'example.com'")
    if len(domain) > _NAME_CHARS_MAX or max(map(len, labels)) > _LABEL_CHARS_MAX:
        raise Invalid(
            f"{_shown(text)} is too long for a domain; a name has at most {_NAME_CHARS_MAX} characters "
            f"and {_LABEL_CHARS_MAX} between two dots"
        )
    for label in labels:
        if not _LABEL_CHARACTERS.issuperset(label) or label.startswith("-") or label.endswith("-"):
            raise Invalid(f"{label!r} in {_shown(text)} is no part of a domain; write it as in 'example.com'")


def _ascii_name(name: str) -> str:
    """Lower case and punycode, as browsers send it; a name that IDNA refuses is encoded label by label."""
    if name.isascii():
        return name.lower()
    import idna  # noqa: PLC0415  # its tables cost start-up time, and most hosts are ASCII

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        folded = unicodedata.normalize("NFKC", name).lower()
        return ".".join(map(_punycode, folded.split(".")))


def _punycode(label: str) -> str:
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")


@functools.cache
def _public_suffixes() -> "PublicSuffixList":
    """ICANN's suffixes only: `github.io` belongs to somebody, so a person may block all of it."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415  # reads a list of 10,000 lines

    return PublicSuffixList(only_icann=True)


def _shown(text: str) -> str:
    shown_max = 80
    return repr(text) if len(text) <= shown_max else repr(text[:shown_max]) + "..."
