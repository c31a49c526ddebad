"""`docs/privacy.md`: its commands are run as a reader would, it says where each table goes, and says what is true."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lyra_mcp.cli import app
from lyra_mcp.storage.tables import EXPORTED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_the_map_of_an_export_is_the_one_that_is_written():
    rows = re.findall(r"^\| `([\w/{}.]+\.json)` \| (.+) \|$", PAGE, flags=re.MULTILINE)

    shown = {table: place for place, tables in rows for table in re.findall(r"`(\w+)`", tables)}

    assert shown == EXPORTED


@pytest.fixture(name="run")
def _run(tmp_path):
    """Run a command of the page in a home of its own; without a terminal the passphrase is the environment's."""
    clean = {name: None for name in os.environ if name.startswith("LYRA_")}
    home = {
        "HOME": str(tmp_path),
        "LYRA_PASSPHRASE": "a long passphrase",
        "LYRA_RUNTIME_DIR": str(tmp_path / "run"),
        "LYRA_KEY_SOURCE": "file",
    }
    for name in ("safe", "backups"):
        (tmp_path / name).mkdir()

    def run(command: str, *more: str, typed: str = "", code: int = 0, machine: str = "home") -> str:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "lyra-mcp"
        expanded = [str(tmp_path / one[2:]) if one.startswith("~/") else one for one in arguments]
        environment = {**clean, **home, "LYRA_HOME": str(tmp_path / machine)}
        done = CliRunner().invoke(app, [*expanded, *more], env=environment, input=typed)
        assert done.exit_code == code, (command, done.output, done.exception)
        return done.stdout + done.stderr

    return run


def _first(beginning: str) -> str:
    return next(command for command in COMMANDS if command.startswith(f"lyra-mcp {beginning}"))


def test_every_command_does_what_the_page_says(run, tmp_path):
    """In the page's order, but that the backup and the key are there before the erasure; then on another machine."""
    erase = _first("privacy erase")
    said = {}
    for command in sorted(COMMANDS, key=_turn):
        more = ("--yes",) if command == erase or "restore" in command else ()
        if "privacy open" in command:
            (tmp_path / "home/exports/local/sealed.zip").rename(tmp_path / "sealed.zip")
        machine = "another" if "key import" in command or "restore" in command else "home"
        said[shlex.join(shlex.split(command, comments=True)[1:])] = run(command, *more, machine=machine)

    assert len(said) == len(COMMANDS) > 20
    assert said["privacy redact 'Write to ann@example.org'"] == "Write to [REDACTED_EMAIL]\n"
    assert said["privacy pattern list"] == "employee_id  EMP-[0-9]{5}\n"
    assert (tmp_path / "mine.zip").read_bytes()[:2] == b"PK"
    assert "restored: as of" in said["privacy restore '~/backups/lyra.backup'"]
    assert "whole" in said["privacy audit"]


def _turn(command: str) -> int:
    order = ["privacy backup", "key export", "privacy erase", "key import", "privacy restore", "privacy audit"]
    return next((number for number, words in enumerate(order, 1) if f"lyra-mcp {words}" in command), 0)


def test_nothing_is_erased_or_restored_without_a_yes(run):
    run(_first("privacy consent learn_locally --grant"))
    refusal = run(_first("privacy erase"), code=1)
    report = json.loads(run("lyra-mcp privacy report --json"))

    assert "call again with --yes" in refusal
    assert report["stored"]["consent_events"] == 1


def test_a_pattern_of_ones_own_is_used_audited_and_removed(run):
    pattern = _first("privacy pattern add")
    run(pattern)
    found = run("lyra-mcp privacy redact -", typed="I am EMP-12345")
    run(_first("privacy pattern remove"))
    again = run(_first("privacy pattern remove"), code=1)
    broken = run("lyra-mcp privacy pattern add bad '(?<=x)y'", code=1)
    events = [event["event"] for event in json.loads(run("lyra-mcp privacy audit --json"))["events"]]

    assert found.strip() == "I am [REDACTED_EMPLOYEE_ID]"
    assert again.startswith("E_NOT_FOUND: no pattern 'employee_id'")
    assert broken.startswith("E_INVALID: ")
    assert events == ["pattern_set", "pattern_removed"]
