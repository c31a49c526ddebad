"""`docs/privacy.md` says where each table goes in an export, and says what is true."""

import re
from pathlib import Path

from lyra_mcp.storage.tables import EXPORTED

PAGE = (Path(__file__).parent.parent / "docs" / "privacy.md").read_text(encoding="utf-8")


def test_the_map_of_an_export_is_the_one_that_is_written():
    rows = re.findall(r"^\| `([\w/{}.]+\.json)` \| (.+) \|$", PAGE, flags=re.MULTILINE)

    shown = {table: place for place, tables in rows for table in re.findall(r"`(\w+)`", tables)}

    assert shown == EXPORTED
