"""`lyra-mcp privacy`: what is stored about a person, and their say in it."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer

from lyra_mcp.cli import patterns, retention
from lyra_mcp.cli.configuration import refusing
from lyra_mcp.cli.running import AsJson, Yes, agree, ask_passphrase, run, show
from lyra_mcp.domain.consents import ConsentEvent
from lyra_mcp.operations import auditing, backups, consent, erasing, exporting, privacy, redacting
from lyra_mcp.operations.services import Services
from lyra_mcp.storage.exports import open_sealed
from schema.vocabulary import Purpose

app = typer.Typer(help="See, export and erase what is stored; consent, retention, audit.", no_args_is_help=True)
app.add_typer(patterns.app, name="pattern")
app.add_typer(retention.app, name="retention")

Text = Annotated[str, typer.Argument(help="The text; - reads it from standard input.")]
File = Annotated[Path, typer.Argument(help="A file.")]


@app.command()
def scan(text: Text, as_json: AsJson = False) -> None:
    """Say where personal data stand in a text; nothing is stored."""
    found = run(lambda services: redacting.findings(services, _read(text)))
    lines = [f"{one.start}-{one.end}  {one.type}  {one.confidence:.2f}" for one in found]
    show({"findings": [asdict(one) for one in found]}, "\n".join(lines) or "nothing found", as_json=as_json)


@app.command()
def redact(text: Text, as_json: AsJson = False) -> None:
    """Print a text with tags in the place of personal data."""
    done = run(lambda services: redacting.redacted(services, _read(text)))
    show({"text": done.text, "findings": [asdict(one) for one in done.findings]}, done.text, as_json=as_json)


@app.command("consent")
def consent_(
    purpose: Annotated[str | None, typer.Argument(help=" | ".join(get_args(Purpose)))] = None,
    grant: Annotated[bool | None, typer.Option("--grant/--revoke", help="Your yes or no.")] = None,
    provider: Annotated[str | None, typer.Option(help="For send: to whom.")] = None,
    reason: Annotated[str | None, typer.Option(help="Kept with the record.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say yes or no to a use of your data; without a purpose, show what holds."""
    asked = next((one for one in get_args(Purpose) if one == purpose), None)
    if (asked is None) != (purpose is None) or (asked is None) != (grant is None):
        print(f"E_INVALID: give a purpose ({', '.join(get_args(Purpose))}) and --grant or --revoke", file=sys.stderr)
        raise SystemExit(2)

    async def say(services: Services) -> list[ConsentEvent]:
        if asked is None or grant is None:
            return await consent.read(services)
        return await consent.record(services, asked, provider=provider, granted=grant, reason=reason)

    held = run(say)
    lines = [f"{one.purpose} {one.provider}  {'yes' if one.granted else 'no'}  {one.created_at}" for one in held]
    show({"consents": [asdict(one) for one in held]}, "\n".join(lines) or "never asked", as_json=as_json)


@app.command()
def report(as_json: AsJson = False) -> None:
    """Say what is stored and how it is kept."""
    made = run(privacy.report)
    lines = [f"{count:>8}  {table}" for table, count in made.stored.items()]
    lines += [f"consent   {one.purpose} {one.provider} {'yes' if one.granted else 'no'}" for one in made.consents]
    lines += [f"kept      {kind}: {days} days" for kind, days in made.retention.items()]
    lines += [f"key       {made.key.meaning}", f"audit     {made.audit.problem or 'whole'}"]
    lines += [f"plain     {place}" for place in made.not_encrypted]
    show(asdict(made), "\n".join(lines), as_json=as_json)


@app.command()
def export(
    name: Annotated[str | None, typer.Argument(help="A file name; it goes to LYRA_HOME/exports/USER.")] = None,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Seal it with LYRA_PASSPHRASE.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write everything as a zip of readable files."""
    done = run(lambda services: exporting.export(services, name=name, encrypt=encrypt))
    show(asdict(done), f"{done.path}  {done.size_bytes} bytes, {sum(done.rows.values())} rows", as_json=as_json)


@app.command("open")
def open_(
    file: File, target: Annotated[Path, typer.Argument(help="Where the zip goes.")], as_json: AsJson = False
) -> None:
    """Open a sealed export with its passphrase."""
    passphrase = ask_passphrase("Passphrase of the export")
    with refusing():
        size = open_sealed(file, target, passphrase)
    show({"path": target, "size_bytes": size}, f"{target}  {size} bytes", as_json=as_json)


@app.command()
def erase(yes: Yes = False, as_json: AsJson = False) -> None:
    """Erase everything for ever, with the key of all backups; other programs that use Lyra must be closed."""
    planned = run(erasing.plan)
    rows = sum(count for table, count in planned.erased.items() if table != "files")
    agree(f"Erase {rows} rows, {planned.erased['files']} files and {len(planned.stale_models)} models?", yes=yes)
    done = run(erasing.erase)
    lines = [f"erased {rows} rows and {done.erased['files']} files"]
    lines += [f"gone with them: version {one.version}, trained on {one.samples} reviews" for one in done.stale_models]
    show(asdict(done), "\n".join([*lines, *(f"not reached: {place}" for place in done.not_reached)]), as_json=as_json)


@app.command()
def audit(as_json: AsJson = False) -> None:
    """Print what was done with the data, and check that the record is whole; the exit code is 1 where it is not."""
    verdict, entries = run(auditing.check)
    lines = [f"{one.seq:>5}  {one.created_at}  {one.actor}  {one.event}  {one.detail}" for one in entries]
    lines.append(f"whole, {verdict.entries} entries" if verdict.valid else f"not whole: {verdict.problem}")
    show({**asdict(verdict), "events": [asdict(one) for one in entries]}, "\n".join(lines), as_json=as_json)
    if not verdict.valid:
        raise SystemExit(1)


@app.command()
def backup(file: File, as_json: AsJson = False) -> None:
    """Copy the database as it is, encrypted; restoring it needs the key of this home, or an exported one."""
    done = run(lambda services: backups.back_up(services, file))
    show(asdict(done), f"{done.path}  {done.size_bytes} bytes", as_json=as_json)


@app.command()
def restore(file: File, yes: Yes = False, as_json: AsJson = False) -> None:
    """Put a backup in the place of the database; what came after it is lost."""
    agree(f"Put {file} in the place of the database?", yes=yes)
    done = run(lambda services: backups.restore(services, file))
    shown = {"user": done.user, "created_at": done.created_at}
    show(shown, f"restored: as of {done.created_at}", as_json=as_json)


def _read(text: str) -> str:
    return sys.stdin.read() if text == "-" else text
