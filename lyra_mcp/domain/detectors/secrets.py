"""Keys that open something: tokens of well-known services, named secrets with enough chance in them, PEM blocks."""

import re
from collections import Counter
from math import log2

from lyra_mcp.domain.detectors.findings import Finding, Findings

#: Beginnings that services publish so that their tokens are recognized.
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{20,250}"
    r"|(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,250}|github_pat_[A-Za-z0-9_]{22,250}|glpat-[A-Za-z0-9_-]{20,64}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,250}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,250}"
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}|dop_v1_[a-f0-9]{64}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,1000}"
    r")(?![A-Za-z0-9])"
)
#: Part of every beginning above, for texts that cannot hold a token.
_BEGINNINGS = re.compile(
    r"sk[-_]|gh[pousr]_|github_pat_|glpat-|AKIA|ASIA|AIza|ya29|xox|[rp]k_|hf_|npm_|pypi-|dop_|SG\.|eyJ"
)
_NAMED = re.compile(
    r"(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|auth[_-]?token|access[_-]?token|token|passw(?:or)?d"
    r"|authorization\"?:\s?bearer|authorization)[\"']?\s{0,2}(?::=|[:=])\s{0,2}[\"']?(?P<value>[A-Za-z0-9+/_=-]{16,512})",
    re.IGNORECASE,
)
#: Bits a character; words and identifiers stay below it, random characters above.
_ENTROPY_MIN = 3.5

_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_BODY = re.compile(r"(?:\s*+[A-Za-z0-9+/=]{16,}+|\s*+[A-Za-z-]{3,24}+: [^\n]{0,200}+)*+\s*+[A-Za-z0-9+/=]*+")


def find_keys(text: str) -> Findings:
    if _BEGINNINGS.search(text):
        for match in _TOKEN.finditer(text):
            yield Finding("api_key", match.start(), match.end(), 0.99)
    if "=" in text or ":" in text:
        for match in _NAMED.finditer(text):
            if _looks_random(match["value"]):
                yield Finding("api_key", match.start("value"), match.end("value"), 0.8)


def find_private_keys(text: str) -> Findings:
    """A block without an end, as a cut text has it, ends where its lines end."""
    start = 0
    closed = True
    while begin := _BEGIN.search(text, start):
        # Once no end is left there is none for later beginnings either; asking each time would be quadratic.
        end = _END.search(text, begin.end()) if closed else None
        closed = end is not None
        if end is None:
            end = _BODY.match(text, begin.end())
        assert end is not None
        yield Finding("private_key", begin.start(), end.end(), 1.0 if closed else 0.9)
        start = end.end()


def _looks_random(value: str) -> bool:
    """Letters and digits, spread like chance and not like words."""
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * log2(share) for share in shares) >= _ENTROPY_MIN
