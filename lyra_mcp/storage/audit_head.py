"""The audit's last entry, kept in a file beside the database, so that a cut tail or an older database is noticed."""

import json
import logging
from pathlib import Path

from lyra_mcp.domain.audit import Head
from lyra_mcp.storage.files import write_private

log = logging.getLogger(__name__)


class HeadFile:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.head"

    def exists(self) -> bool:
        return self.path.exists()

    def read(self) -> Head | None:
        """None where it is missing or cannot be read: then the end of the chain cannot be trusted."""
        try:
            fields = json.loads(self.path.read_bytes())
            return Head(int(fields["seq"]), str(fields["mac"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, head: Head) -> None:
        write_private(self.path, json.dumps({"seq": head.seq, "mac": head.mac}).encode())

    def advance(self, head: Head) -> None:
        """Called after the entry is true, so it never fails: a head that lags behind is no damage.

        A missing file stays missing: writing it anew would hide that somebody removed it.
        """
        before = self.read()
        if before is None or before.seq >= head.seq:
            return
        try:
            self.write(head)
        except OSError as error:
            log.warning("the head of the audit could not be written (%s); the next entry writes it", error.strerror)
