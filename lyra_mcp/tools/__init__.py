"""One file for each MCP tool. This module finds them and makes their arguments strict.

A tool's module is named like its function, which is named like the tool. It holds `TITLE`, `ANNOTATIONS` (all four
hints), `PROFILE` (`core` or `full`), a pydantic result, and one async function whose docstring is what the agent reads.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal

from mcp.server.mcpserver.tools import Tool
from pydantic import ConfigDict

Profile = Literal["core", "full"]


@cache
def find_tools(profile: Profile) -> tuple[Tool, ...]:
    """The tools a profile lists, in the order of their names; their schemas take a third of a second to make."""
    names = tool_names(profile)
    modules = [import_module(f"{__name__}.{name}") for name in names]
    return tuple(
        _strict(
            Tool.from_function(
                getattr(module, name), title=module.TITLE, annotations=module.ANNOTATIONS, structured_output=True
            )
        )
        for name, module in zip(names, modules, strict=True)
    )


def tool_names(profile: Profile) -> list[str]:
    names = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return [name for name in names if profile == "full" or import_module(f"{__name__}.{name}").PROFILE == "core"]


def split_name(name: str) -> tuple[str, str]:
    """`tool.action` means the tool with that action; without a dot the action is empty."""
    tool, _, action = name.partition(".")
    return tool, action


def _strict(tool: Tool) -> Tool:
    """Refuse unknown arguments: dropped silently, a misspelt one would be a wrong label."""

    class StrictArguments(tool.fn_metadata.arg_model):  # type: ignore[misc, name-defined]  # built by the SDK at run time
        model_config = ConfigDict(extra="forbid")

    tool.fn_metadata.arg_model = StrictArguments
    tool.parameters = _without_titles(StrictArguments.model_json_schema(by_alias=True))
    assert tool.fn_metadata.output_schema is not None
    tool.fn_metadata.output_schema = _outline(tool.fn_metadata.output_schema)
    return tool


def _without_titles(schema: Any) -> Any:
    """Drop what says nothing, titles made of names and defaults of null: an agent pays for every word of tools/list."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else _without_titles(value)
        for key, value in schema.items()
        if key != "title" and (key, value) != ("default", None)
    }


def _outline(schema: dict[str, Any]) -> dict[str, Any]:
    """The top level of a result's schema. Agents never see it; the whole stands in the tool's file."""
    properties = {name: _kind(part, schema.get("$defs", {})) for name, part in schema["properties"].items()}
    return {"type": "object", "properties": properties, "required": schema.get("required", [])}


def _kind(part: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    options = [
        definitions.get(option.get("$ref", "").rpartition("/")[2], option) for option in part.get("anyOf", [part])
    ]
    kinds = list(dict.fromkeys(option["type"] for option in options))
    return {"type": kinds[0] if len(kinds) == 1 else kinds}
