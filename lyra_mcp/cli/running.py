"""Run one operation from a command: the same services as a server's, errors in words, output as text or JSON."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import typer
from pydantic import SecretStr

from lyra_mcp.cli.configuration import read_settings, refusing
from lyra_mcp.operations.services import Services, build_services, key_store
from lyra_mcp.settings import Settings

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def run(operation: Callable[[Services], Awaitable[T]]) -> T:
    """What the operation gives; exit code 1 and the reason where it is refused."""

    async def within(settings: Settings) -> T:
        services = replace(build_services(settings), actor="cli")
        try:
            return await operation(services)
        finally:
            await services.close()

    # What a command has to say it says itself; warnings are for the log of a server.
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    with refusing():
        return asyncio.run(within(unlocked(read_settings())))


def show(value: Any, text: str, *, as_json: bool) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str) if as_json else text)


def agree(question: str, *, yes: bool) -> None:
    """Exit code 1 unless the person says yes."""
    if not yes and not (sys.stdin.isatty() and typer.confirm(question)):
        print(f"E_CONFIRM: {question} Nothing was changed; call again with --yes", file=sys.stderr)
        raise SystemExit(1)


def ask_passphrase(prompt: str, *, twice: bool = False) -> str:
    """From the environment, else from the person."""
    settings = read_settings()
    if settings.passphrase:
        return settings.passphrase.get_secret_value()
    if not sys.stdin.isatty():
        print("E_INVALID: a passphrase is needed; set LYRA_PASSPHRASE", file=sys.stderr)
        raise SystemExit(2)
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice))


def unlocked(settings: Settings) -> Settings:
    """With the passphrase that the key needs, asked for where the environment does not have it."""
    if settings.passphrase or not sys.stdin.isatty():
        return settings
    source = key_store(settings).source()
    if source == "passphrase" or (source is None and settings.key_source == "passphrase"):
        typed = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=source is None)
        return settings.model_copy(update={"passphrase": SecretStr(typed)})
    return settings
