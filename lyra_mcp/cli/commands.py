"""The commands of `lyra-mcp`; without one it serves over stdio."""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lyra_mcp.cli import assistant, intents, keys, memory, models, privacy, tokens
from lyra_mcp.cli.configuration import read_settings, refusing
from lyra_mcp.cli.running import AsJson, run
from lyra_mcp.operations.status import read_status
from lyra_mcp.version import VERSION

app = typer.Typer(
    help="An MCP server that learns from being corrected.", no_args_is_help=False, pretty_exceptions_enable=False
)

app.add_typer(assistant.app, name="assistant")
app.add_typer(models.app, name="models")
app.add_typer(memory.app, name="memory")
app.add_typer(intents.app, name="intent")
app.add_typer(privacy.app, name="privacy")
app.add_typer(keys.app, name="key")
app.add_typer(tokens.app, name="token")

LOOPBACK = "127.0.0.1"


@app.command()
def serve(
    http: Annotated[bool, typer.Option("--http", help="Serve over HTTP instead of standard input and output.")] = False,
    host: Annotated[
        str, typer.Option(help="HTTP: the address to listen on; any but loopback needs tokens.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="HTTP: the port; 0 finds a free one.")] = 8765,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="HTTP: another name requests may use for this server; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="HTTPS: the certificate, in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="HTTPS: its key, in PEM.")] = None,
) -> None:
    """Serve MCP: over standard input and output, as a host such as Claude starts it, or over HTTP."""
    from lyra_mcp.app import build_server  # noqa: PLC0415 - the other commands need no MCP

    # Standard output belongs to MCP; what a person should read goes to standard error.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    settings = read_settings()
    if http:
        from lyra_mcp.http.access_log import log_to_stderr  # noqa: PLC0415 - only HTTP needs it and its libraries
        from lyra_mcp.http.serving import Options, serve_http  # noqa: PLC0415 - likewise

        log_to_stderr()
        options = Options(host, port, tuple(allowed_host or ()), tls_cert, tls_key)
        with refusing():
            asyncio.run(serve_http(build_server(settings), settings, options, announce=_announce))
        return
    from lyra_mcp.stdio import serve_stdio  # noqa: PLC0415 - likewise

    # The thread that reads standard input cannot be interrupted; a transaction survives any end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(serve_stdio(build_server(settings)))


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


def _announce(address: str) -> None:
    print(f"Lyra serves MCP at {address}", file=sys.stderr, flush=True)
