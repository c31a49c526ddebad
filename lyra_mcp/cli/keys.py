"""`lyra-mcp key`: where the key of the data lies, a new one, and a copy for the day the disk is gone."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lyra_mcp.cli.running import AsJson, ask_passphrase, run, show
from lyra_mcp.operations import keys
from lyra_mcp.operations.keys import KeyStatus
from lyra_mcp.operations.services import Services

app = typer.Typer(help="Look after the keys of the data.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A file.")]


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say where the master key lies and what that means."""
    _show(run(keys.read_status), as_json=as_json)


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """Make new keys, from the source that LYRA_KEY_SOURCE names; other programs that use Lyra must be closed."""
    _show(run(keys.rotate), as_json=as_json)


@app.command()
def export(file: File, as_json: AsJson = False) -> None:
    """Write the keys under a passphrase, to keep elsewhere: with them backups can be read on any machine."""
    passphrase = ask_passphrase("Passphrase of the exported key", twice=True)
    path = run(lambda services: keys.export(services, file, passphrase))
    show({"path": path}, f"written to {path}; an erasure does not reach it", as_json=as_json)


@app.command("import")
def import_(file: File, as_json: AsJson = False) -> None:
    """Put exported keys in the place of lost ones."""
    passphrase = ask_passphrase("Passphrase of the exported key")
    _show(run(partial(_import, file=file, passphrase=passphrase)), as_json=as_json)


async def _import(services: Services, *, file: Path, passphrase: str) -> KeyStatus:
    return await keys.import_(services, file, passphrase)


def _show(status: KeyStatus, *, as_json: bool) -> None:
    text = f"source    {status.source or 'none yet'}\nkey file  {status.key_file}\n{status.meaning}"
    show(asdict(status), text, as_json=as_json)
