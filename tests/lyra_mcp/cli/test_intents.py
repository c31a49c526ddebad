"""`lyra-mcp intent import`, as a person runs it."""

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "intent_examples.jsonl"


@pytest.fixture(name="run")
def _run(lyra_mcp):
    return lambda *arguments: lyra_mcp("intent", "import", *map(str, arguments))


def test_a_file_is_imported_once_however_often_it_is_given(run):
    assert run(EXAMPLES)[:2] == (0, "80 new, 0 known already, 0 broken lines\n")
    code, output, _ = run(EXAMPLES, "--json")
    assert (code, json.loads(output)) == (0, {"new": 0, "known": 80, "broken": {}})


def test_broken_lines_are_named_without_their_text_and_the_others_imported(run, tmp_path):
    good = {"text": "Play some jazz", "intent": "music", "response": "Playing.", "rating": 5, "source": "a note"}
    lines = [
        json.dumps(good),
        '{"text": "secret',
        "",
        json.dumps({"text": "secret"}),
        json.dumps({"text": "secret", "intent": "x", "response": "y", "rating": "5"}),
        json.dumps({"text": "secret", "intent": "x", "rating": 5}),
        json.dumps({"text": "secret", "intent": "unknown"}),
        json.dumps({"text": "sec\0ret", "intent": "x"}),
        json.dumps([]),
    ]
    file = tmp_path / "examples.jsonl"
    file.write_text("\n".join(lines))

    code, output, errors = run(file)

    assert code == 1
    assert output.splitlines()[0] == "1 new, 0 known already, 7 broken lines"
    assert [line.split(":")[0] for line in output.splitlines()[1:]] == [f"line {n}" for n in (2, 4, 5, 6, 7, 8, 9)]
    assert "secret" not in output + errors


def test_a_file_that_is_not_there_is_an_error_with_a_next_step(run, tmp_path):
    code, output, errors = run(tmp_path / "absent.jsonl")

    assert (code, output) == (1, "")
    assert "cannot be read (No such file or directory); name a file of JSON lines" in errors
