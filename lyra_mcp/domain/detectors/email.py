"""E-mail addresses, also in the middle of Japanese text."""

import re

from lyra_mcp.domain.detectors.findings import Finding, Findings

#: Letters of addresses: ASCII and accented Latin. Kana and kanji end an address: nothing separates it from them.
_LETTERS = r"a-zA-Z0-9_À-ÖØ-öø-ɏ"
#: Names of machines may be Japanese; what follows the last dot may not, or it would swallow the rest of a sentence.
_ADDRESS = re.compile(
    rf"(?:(?<![{_LETTERS}.+%-])[{_LETTERS}.+%'-]++|\"[^\"\n@]{{1,64}}\")"
    rf"@(?P<domain>(?:[{_LETTERS}぀-ヿ一-鿿-]++\.)+[{_LETTERS}-]++)"
)
_TOP_LEVEL = re.compile(r"(?:[a-zA-Z]{2,24}|xn--[a-zA-Z0-9-]{1,59})\Z")


def find_emails(text: str) -> Findings:
    if "@" not in text:
        return
    for match in _ADDRESS.finditer(text):
        start = match.end() - len(match[0].lstrip(".-'"))
        top_level = match["domain"].rpartition(".")[2]
        if text[start] != "@" and _TOP_LEVEL.match(top_level):
            yield Finding("email", start, match.end(), 0.99)
