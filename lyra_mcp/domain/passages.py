"""A memory in passages an encoder can read whole: it sees about a thousand characters at a time."""

import re

#: About 250 tokens of English.
PASSAGE_CHARS = 900
#: Of one memory; what is behind them is found by its words alone.
PASSAGES_MAX = 24

_END = re.compile(r"\n+|(?<=[.!?])\s+|(?<=[。！？])")


def passages(text: str) -> list[str]:
    """The text itself, or passages of at most `PASSAGE_CHARS` that end where a sentence or line does, if one does."""
    if len(text) <= PASSAGE_CHARS:
        return [text]
    found: list[str] = []
    start = 0
    while start < len(text) and len(found) < PASSAGES_MAX:
        end = len(text) if len(text) - start <= PASSAGE_CHARS else _end(text, start)
        if passage := text[start:end].strip():
            found.append(passage)
        start = end
    return found


def _end(text: str, start: int) -> int:
    """After the last end of a sentence in the second half of the window; else in the middle of one."""
    ends = [match.end() for match in _END.finditer(text, start + PASSAGE_CHARS // 2, start + PASSAGE_CHARS)]
    return ends[-1] if ends else start + PASSAGE_CHARS
