"""A person's own patterns of what is private, run by an engine that is linear whatever they say."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lyra_mcp.domain.detectors.findings import Finding, Findings
from lyra_mcp.errors import Invalid

PATTERNS_MAX = 50
PATTERN_CHARS_MAX = 500
#: Bytes the engine may hold for one pattern.
_MEMORY_MAX = 1 << 20
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
#: A pattern that finds nothing at all somewhere in one of these would find it everywhere.
_PROBES = ("", "a", "A0 _-.", "0", "\n", "あ")


@dataclass(frozen=True, slots=True)
class UserPattern:
    name: str
    pattern: str


def check_pattern(name: str, pattern: str, *, taken: frozenset[str]) -> UserPattern:
    """A pattern that can be used; `taken` are the names that mean something already.

    Raises:
        Invalid: the name or the pattern cannot be used, with the reason.
    """
    if not _NAME.match(name):
        raise Invalid(f"{name[:80]!r} is no name; use a-z, 0-9 and _, beginning with a letter, 40 characters at most")
    if name in taken:
        raise Invalid(f"{name!r} is found without a pattern; choose another name")
    if not 0 < len(pattern) <= PATTERN_CHARS_MAX:
        raise Invalid(f"a pattern has 1 to {PATTERN_CHARS_MAX} characters; this one has {len(pattern)}")
    compiled = _compile(pattern)
    if any(match.start() == match.end() for probe in _PROBES for match in compiled.finditer(probe)):
        raise Invalid(f"the pattern of {name!r} matches the empty string; let it ask for one character at least")
    return UserPattern(name, pattern)


def find_own(pattern: UserPattern, text: str) -> Findings:
    """Raises Invalid: the pattern does not compile."""
    # A lone surrogate cannot be handed to the engine, and is one character like the one in its place.
    for match in _compile(pattern.pattern).finditer(re.sub("[\ud800-\udfff]", "\ufffd", text)):
        if match.end() > match.start():
            yield Finding(pattern.name, match.start(), match.end(), 1.0)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import re2  # noqa: PLC0415 - only a person with patterns needs it

    options = re2.Options()
    options.log_errors = False  # what is wrong is said in the error; stderr is no place for it
    options.max_mem = _MEMORY_MAX
    try:
        return re2.compile(pattern, options=options)
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise Invalid(
            f"the pattern cannot be used: {reason}; write RE2 syntax, which has no lookaround and no backreferences"
        ) from error
