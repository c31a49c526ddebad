"""Our own source and documents as a text without private data: what is found in them must be listed here."""

from collections import Counter
from pathlib import Path

from lyra_mcp.domain.redaction import find

ROOT = Path(__file__).parents[3]
FOLDERS = ("lyra_mcp", "ml_worker", "schema", "docs")
SUFFIXES = {".py", ".sql", ".md", ".j2"}

#: Files in which something is found, what, and why.
FOUND: dict[str, dict[str, int]] = {
    "lyra_mcp/domain/detectors/announced_phones.py": {"phone_intl": 2},  # written like numbers, to show the form
    "docs/privacy.md": {"email": 2},  # what the commands that look for one are given
}


def test_nothing_is_found_in_our_own_source_but_what_is_listed():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    found = {
        path.relative_to(ROOT).as_posix(): dict(Counter(finding.type for finding in findings))
        for path in sorted(files)
        if (findings := find(path.read_text(encoding="utf-8")))
    }

    assert len(files) > 100
    assert found == FOUND
