"""`lyra-mcp models`: which NLI models there are, what they are, fetch one, choose one."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from lyra_mcp.cli.configuration import read_settings, refusing, write_setting
from lyra_mcp.cli.model_facts import BUILTIN, CONFIG, check_pulled, kind_of, read_builtin_facts, read_facts, read_json
from lyra_mcp.cli.model_list import Row, find_model, is_model, list_models
from lyra_mcp.cli.running import AsJson
from lyra_mcp.errors import Invalid, NotFound, Unavailable
from lyra_mcp.worker_client.spawn import Command, check_installed
from schema.pulled_models import NAME_PATTERN, PULL_LINE, PullDone, PullFailed, PullProgress

app = typer.Typer(help="List, inspect, fetch and choose NLI models.", no_args_is_help=True)

#: `-P`: as for the worker, modules of the current folder must not take the place of ours.
PULLER = Command((sys.executable, "-P", "-m", "ml_worker.pull"), requires=("huggingface_hub", "safetensors"))
WIDTH_MIN = 130


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Say which models there are, how good they are and who says so, and which is in use."""
    settings = read_settings()
    with refusing():
        rows = list_models(settings.models_root, settings.nli_model)
    if as_json:
        print(json.dumps({"models": [asdict(row) for row in rows]}))
    else:
        console = Console()
        console.width = max(console.width, WIDTH_MIN)
        console.print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table("", box=None)
    table.add_column("model", no_wrap=True)
    for heading in ("where", "size", "licence", "languages", "accuracy in %", "measured by"):
        table.add_column(heading)
    for row in rows:
        size = "?" if row.size_bytes is None else f"{row.size_bytes / 1e6:.0f} MB"
        mark = "*" if row.in_use else ""
        known = (row.licence or "?", row.languages or "?", row.scores or "not measured", row.scores_source or "")
        table.add_row(mark, row.name, row.place, size, *known)
    table.caption = "* in use; models in `hub` are fetched by `lyra-mcp models pull NAME`"
    return table


@app.command()
def inspect(
    name: Annotated[str, typer.Argument(help="builtin, a pulled or cached model, or a folder.")],
    as_json: AsJson = False,
) -> None:
    """Say what a model is, from its configuration and the headers of its weights; it is not loaded."""
    settings = read_settings()
    with refusing():
        facts = _facts(name, settings.models_root)
    if as_json:
        print(json.dumps(facts))
    else:
        for fact, value in facts.items():
            print(f"{fact:<18}{value if isinstance(value, str | int | float) else json.dumps(value)}")


def _facts(name: str, models_root: Path) -> dict[str, Any]:
    if name == BUILTIN:
        return {"name": BUILTIN, "place": "shipped", **read_builtin_facts()}
    if (found := find_model(name, models_root)) is None:
        raise _absent(name)
    place, folder = found
    return {"name": name, "place": place, "folder": str(folder), **read_facts(folder)}


def _absent(name: str) -> NotFound:
    return NotFound(
        f"there is no model {name!r} here; run `lyra-mcp models pull {name}`, or name a folder with config.json, "
        "tokenizer and model.safetensors"
    )


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Its name on the hub: owner/model.")],
    revision: Annotated[str | None, typer.Option(help="A commit, branch or tag; default: the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a model from the hub, check every byte, and keep it under LYRA_HOME; run again after a break."""
    settings = read_settings()
    with refusing():
        if not re.fullmatch(NAME_PATTERN, name):
            raise Invalid(f"{name!r} is no name of a model on the hub; write owner/model")
        check_installed(PULLER)
        done = _pull(name, settings.models_root, revision, quiet=as_json)
    if as_json:
        print(done.model_dump_json(exclude={"event"}))
    else:
        size = sum(file.size_bytes for file in done.model.files.values())
        print(
            f"{'pulled' if done.downloaded else 'already here:'} {name} at {done.model.revision}, {size / 1e6:.0f} MB"
        )
        print(f"in     {done.folder}")
        print(f"now    lyra-mcp models use {name}")


def _pull(name: str, root: Path, revision: str | None, *, quiet: bool) -> PullDone:
    arguments = [f"--name={name}", f"--root={root}", *([f"--revision={revision}"] if revision else [])]
    environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    last: PullDone | PullFailed | None = None
    with (
        _bar(name, quiet=quiet) as bar,
        subprocess.Popen(  # noqa: S603 - the command is ours, no shell reads it
            [*PULLER.argv, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        for text in process.stdout:
            line = PULL_LINE.validate_json(text)
            if isinstance(line, PullProgress):
                bar.update(bar.task_ids[0], completed=line.done_bytes, total=line.total_bytes)
            else:
                last = line
        words = process.stderr.read().strip()
    if isinstance(last, PullDone):
        return last
    if isinstance(last, PullFailed):
        raise Unavailable(last.problem)
    raise Unavailable(f"the download ended without a word ({words[-300:] or 'killed'}); pull again")


def _bar(name: str, *, quiet: bool) -> Progress:
    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)
    bar.add_task(name, total=None)
    return bar


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="builtin, a pulled or cached model, or a folder.")],
    as_json: AsJson = False,
) -> None:
    """Choose the model that judges from the next start of the server on; `builtin` goes back."""
    settings = read_settings()
    with refusing():
        chosen = _choose(name, settings.models_root)
        write_setting(settings.home, "nli_model", None if chosen == BUILTIN else chosen)
    now = read_settings().nli_model
    if as_json:
        print(json.dumps({"chosen": chosen, "in_use": now, "environment_wins": now != chosen}))
    elif now != chosen:
        print(f"chosen {chosen}, but LYRA_NLI_MODEL says {now!r} and wins; unset it")
    else:
        print(f"chosen {chosen}; restart the server (your host starts it again). Adapters belong to one base.")


def _choose(name: str, models_root: Path) -> str:
    """What to write down: folders in full, models by name.

    Raises:
        NotFound, Invalid: it is not here, not whole, or no NLI model.
    """
    if name == BUILTIN:
        return name
    if (found := find_model(name, models_root)) is None:
        raise _absent(name)
    place, folder = found
    if not is_model(folder):
        raise Invalid(f"{folder} has no config.json with safetensors weights; name the folder of a model")
    check_pulled(folder)
    if (kind := kind_of(read_json(folder / CONFIG))) != "nli":
        raise Invalid(f"{name} is a model of the kind {kind!r}; choose one with entailment, contradiction and neutral")
    return str(folder) if place == "folder" else name
