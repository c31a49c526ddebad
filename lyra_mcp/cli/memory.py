"""`lyra-mcp memory`: the search index over what was remembered."""

import json
from dataclasses import asdict, dataclass

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lyra_mcp.cli.running import AsJson, run
from lyra_mcp.errors import WorkerWarming
from lyra_mcp.operations.services import Services
from lyra_mcp.storage.memory_index import Encoder

app = typer.Typer(help="Look after the search index over memories.", no_args_is_help=True)

#: A large encoder loads for minutes, and each try waits `worker_wait_s`.
WARMING_TRIES = 20


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
    done = run(lambda services: _reindex(services, quiet=as_json))
    if as_json:
        print(json.dumps(asdict(done)))
    else:
        print(f"encoder   {done.model} ({done.fingerprint[:12]})")
        print(f"embedded  {done.embedded} memories; every memory can be found by its meaning")


async def _reindex(services: Services, *, quiet: bool) -> Reindexed:
    encoder, waiting = await _prepare(services)
    columns = (TextColumn("memories"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("memories", total=waiting)
        await services.index.embed_waiting(progress=lambda count: bar.advance(task, count))
        embedded = int(bar.tasks[0].completed)
    return Reindexed(encoder.model, encoder.fingerprint, embedded)


async def _prepare(services: Services) -> tuple[Encoder, int]:
    for _ in range(WARMING_TRIES - 1):
        try:
            return await services.index.prepare()
        except WorkerWarming:
            continue
    return await services.index.prepare()
