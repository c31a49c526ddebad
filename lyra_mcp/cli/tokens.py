"""`lyra-mcp token`: who may ask over HTTP."""

import json
import sys
from typing import Annotated, Any

import typer

from lyra_mcp.cli.configuration import read_settings, refusing
from lyra_mcp.cli.running import AsJson, run
from lyra_mcp.domain.roles import ROLES, Role
from lyra_mcp.operations.tokens import give_out, list_tokens, take_back
from lyra_mcp.storage.tokens import FILE, Token

app = typer.Typer(help="Tokens for `serve --http`.", no_args_is_help=True)


@app.command()
def add(
    user: Annotated[str, typer.Option(help="Whose data it opens; the local user's name opens your own.")],
    role: Annotated[Role, typer.Option(help=f"What it may do: {', '.join(ROLES)}.")],
    days: Annotated[int | None, typer.Option(min=1, max=3_650, help="It expires after so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it once; only its digest is kept."""
    token, secret = run(lambda services: give_out(services, user=user, role=role, days=days))
    if as_json:
        print(json.dumps({**_facts(token), "token": secret}))
        return
    print(secret)
    print(f"token {token.token_id} of {user}, {role}; it is shown this once, keep it safe", file=sys.stderr)


@app.command(name="list")
def list_all(as_json: AsJson = False) -> None:
    """List tokens, without themselves."""
    with refusing():
        tokens = list_tokens(read_settings())
    if as_json:
        print(json.dumps({"tokens": [_facts(token) for token in tokens]}))
        return
    for token in tokens:
        expires = "never" if token.expires_at is None else f"{token.expires_at:%Y-%m-%d}"
        print(f"{token.token_id}  {token.role:7}  expires {expires:10}  {token.user}")
    if not tokens:
        print(f"no tokens; while {FILE} exists, serve --http asks for one all the same", file=sys.stderr)


@app.command()
def revoke(token_id: str, as_json: AsJson = False) -> None:
    """Refuse a token from now on, also in a server that runs."""
    token = run(lambda services: take_back(services, token_id))
    print(json.dumps({"revoked": _facts(token)}) if as_json else f"revoked {token.token_id} of {token.user}")


def _facts(token: Token) -> dict[str, Any]:
    return token.model_dump(mode="json", exclude={"sha256"})
