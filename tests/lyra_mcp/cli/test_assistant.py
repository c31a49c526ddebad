"""`lyra-mcp assistant` as a person runs it: its output, its exit codes, and an interrupted process."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
import zipfile

import pytest

RECORD = {"messages": [{"role": "user", "content": "何時？"}], "response": "九時。", "rating": 5}


@pytest.fixture(name="assistant")
def _assistant(tmp_path, lyra_mcp):
    """Run `lyra-mcp assistant` in a home of its own: (exit code, standard output, standard error)."""
    # A model that is nowhere: a worker ends before it has read anything.
    nowhere = str(tmp_path / "none")

    def run(*arguments, user="local", **options):
        return lyra_mcp("assistant", *arguments, LYRA_USER=user, LYRA_EMBEDDING_MODEL=nowhere, **options)

    return run


@pytest.fixture(name="file")
def _file(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join([json.dumps(RECORD), "{broken", json.dumps(RECORD | {"rating": 9})]))
    return path


def test_the_status_of_nothing(assistant):
    code, output, errors = assistant("status", "--json")

    assert (code, errors) == (0, "")
    assert json.loads(output) == {
        "total": 0,
        "rated": 0,
        "high_rated": 0,
        "ready_for_ft": 0,
        "threshold": 100,
        "min_rating": 4,
        "proposal": None,
    }


def test_an_import_says_what_came_in_and_what_did_not(assistant, file):
    code, output, errors = assistant("import", str(file))

    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "imported       1",
        "already there  0",
        "skipped        2",
        "               line 2: it is no JSON (expecting property name enclosed in double quotes at character 2)",
        "               line 3: a rating must be a whole number from 1 to 5; correct it and call again",
    ]

    code, output, _ = assistant("import", str(file), "--json")

    report = json.loads(output)
    assert (code, report["complete"], report["imported"], report["already_there"]) == (0, True, 0, 1)
    assert [skipped["place"] for skipped in report["skipped"]] == ["line 2", "line 3"]
    assert assistant("status", "--threshold", "1")[1].splitlines()[:4] == [
        "total         1",
        "rated         1",
        "high_rated    1 (rated 4 or better)",
        "ready_for_ft  1 of 1",
    ]


def test_an_archive_comes_in_for_one_user_and_goes_out_again(assistant, tmp_path):
    archive = tmp_path / "data.zip"
    said = [{"sender": "human", "text": "I am anna@example.org"}, {"sender": "assistant", "text": "Hello."}]
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("conversations.json", json.dumps([{"uuid": "1", "name": "Hi", "chat_messages": said}]))
    lines, page = tmp_path / "out.jsonl", tmp_path / "out.md"

    assert assistant("import", str(archive), user="anna")[:2] == (
        0,
        "imported       1\nalready there  0\nskipped        0\n",
    )
    assert assistant("export", str(lines), user="anna") == (
        0,
        f"wrote 1 conversations to {lines}, 1 with personal data replaced by tags\n",
        "",
    )
    code, output, _ = assistant("export", str(page), "--format", "markdown", "--verbatim", "--json", user="anna")

    assert code == 0
    assert json.loads(output) == {"file": str(page), "format": "markdown", "exported": 1, "redacted": 0}
    assert json.loads(lines.read_text())["messages"][0]["content"] == "I am [REDACTED_EMAIL]"
    assert "> I am anna@example.org" in page.read_text()
    assert json.loads(assistant("status", "--json", user="bert")[1])["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "absent.json"], 1, "E_NOT_FOUND: there is no file absent.json"),
        (["export", "/dev/null/x"], 1, "E_STORAGE"),
        (["export", "x", "--format", "pdf"], 2, "pdf"),
        (["status", "--threshold", "0"], 2, "threshold"),
        (["start"], 2, "--model"),
        (["start", "--model", "tiny", "--base-url", "localhost"], 1, "E_INVALID: 'localhost' is no address"),
        (["start", "--model", "tiny", "--key-variable", "MY_KEY"], 1, "E_INVALID: the variable MY_KEY holds no key"),
        (["start", "--model", "x", "--base-url", "https://api.openai.com/v1"], 1, "OPENAI_API_KEY holds no key"),
    ],
)
def test_what_cannot_be_done_says_why(assistant, arguments, code, words):
    found, output, errors = assistant(*arguments)

    assert found == code
    assert words in errors
    assert "imported" not in output or "so far" in output


def test_a_file_that_is_there_is_not_replaced(assistant, file):
    code, _, errors = assistant("export", str(file))

    assert (code, errors) == (1, f"E_CONFLICT: {file} exists; choose another name, or say --overwrite\n")
    assert "broken" in file.read_text()


def test_a_conversation_in_the_terminal(assistant, chat_server):
    code, output, errors = assistant(
        "start",
        "--model",
        "tiny",
        "--base-url",
        chat_server.url,
        "--key-variable",
        "MY_KEY",
        typed="one two three\n5\nexit\n",
        MY_KEY="secret-1",
    )

    assert (code, errors) == (0, "")
    assert "AI: three two one" in output
    assert output.endswith("1 conversations kept, 1 rated.\n")
    assert chat_server.asked[0][0]["authorization"] == "Bearer secret-1"
    assert assistant("status", "--json")[1].startswith('{"total": 1, "rated": 1')


def test_a_key_goes_to_no_server_it_was_not_made_for(assistant, chat_server):
    code, *_ = assistant(
        "start", "--model", "tiny", "--base-url", chat_server.url, typed="hello\n\nexit\n", OPENAI_API_KEY="secret-1"
    )

    assert code == 0
    assert "secret-1" not in str(chat_server.asked)


def interrupt(process):
    """Ask to stop until it has; an interrupt between the prompt and the reading waits for the next one."""
    deadline = time.monotonic() + 60
    while True:
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=5)  # a goodbye takes a second
        except subprocess.TimeoutExpired:
            assert time.monotonic() < deadline, "it does not end"


def test_an_interrupt_at_the_prompt_ends_it_cleanly(tmp_path, chat_server):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LYRA_", "OPENAI_"))}
    home = {"LYRA_HOME": str(tmp_path / "home"), "LYRA_RUNTIME_DIR": str(tmp_path / "run")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lyra_mcp", "assistant", "start", "--model", "tiny", "--base-url", chat_server.url],
        env=clean | home,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where these tests run beside each other they ignore interrupts, and what they start would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread is held here
    )
    try:
        assert process.stdout.readline().startswith(b"tiny at")
        assert process.stdout.read(5) == b"You: "
        output, errors = interrupt(process)
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)

    assert (process.returncode, errors) == (0, b"")
    assert output == b"\n0 conversations kept, 0 rated.\n"
