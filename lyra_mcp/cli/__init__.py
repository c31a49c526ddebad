"""The command line: another face of the same operations."""

from lyra_mcp.cli.commands import app

__all__ = ["app"]
