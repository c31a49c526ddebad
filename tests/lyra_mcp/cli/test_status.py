"""The command line as a person runs it: its output, its exit code."""

import json
from importlib.metadata import version


def test_the_status_is_json_for_programs(lyra_mcp):
    code, output, errors = lyra_mcp("status", "--json")

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


def test_the_status_is_text_for_people(lyra_mcp, tmp_path):
    code, output, _ = lyra_mcp("status")

    assert code == 0
    assert output.splitlines() == [
        f"lyra-mcp  {version('lyra-mcp')}",
        f"home      {tmp_path / 'home'}",
        "worker    stopped",
        "database  open: 0 claims, 0 reviews, 0 corrections",
    ]


def test_a_database_that_cannot_be_opened_is_a_problem_and_no_crash(lyra_mcp, tmp_path):
    (tmp_path / "home").write_text("not a folder")

    code, output, errors = lyra_mcp("status", "--json")

    status = json.loads(output)
    assert (code, errors, status["database"]["state"]) == (1, "", "unavailable")
    assert status["problems"][-1].startswith("E_STORAGE: the data folder cannot be used (Not a directory)")

    code, output, _ = lyra_mcp("status")

    assert code == 1
    assert output.splitlines()[3] == "database  unavailable", "no counts are invented"


def test_every_bad_setting_is_named_at_once_and_nothing_starts(lyra_mcp, tmp_path):
    code, output, errors = lyra_mcp(
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


def test_a_user_cannot_be_a_way_out_of_the_home(lyra_mcp, tmp_path):
    code, output, errors = lyra_mcp("serve", LYRA_USER="../x")

    assert (code, output) == (2, "")
    assert errors.startswith("E_INVALID: LYRA_USER: ")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command_is_refused(lyra_mcp):
    code, output, errors = lyra_mcp("nonsense")

    assert (code, output) == (2, "")
    assert "nonsense" in errors
