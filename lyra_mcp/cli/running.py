"""Runs an operation for a command, and says an error in words: exit code 1."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer

from lyra_mcp.cli.configuration import read_settings
from lyra_mcp.errors import LyraError
from lyra_mcp.operations.services import Services, build_services

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@contextmanager
def errors_in_words() -> Iterator[None]:
    try:
        yield
    except LyraError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error


def run_operation(operation: Callable[[Services], Awaitable[T]]) -> T:
    async def run() -> T:
        services = build_services(read_settings())
        try:
            return await operation(services)
        finally:
            await services.close()

    with errors_in_words():
        return asyncio.run(run())
