"""What every part of the demonstration writes to: the terminal for a person, the summary for `--json`."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console


@dataclass
class Script:
    console: Console
    step: str = "start the server"
    #: What `--json` prints.
    summary: dict[str, Any] = field(default_factory=lambda: {"steps": []})

    @asynccontextmanager
    async def begin(self, name: str, sentence: str) -> AsyncIterator[None]:
        """One step: introduced by a sentence, timed, and named when it fails."""
        self.step = name
        number = len(self.summary["steps"]) + 1
        self.console.print(f"\n[bold cyan]{number}. {name[0].upper()}{name[1:]}[/]")
        self.console.print(f"[italic]{sentence}[/]\n")
        started = time.monotonic()
        yield
        self.summary["steps"].append({"name": name, "seconds": round(time.monotonic() - started, 2)})
