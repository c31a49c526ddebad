"""One line of JSON for each request: who, what, how it ended. Neither texts nor tokens, and no word a caller chose."""

import json
import logging
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

log = logging.getLogger("lyra_mcp.access")

#: Under it, in the ASGI scope, the record of a request can be found by whoever learns more about it.
SCOPE_KEY = "lyra_mcp.record"


@dataclass(slots=True)
class Record:
    method: str
    #: One of our own paths, or `other`.
    path: str
    user: str | None = None
    token_id: str | None = None
    role: str | None = None
    #: One of our own tools.
    tool: str | None = None
    status: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    started: float = field(default_factory=monotonic)

    def write(self) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "started"}
        ms = round((monotonic() - self.started) * 1000, 1)
        log.info("%s", json.dumps({"at": moment, **facts, "ms": ms}))


def log_to_stderr() -> None:
    """Standard output stays free, as over stdio."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def record_of(scope: Any) -> Record | None:
    found = scope.get(SCOPE_KEY)
    return found if isinstance(found, Record) else None
