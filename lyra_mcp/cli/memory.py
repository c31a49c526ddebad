"""`lyra-mcp memory`: the search index over what was remembered."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lyra_mcp.cli.configuration import read_settings
from lyra_mcp.errors import LyraError, WorkerWarming
from lyra_mcp.operations.services import Services, build_services
from lyra_mcp.storage.memory_index import Encoder

app = typer.Typer(help="Look after the search index over memories.", no_args_is_help=True)

#: A large encoder loads for minutes, and each try waits `worker_wait_s`.
WARMING_TRIES = 20

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.callback()
def memory() -> None:
    """Look after the search index over memories."""


@dataclass(frozen=True, slots=True)
class Reindexed:
    model: str
    fingerprint: str
    #: Memories that got their vectors now; the others had them.
    embedded: int


@app.command()
def reindex(as_json: AsJson = False) -> None:
    """Let the encoder of the settings read every memory it has not read; run again after a break."""
    try:
        done = asyncio.run(_reindex(quiet=as_json))
    except LyraError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(f"encoder   {done.model} ({done.fingerprint[:12]})")
        print(f"embedded  {done.embedded} memories; every memory can be found by its meaning")


async def _reindex(*, quiet: bool) -> Reindexed:
    services = build_services(read_settings())
    try:
        encoder, waiting = await _prepare(services)
        columns = (TextColumn("memories"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
            task = bar.add_task("memories", total=waiting)
            await services.index.embed_waiting(progress=lambda count: bar.advance(task, count))
            embedded = int(bar.tasks[0].completed)
    finally:
        await services.index.close()
        await services.worker.close()
        await services.database.close()
    return Reindexed(encoder.model, encoder.fingerprint, embedded)


async def _prepare(services: Services) -> tuple[Encoder, int]:
    for _ in range(WARMING_TRIES - 1):
        try:
            return await services.index.prepare()
        except WorkerWarming:
            continue
    return await services.index.prepare()
