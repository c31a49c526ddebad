"""What tools/list promises: names, hints, schemas, size. Every change of it is a diff of tests/golden/tools.json."""

import inspect
import json
import re
from importlib import import_module
from pkgutil import iter_modules

import pytest

from lyra_mcp import tools as package
from lyra_mcp.tools import find_tools

CORE_BYTES_MAX = 24_000
NAME = re.compile(r"[a-z0-9_]{1,40}")
MODULES = sorted(module.name for module in iter_modules(package.__path__) if not module.name.startswith("_"))
TOOLS = {tool.name: tool for tool in find_tools("full")}
BOUNDS = {"description", "enum", "const", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems"}


async def listed(connect):
    async with connect() as agent:
        result = await agent.client.list_tools()
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in result.tools]


async def test_the_golden_file_equals_tools_list(connect, golden):
    actual = await listed(connect)

    assert actual == golden("tools.json", actual)


async def test_the_core_fits_into_24_kb(connect):
    written = json.dumps({"tools": await listed(connect)}, ensure_ascii=False, separators=(",", ":"))

    assert len(written.encode()) < CORE_BYTES_MAX


@pytest.mark.parametrize("name", MODULES)
def test_file_function_and_tool_have_one_name(name):
    function = getattr(import_module(f"lyra_mcp.tools.{name}"), name)

    assert NAME.fullmatch(name)
    assert inspect.iscoroutinefunction(function)
    assert TOOLS[name].fn.__name__ == name
    assert inspect.getdoc(function)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_all_four_hints_are_explicit(tool):
    hints = tool.annotations
    assert {hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint} <= {True, False}
    assert not (hints.read_only_hint and hints.destructive_hint)
    assert tool.title


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_arguments_are_one_strict_object(tool):
    schema = tool.parameters

    assert schema["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & set(schema), "several clients cannot read a union at the top"
    objects = [schema, *(part for part in schema.get("$defs", {}).values() if part["type"] == "object")]
    assert all(part["additionalProperties"] is False for part in objects)


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_every_parameter_is_described_or_bounded(tool):
    schema = tool.parameters
    definitions = schema.get("$defs", {})
    owners = {tool.name: schema, **{name: part for name, part in definitions.items() if "properties" in part}}

    open_ended = [
        f"{owner}.{name}"
        for owner, part in owners.items()
        for name, parameter in part.get("properties", {}).items()
        if not _is_bounded(parameter, definitions)
    ]

    assert open_ended == []


def _is_bounded(parameter, definitions):
    options = [parameter, *parameter.get("anyOf", [])]
    options += [option["items"] for option in options if "items" in option]
    options += [definitions[option["$ref"].rpartition("/")[2]] for option in options if "$ref" in option]
    return any(BOUNDS & set(option) or option.get("type") == "boolean" for option in options)


async def test_a_dotted_name_means_the_action_and_is_not_listed(connect):
    async with connect() as agent:
        edge_id = await agent.add_edge()

        by_dot = await agent.call("feedback.edge_correct", edge_id=edge_id, correct_label="refutes")
        stats = await agent.call("calibration_metrics.get_stats")

        assert (by_dot["action"], stats["action"], stats["reviews_total"]) == ("edge_correct", "get_stats", 1)
    assert not any("." in tool["name"] for tool in await listed(connect))


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("feedback.edge_correct", {"action": "edge_retract", "edge_id": "e"}, "leave out action"),
        ("feedback.nonsense", {}, "action: "),
        ("judge.all", {"pairs": [{"premise": "a", "hypothesis": "b"}]}, "action: "),
        ("nonsense.action", {}, "E_NOT_FOUND: no tool 'nonsense'; tools/list"),
        ("nonsense", {}, "E_NOT_FOUND: no tool 'nonsense'; tools/list"),
    ],
)
async def test_a_name_that_means_nothing_is_refused(connect, name, arguments, said):
    async with connect() as agent:
        assert said in await agent.refused(name, **arguments)


async def test_a_tool_of_the_other_profile_is_refused_with_the_setting_that_lists_it(connect, settings):
    assert settings.tools == "core"
    async with connect() as agent:
        assert "LYRA_TOOLS=full" in await agent.refused("preferences", action="get")


async def test_the_text_of_an_answer_is_its_structure_without_blanks_to_pay_for(connect):
    async with connect() as agent:
        answer = await agent.client.call_tool("server_status", {})

    [block] = answer.content
    assert json.loads(block.text) == answer.structured_content
    assert "\n" not in block.text


async def test_the_instructions_name_only_tools_there_are(connect):
    async with connect() as agent:
        instructions = agent.client.instructions
    assert set(re.findall(r"([a-z_]+)\(", instructions)) <= set(TOOLS)
