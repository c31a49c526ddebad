"""The command line as a person types it."""

import json
import os
import subprocess
import sys


def _lyra(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "lyra_mcp", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_status_of_a_fresh_home_says_where_it_is_and_that_nothing_is_wrong(tmp_path):
    done = _lyra("status", LYRA_HOME=str(tmp_path), LYRA_RUNTIME_DIR=str(tmp_path / "run"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        f"home      {tmp_path}",
        "worker    stopped",
        "database  open: 0 claims, 0 reviews, 0 corrections",
    ]


def test_the_status_can_be_read_by_a_program(tmp_path):
    done = _lyra("status", "--json", LYRA_HOME=str(tmp_path), LYRA_RUNTIME_DIR=str(tmp_path / "run"))
    status = json.loads(done.stdout)
    assert (status["worker"]["state"], status["database"]["state"], status["problems"]) == ("stopped", "open", [])


def test_a_home_that_cannot_be_used_is_a_problem_and_an_exit_code_without_invented_counts(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    done = _lyra("status", LYRA_HOME=str(tmp_path / "file"), LYRA_RUNTIME_DIR=str(tmp_path / "run"))
    assert done.returncode == 1
    assert "database  unavailable\n" in done.stdout
    assert "E_STORAGE" in done.stdout
    assert "LYRA_HOME" in done.stdout


def test_a_wrong_setting_is_named_as_the_person_wrote_it():
    done = _lyra("status", LYRA_TOOLS="all")
    assert done.returncode == 2
    assert done.stderr.startswith("E_INVALID: LYRA_TOOLS: ")
