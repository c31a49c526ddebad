"""`lyra-mcp privacy retention`: how long memories of each kind are kept."""

import sys
from typing import Annotated, get_args

import typer

from lyra_mcp.cli.running import AsJson, run, show
from lyra_mcp.operations import retention
from schema.vocabulary import MemoryKind

app = typer.Typer(help="How long memories are kept.", no_args_is_help=True)

Kind = Annotated[str, typer.Option(help=" | ".join(get_args(MemoryKind)))]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the rules; a kind without one is kept for ever."""
    _show(run(retention.read_rules), as_json=as_json)


@app.command("set")
def set_(
    kind: Kind,
    days: Annotated[int, typer.Option(min=1, help="Older ones are forgotten, every day.")],
    as_json: AsJson = False,
) -> None:
    """Keep memories of a kind for so many days."""
    _show(run(lambda services: retention.set_rule(services, _kind(kind), days)), as_json=as_json)


@app.command()
def remove(kind: Kind, as_json: AsJson = False) -> None:
    """Keep memories of a kind for ever again."""
    _show(run(lambda services: retention.set_rule(services, _kind(kind), None)), as_json=as_json)


@app.command()
def apply(as_json: AsJson = False) -> None:
    """Forget now what is too old."""
    forgotten = run(retention.apply)
    lines = [f"{kind}: {count} forgotten" for kind, count in forgotten.items()]
    show({"forgotten": forgotten}, "\n".join(lines) or "nothing is too old", as_json=as_json)


def _kind(written: str) -> MemoryKind:
    for kind in get_args(MemoryKind):
        if kind == written:
            known: MemoryKind = kind
            return known
    print(f"E_INVALID: no kind {written!r}; there are {', '.join(get_args(MemoryKind))}", file=sys.stderr)
    raise SystemExit(2)


def _show(rules: dict[MemoryKind, int], *, as_json: bool) -> None:
    lines = [f"{kind}: {days} days" for kind, days in rules.items()]
    show({"rules": rules}, "\n".join(lines) or "everything is kept for ever", as_json=as_json)
