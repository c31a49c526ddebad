"""The command line as a person runs it: a process, its output, its exit code."""

import asyncio
import json
import os
import sys
from importlib.metadata import version

import pytest


@pytest.fixture
def lyra_mcp(tmp_path):
    """Run `lyra-mcp` with some settings: (exit code, standard output, standard error)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LYRA_")}
    home = {"LYRA_HOME": str(tmp_path / "home"), "LYRA_RUNTIME_DIR": str(tmp_path / "run"), "LYRA_KEY_SOURCE": "file"}

    async def run(*arguments, **settings):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lyra_mcp",
            *arguments,
            env={**inherited, **home, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    return run


async def test_the_status_is_json_for_programs(lyra_mcp):
    code, output, errors = await lyra_mcp("status", "--json")

    status = json.loads(output)
    assert (code, errors, status["version"]) == (0, "", version("lyra-mcp"))
    assert (status["worker"]["state"], status["worker"]["models"]) == (
        "stopped",
        {"nli": "builtin", "embedding": "builtin"},
    )
    assert {**status["database"], "size_bytes": 0, "schema_version": 0} == {
        "state": "open",
        "schema_version": 0,
        "size_bytes": 0,
        "claims": 0,
        "reviews": 0,
        "corrections": 0,
        "unreviewed": 0,
        "memories": 0,
        "memories_waiting": 0,
        "key_source": "file",
    }
    assert status["problems"] == []


async def test_the_status_is_text_for_people(lyra_mcp, tmp_path):
    code, output, _ = await lyra_mcp("status")

    assert code == 0
    assert output.splitlines() == [
        f"lyra-mcp  {version('lyra-mcp')}",
        f"home      {tmp_path / 'home'}",
        "worker    stopped",
        "database  open: 0 claims, 0 reviews, 0 corrections",
    ]


async def test_a_database_that_cannot_be_opened_is_a_problem_and_no_crash(lyra_mcp, tmp_path):
    (tmp_path / "home").write_text("not a folder")

    code, output, errors = await lyra_mcp("status", "--json")

    status = json.loads(output)
    assert (code, errors, status["database"]["state"]) == (1, "", "unavailable")
    assert status["problems"][-1].startswith("E_STORAGE: the data folder cannot be used (Not a directory)")

    code, output, _ = await lyra_mcp("status")

    assert code == 1
    assert output.splitlines()[3] == "database  unavailable", "no counts are invented"


async def test_every_bad_setting_is_named_at_once_and_nothing_starts(lyra_mcp, tmp_path):
    code, output, errors = await lyra_mcp(
        "status",
        LYRA_USER="",
        LYRA_TOOLS="everything",
        LYRA_THREADS="0",
        LYRA_WORKER_WAIT_S="soon",
        LYRA_AUDIT_SHARE="0",
    )

    assert (code, output) == (2, "")
    assert sorted(errors.splitlines()) == [
        "E_INVALID: LYRA_AUDIT_SHARE: Input should be greater than 0",
        "E_INVALID: LYRA_THREADS: Input should be greater than or equal to 1",
        "E_INVALID: LYRA_TOOLS: Input should be 'core' or 'full'",
        "E_INVALID: LYRA_USER: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'",
        "E_INVALID: LYRA_WORKER_WAIT_S: Input should be a valid number, unable to parse string as a number",
    ]
    assert not (tmp_path / "home").exists()


async def test_a_user_cannot_be_a_way_out_of_the_home(lyra_mcp, tmp_path):
    code, output, errors = await lyra_mcp("serve", LYRA_USER="../x")

    assert (code, output) == (2, "")
    assert errors.startswith("E_INVALID: LYRA_USER: ")
    assert list(tmp_path.iterdir()) == []


async def test_an_unknown_command_is_refused(lyra_mcp):
    code, output, errors = await lyra_mcp("nonsense")

    assert (code, output) == (2, "")
    assert "nonsense" in errors
