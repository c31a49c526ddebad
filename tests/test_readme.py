"""What the README names exists, and what a newcomer needs is named there."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lyra_mcp.cli import app
from lyra_mcp.settings import Settings
from lyra_mcp.tools import find_tools

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def _first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_tools_are_the_ones_the_server_lists():
    assert sorted(_first_column(_section("Tools"))) == [tool.name for tool in find_tools("full")]


def test_the_settings_are_the_ones_that_are_read():
    variables = {f"LYRA_{name.upper()}" for name in Settings.model_fields}
    assert set(_first_column(_section("Settings"))) == variables
    assert set(re.findall(r"\bLYRA_[A-Z_]+\b", README)) == variables


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, str | int | float) and field.default is not False
    ],
)
def test_a_default_in_the_table_is_the_default(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| `LYRA_{name.upper()}` |"))
    shown = row.split("|")[2].strip().strip("`")
    default = Settings.model_fields[name].default
    assert shown == ("on" if default is True else f"{default:g}" if isinstance(default, float) else str(default))


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_command_exists():
    commands = {command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"lyra-mcp ([a-z]+)", README)) == commands


def _leaves(command: Any, *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, below in getattr(command, "commands", {}).items():
        yield from _leaves(below, *above, name)
    if not hasattr(command, "commands"):
        yield above, command


COMMANDS = dict(_leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_row_of_its_group_and_takes_json(names):
    rows = [line for line in _section("Commands").splitlines() if line.startswith(f"| `lyra-mcp {names[0]}` |")]
    [row] = rows
    assert all(re.search(rf"`{name}\b", row) for name in names[1:2])
    takes_json = any("--json" in parameter.opts for parameter in COMMANDS[names].params)
    assert takes_json != (names in {("serve",), ("assistant", "start")})


def test_every_document_is_listed():
    listed = set(re.findall(r"\(docs/([^)]+\.md)\)", _section("Documents")))
    assert listed == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_file_in_the_layout_exists():
    [tree] = [block for block in _blocks("text") if block.startswith("schema/")]
    folder = ROOT
    for line in tree.splitlines():
        path, sentence = line.split(maxsplit=1)
        assert sentence
        folder = folder if line.startswith("  ") else ROOT / path
        place = folder / path if line.startswith("  ") else ROOT / path
        assert place.is_dir() if path.endswith("/") else place.is_file(), place


def test_every_folder_of_the_packages_is_in_the_layout():
    [tree] = [block for block in _blocks("text") if block.startswith("schema/")]
    named = {line.split()[0].split("/")[0] for line in tree.splitlines()}
    folders = {
        path.parent.relative_to(ROOT).parts[-1]
        for package in ("schema", "lyra_mcp", "ml_worker")
        for path in (ROOT / package).glob("*/*.py")
    }
    assert folders <= named


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_snippets_can_be_read_by_the_programs_they_are_for():
    desktop, vs_code = map(json.loads, _blocks("json"))
    [codex] = map(tomllib.loads, _blocks("toml"))
    command = desktop["mcpServers"]["lyra"]
    assert vs_code == {"servers": {"lyra": {"type": "stdio", **command}}}
    assert codex == {"mcp_servers": {"lyra": command}}
    assert " ".join([command["command"], *command["args"]]) in README.split("claude mcp add lyra -- ")[1]


def test_the_first_screen_says_what_it_is_and_the_two_commands():
    first_screen = "\n".join(README.splitlines()[:14])
    assert "learns from being corrected" in first_screen
    assert "make demo" in first_screen
    assert "make test" in first_screen
