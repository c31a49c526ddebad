"""`lyra-mcp privacy pattern`: what else counts as private in a person's texts."""

from dataclasses import asdict
from typing import Annotated

import typer

from lyra_mcp.cli.running import AsJson, run, show
from lyra_mcp.domain.redaction import UserPattern
from lyra_mcp.operations import redacting

app = typer.Typer(help="Your own patterns of what is private, beside the built-in ones.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Such as employee_id; texts show [REDACTED_EMPLOYEE_ID].")]


@app.command()
def add(
    name: Name,
    pattern: Annotated[str, typer.Argument(help="A regular expression of RE2, such as 'EMP-[0-9]{5}'.")],
    as_json: AsJson = False,
) -> None:
    """Keep a pattern; one of the same name is replaced."""
    kept = run(lambda services: redacting.put_pattern(services, name=name, pattern=pattern))
    _show([kept], as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show your patterns."""
    _show(run(redacting.list_patterns), as_json=as_json)


@app.command()
def remove(name: Name, as_json: AsJson = False) -> None:
    """Look for it no more."""
    run(lambda services: redacting.remove_pattern(services, name))
    show({"removed": name}, f"removed {name}", as_json=as_json)


def _show(patterns: list[UserPattern], *, as_json: bool) -> None:
    lines = [f"{one.name}  {one.pattern}" for one in patterns]
    show(
        {"patterns": [asdict(one) for one in patterns]}, "\n".join(lines) or "no patterns of your own", as_json=as_json
    )
