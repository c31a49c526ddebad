"""`lyra-mcp intent import`: many labelled examples at once, from a file of JSON lines."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.progress import Progress

from lyra_mcp.cli.configuration import refusing
from lyra_mcp.cli.running import AsJson, run
from lyra_mcp.domain.intents import UNKNOWN, NewExample
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.intents import add_examples
from lyra_mcp.operations.services import Services
from schema.wire import IntentName, Text

app = typer.Typer(help="Teach the intent classifier.", no_args_is_help=True)

#: Written in one transaction.
LINES_AT_ONCE = 500
#: Broken lines that are named.
NAMED_MAX = 20


class Line(BaseModel):
    """What each line of the file holds; other names in it are passed over."""

    model_config = ConfigDict(extra="ignore")

    text: Text
    intent: IntentName
    response: Text | None = None
    rating: Annotated[int, Field(ge=1, le=5, strict=True)] | None = None


@dataclass(frozen=True)
class Imported:
    new: int
    known: int
    #: Number of the line, from 1, and what is wrong with it; the text is not repeated.
    broken: dict[int, str]


@app.callback()
def _group() -> None:
    """Keeps `import` a command of its own, although it is the only one."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="One JSON object a line: text, intent, and maybe response, rating.")],
    as_json: AsJson = False,
) -> None:
    """Add the examples of a file; what is known already is not added twice. Exit code 1 where a line is broken."""
    with refusing():
        lines = _lines_of(file)
    outcome = run(lambda services: _import(services, file.name, lines, quiet=as_json))
    if as_json:
        print(json.dumps(asdict(outcome)))
    else:
        print(f"{outcome.new} new, {outcome.known} known already, {len(outcome.broken)} broken lines")
        for number, problem in list(outcome.broken.items())[:NAMED_MAX]:
            print(f"line {number}: {problem}")
    if outcome.broken:
        raise SystemExit(1)


def _lines_of(file: Path) -> list[bytes]:
    """
    Raises:
        Invalid: the file cannot be read.
    """
    try:
        return file.read_bytes().splitlines()
    except OSError as error:
        raise Invalid(f"{file} cannot be read ({error.strerror}); name a file of JSON lines") from error


async def _import(services: Services, name: str, lines: list[bytes], *, quiet: bool) -> Imported:
    broken: dict[int, str] = {}
    new = 0
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bar:
        for start in bar.track(range(0, len(lines), LINES_AT_ONCE), description=name):
            numbered = enumerate(lines[start : start + LINES_AT_ONCE], start=start + 1)
            examples = [example for number, line in numbered if (example := _read(line, number, broken)) is not None]
            new += await add_examples(services, examples)
    filled = sum(bool(line.strip()) for line in lines)
    return Imported(new, filled - new - len(broken), broken)


def _read(line: bytes, number: int, broken: dict[int, str]) -> NewExample | None:
    if not line.strip():
        return None
    try:
        found = Line.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        broken[number] = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        return None
    if found.intent.casefold() == UNKNOWN:
        broken[number] = f"intent: {UNKNOWN!r} is an answer, not an intent"
        return None
    if found.rating is not None and found.response is None:
        broken[number] = "rating: there is no response to rate"
        return None
    return NewExample(found.text, found.intent.strip(), found.response, found.rating)
