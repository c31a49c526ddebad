"""The commands of `lyra-mcp`; without one it serves over stdio."""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from lyra_mcp.cli import assistant, intents, keys, models, privacy
from lyra_mcp.cli.configuration import read_settings
from lyra_mcp.cli.running import AsJson, run
from lyra_mcp.operations.status import read_status
from lyra_mcp.version import VERSION

app = typer.Typer(
    help="An MCP server that learns from being corrected.", no_args_is_help=False, pretty_exceptions_enable=False
)

app.add_typer(assistant.app, name="assistant")
app.add_typer(models.app, name="models")
app.add_typer(intents.app, name="intent")
app.add_typer(privacy.app, name="privacy")
app.add_typer(keys.app, name="key")


@app.command()
def serve() -> None:
    """Serve MCP over standard input and output, as a host such as Claude starts it."""
    from lyra_mcp.app import build_server  # noqa: PLC0415 - the other commands need no MCP
    from lyra_mcp.stdio import serve_stdio  # noqa: PLC0415 - likewise

    # Standard output belongs to MCP; what a person should read goes to standard error.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    # The thread that reads standard input cannot be interrupted; a transaction survives any end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(serve_stdio(build_server(read_settings())))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say what works, what does not, and why; the exit code is 1 where something does not."""
    outcome = run(read_status)
    if as_json:
        print(json.dumps({"version": VERSION, **asdict(outcome)}, default=lambda value: value.model_dump()))
    else:
        stored = outcome.database
        counts = f": {stored.claims} claims, {stored.reviews} reviews, {stored.corrections} corrections"
        print(f"lyra-mcp  {VERSION}")
        print(f"home      {read_settings().home}")
        print(f"worker    {outcome.worker.state}")
        print(f"database  {stored.state}{counts if stored.state == 'open' else ''}")
        for problem in outcome.problems:
            print(f"problem   {problem}")
    if outcome.problems:
        raise SystemExit(1)


@app.command()
def demo(
    as_json: AsJson = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the retraining out: about a minute.")] = False,
) -> None:
    """Show the loop from a correction to a retrained model, offline, in a temporary home; a script plays the person."""
    from lyra_mcp.cli.demo import run_demo  # noqa: PLC0415 - it brings the MCP client, which nothing else needs

    raise SystemExit(run_demo(as_json=as_json, is_quick=quick))
