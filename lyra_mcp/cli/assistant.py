"""`lyra-mcp assistant`: talk to a model that knows what is remembered, see the numbers, move conversations."""

import json
import logging
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lyra_mcp.assistant.background import Background
from lyra_mcp.cli.assistant_chat import Chat
from lyra_mcp.cli.configuration import read_settings, refusing
from lyra_mcp.cli.running import AsJson, run, unlocked
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.assistant import MIN_RATING, THRESHOLD, AssistantStatus, read_assistant_status
from lyra_mcp.operations.conversation_exports import Exported, ExportForm, export_conversations
from lyra_mcp.operations.conversation_imports import ImportReport, import_conversations
from lyra_mcp.operations.services import Services, build_services
from lyra_mcp.providers.chat import LOCAL_URL, ChatEndpoint
from lyra_mcp.storage.conversation_files import ConversationFile

app = typer.Typer(help="Talk to your assistant, and keep its conversations.", no_args_is_help=True)

SKIPPED_SHOWN = 20
INTERRUPTED = 130

Threshold = Annotated[int, typer.Option(min=1, help="Well rated exchanges from which a training is proposed.")]
MinRating = Annotated[int, typer.Option(min=1, max=5, help="Rating from which an exchange counts as well rated.")]


@app.command()
def start(
    model: Annotated[str, typer.Option("--model", "-m", help="The model's name, as its server knows it.")],
    base_url: Annotated[str, typer.Option(help="Any OpenAI-compatible address; default: Ollama here.")] = LOCAL_URL,
    key_variable: Annotated[
        str | None, typer.Option(help="The variable with the key; default: OPENAI_API_KEY for OpenAI, none for others.")
    ] = None,
    context: Annotated[bool, typer.Option(help="Give the model what is remembered.")] = True,
    threshold: Threshold = THRESHOLD,
    min_rating: MinRating = MIN_RATING,
) -> None:
    """Talk in the terminal: answers stream, are kept, and can be rated; `exit`, Ctrl-D or Ctrl-C ends it."""
    # What waits for the worker is the server's business, and `lyra-mcp status` tells it; here somebody is talking.
    logging.getLogger("lyra_mcp").setLevel(logging.ERROR)
    settings = unlocked(read_settings())
    try:
        with refusing():
            endpoint = ChatEndpoint(base_url=base_url, model=model, key=_read_key(base_url, key_variable))
            with Background(lambda settings: replace(build_services(settings), actor="cli")) as background:
                Chat(background, settings, endpoint, with_context=context, limits=(threshold, min_rating)).run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _read_key(base_url: str, variable: str | None) -> str | None:
    """A key goes to the server it was made for, and to no other unless the person says so.

    Raises:
        Invalid: the variable is not set.
    """
    if variable is None and not base_url.startswith("https://api.openai.com/"):
        return None
    name = variable or "OPENAI_API_KEY"
    if key := os.environ.get(name):
        return key
    raise Invalid(f"the variable {name} holds no key; set it, or name another with --key-variable")


@app.command()
def status(threshold: Threshold = THRESHOLD, min_rating: MinRating = MIN_RATING, as_json: AsJson = False) -> None:
    """Say how many conversations there are, how they were rated, and whether a training is proposed."""

    async def read(services: Services) -> AssistantStatus:
        return await read_assistant_status(services, threshold=threshold, min_rating=min_rating)

    found = run(read)
    if as_json:
        print(json.dumps(asdict(found)))
        return
    print(f"total         {found.total}")
    print(f"rated         {found.rated}")
    print(f"high_rated    {found.high_rated} (rated {found.min_rating} or better)")
    print(f"ready_for_ft  {found.ready_for_ft} of {found.threshold}")
    if found.proposal is None:
        print("proposal      none")
    else:
        proposal = found.proposal
        print(
            f"proposal      {proposal.conversations} conversations, {proposal.created_at[:10]}, {proposal.proposal_id}"
        )
        print("              (this version cannot train a chat model yet; nothing was started)")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An export of Claude or ChatGPT, zip or JSON, or a file of JSON lines.")],
    as_json: AsJson = False,
) -> None:
    """Take in conversations of another program; what is there already is left alone, so run it again after a break."""
    report = ImportReport()
    columns = (
        TextColumn(file.name),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty())

    async def take_in(services: Services) -> ImportReport:
        opened = ConversationFile(file)
        task = bar.add_task(file.name, total=opened.total_bytes, said="")

        def show(done_bytes: int, so_far: ImportReport) -> None:
            bar.update(task, completed=done_bytes, said=f"{so_far.imported} new")

        return await import_conversations(services, opened, on_progress=show, report=report)

    try:
        with bar:
            run(take_in)
    except KeyboardInterrupt:
        _print_import(report, as_json=as_json, is_whole=False)
        raise SystemExit(INTERRUPTED) from None
    except SystemExit:
        _print_import(report, as_json=as_json, is_whole=False)
        raise
    _print_import(report, as_json=as_json, is_whole=True)


def _print_import(report: ImportReport, *, as_json: bool, is_whole: bool) -> None:
    if as_json:
        print(json.dumps({"complete": is_whole, **asdict(report)}))
        return
    print(f"imported       {report.imported}{'' if is_whole else ' so far; run it again for the rest'}")
    print(f"already there  {report.already_there}")
    print(f"skipped        {len(report.skipped)}")
    for skipped in report.skipped[:SKIPPED_SHOWN]:
        print(f"               {skipped.place}: {skipped.reason}")
    if len(report.skipped) > SKIPPED_SHOWN:
        print(f"               ... and {len(report.skipped) - SKIPPED_SHOWN} more; --json lists them all")
    if report.mended:
        first = report.mended[0]
        print(f"mended         {len(report.mended)} records with characters that cannot be kept, from {first} on")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write; it appears when all of it is there.")],
    form: Annotated[ExportForm, typer.Option("--format", help="JSON lines can be imported again.")] = "jsonl",
    verbatim: Annotated[
        bool, typer.Option("--verbatim", help="Do not put tags in the place of personal data.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all conversations to a file; personal data are replaced by tags unless --verbatim says otherwise."""

    async def write(services: Services) -> Exported:
        return await export_conversations(services, file, form=form, is_verbatim=verbatim, overwrite=overwrite)

    done = run(write)
    if as_json:
        print(json.dumps({"file": str(file), "format": form, **asdict(done)}))
    else:
        print(f"wrote {done.exported} conversations to {file}, {done.redacted} with personal data replaced by tags")
