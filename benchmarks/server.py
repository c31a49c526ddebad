"""Start-up, memory and call times of the server, through the SDK's client over stdio.

    python -m benchmarks.server --starts 11 --calls 200
    python -m benchmarks.server --json

Every figure stands beside the bound it is held to, and start and call beside those of an empty server of the same SDK
in the same run, taking turns: on a busy machine believe the ratio. The worker is started once, so that there are
judged edges to give feedback on; it is idle while the calls are measured.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from rich.console import Console
from rich.table import Table

MIB = 2**20
FRAGMENTS = 64
#: What the SDK itself costs: a server with one tool that does nothing.
EMPTY_SERVER = """
from mcp.server import MCPServer
server = MCPServer("empty")
@server.tool()
def nothing() -> dict[str, int]:
    return {"n": 0}
server.run("stdio")
"""
LYRA = ["-m", "lyra_mcp", "serve"]
EMPTY = ["-c", EMPTY_SERVER]
LABELS = ("supports", "refutes", "neutral")
#: The first calls of a process pay for imports and page faults.
WARM_UP_CALLS = 5


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    median: float
    p95: float | None
    bound: float
    #: How often as long as the empty server took.
    times_empty: float | None
    n: int

    def row(self) -> dict[str, Any]:
        return {**vars(self), "holds": self.median <= self.bound}


def figure(name: str, unit: str, values: list[float], *, bound: float, empty: list[float] | None = None) -> Figure:
    p95 = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) >= 20 else None
    median = statistics.median(values)
    return Figure(name, unit, median, p95, bound, median / statistics.median(empty) if empty else None, len(values))


@asynccontextmanager
async def server(home: Path, program: list[str]) -> AsyncIterator[tuple[Client, float]]:
    """A client, and the seconds from the spawn to the reply to `initialize`."""
    environment = {
        **os.environ,
        "LYRA_HOME": str(home),
        "LYRA_RUNTIME_DIR": str(home / "run"),
        "LYRA_TOOLS": "core",
        "LYRA_KEY_SOURCE": "file",
    }
    parameters = StdioServerParameters(command=sys.executable, args=program, env=environment)
    started = time.perf_counter()
    async with Client(parameters, mode="legacy") as client:
        yield client, time.perf_counter() - started


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return dict(result.structured_content)


async def timed(client: Client, tool: str, **arguments: Any) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call(client, tool, **arguments)
    return (time.perf_counter() - started) * 1000


async def measure(home: Path, *, starts: int, calls: int) -> list[Figure]:
    starts_s: dict[str, list[float]] = {"lyra": [], "empty": []}
    for _ in range(starts):
        for name, program in (("lyra", LYRA), ("empty", EMPTY)):
            async with server(home, program) as (_, start_s):
                starts_s[name].append(start_s)
    async with server(home, LYRA) as (client, _), server(home, EMPTY) as (empty, _):
        edges = await add_evidence(client)
        listing_ms, feedback_ms, nothing_ms = [], [], []
        for n in range(calls + WARM_UP_CALLS):
            review = {"action": "edge_correct", "edge_id": edges[n % len(edges)], "correct_label": LABELS[n % 3]}
            listing_ms.append(await timed(client, "get_claims", limit=1))
            feedback_ms.append(await timed(client, "feedback", **review))
            nothing_ms.append(await timed(empty, "nothing"))
        (process,) = (one for one in psutil.Process().children() if "lyra_mcp" in one.cmdline())
        resident_mib = process.memory_info().rss / MIB
    del listing_ms[:WARM_UP_CALLS], feedback_ms[:WARM_UP_CALLS], nothing_ms[:WARM_UP_CALLS]
    return [
        figure("spawn to initialize reply", "s", starts_s["lyra"], bound=1.0, empty=starts_s["empty"]),
        figure("server resident, after the calls", "MiB", [resident_mib], bound=120),
        figure("get_claims, whole call", "ms", listing_ms, bound=5, empty=nothing_ms),
        figure("feedback, durable when it returns", "ms", feedback_ms, bound=10, empty=nothing_ms),
    ]


async def add_evidence(client: Client) -> list[str]:
    fragments = [{"text": f"Observer {n} counted {n * 3} cars on the bridge."} for n in range(FRAGMENTS)]
    while True:
        result = await client.call_tool("add_evidence", {"claim": "The bridge is open.", "fragments": fragments})
        if not result.is_error:
            assert result.structured_content is not None
            return [edge["edge_id"] for edge in result.structured_content["edges"]]
        if "E_WARMING" not in str(result.content):
            raise SystemExit(str(result.content))


def show(figures: list[Figure]) -> None:
    table = Table("figure", "median", "p95", "bound", "/ empty server", "n", "holds")
    for one in figures:
        p95 = "" if one.p95 is None else f"{one.p95:.2f} {one.unit}"
        ratio = "" if one.times_empty is None else f"{one.times_empty:.2f}"
        holds = "yes" if one.row()["holds"] else "no"
        bound = f"{one.bound:g} {one.unit}"
        table.add_row(one.name, f"{one.median:.2f} {one.unit}", p95, bound, ratio, str(one.n), holds)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=11)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lyra") as home:
        figures = asyncio.run(measure(Path(home), starts=options.starts, calls=options.calls))
    if options.json:
        print(json.dumps([one.row() for one in figures], indent=1))
    else:
        show(figures)


if __name__ == "__main__":
    main()
