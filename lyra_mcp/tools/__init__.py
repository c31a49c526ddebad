"""One file for each MCP tool. This module finds them and makes their arguments strict.

A tool's module is named like its function, which is named like the tool. It holds `TITLE`, `ANNOTATIONS` (all four
hints), `PROFILE` (`core` or `full`), a pydantic result, and one async function whose docstring is what the agent reads.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from mcp.server.mcpserver.tools import Tool
from pydantic import ConfigDict

Profile = Literal["core", "full"]


def find_tools(profile: Profile) -> list[Tool]:
    """The tools a profile lists, in the order of their names."""
    names = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    modules = [import_module(f"{__name__}.{name}") for name in names]
    return [
        _strict(
            Tool.from_function(
                getattr(module, name), title=module.TITLE, annotations=module.ANNOTATIONS, structured_output=True
            )
        )
        for name, module in zip(names, modules, strict=True)
        if module.PROFILE == "core" or profile == "full"
    ]


def _strict(tool: Tool) -> Tool:
    """Refuse unknown arguments: dropped silently, a misspelt one would be a wrong label."""

    class StrictArguments(tool.fn_metadata.arg_model):  # type: ignore[misc, name-defined]  # built by the SDK at run time
        model_config = ConfigDict(extra="forbid")

    tool.fn_metadata.arg_model = StrictArguments
    tool.parameters = StrictArguments.model_json_schema(by_alias=True)
    tool.parameters["title"] = f"{tool.name}Arguments"
    return tool
