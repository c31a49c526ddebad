"""Opaque cursors: where the next page begins."""

import base64
import binascii

from lyra_mcp.errors import Invalid

#: What SQLite can hold.
POSITION_MAX = 2**63 - 1


def write_cursor(position: int) -> str:
    return base64.urlsafe_b64encode(str(position).encode()).decode()


def read_cursor(cursor: str | None) -> int | None:
    """Raises Invalid for anything `write_cursor` did not write."""
    if cursor is None:
        return None
    try:
        position = int(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError):
        position = -1
    if not 0 <= position <= POSITION_MAX:
        raise Invalid("the cursor is not one of ours; pass next_cursor as it was returned, or leave it out")
    return position
