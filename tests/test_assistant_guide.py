"""`docs/assistant.md`: its commands are run and its programs are executed, as a reader would."""

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "assistant.md").read_text(encoding="utf-8")
RECORD = {"messages": [{"role": "user", "content": "When?"}], "response": "At nine."}
CLAUDE = {
    "uuid": "c1",
    "name": "Trains",
    "chat_messages": [{"sender": "human", "text": "Where?"}, {"sender": "assistant", "text": "Here."}],
}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in _blocks("sh") for line in block.splitlines()]


@pytest.fixture(name="run")
def _run(tmp_path):
    """Run Python with these arguments in a folder with the files that the page names."""
    (tmp_path / "conversations.jsonl").write_text(json.dumps(RECORD) + "\n")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("conversations.json", json.dumps([CLAUDE]))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LYRA_", "OPENAI_"))}
    # A model that is nowhere: a worker ends before it has read anything.
    home = {
        "LYRA_HOME": str(tmp_path / "home"),
        "LYRA_RUNTIME_DIR": str(tmp_path / "run"),
        "LYRA_EMBEDDING_MODEL": str(tmp_path / "none"),
        "OPENAI_API_KEY": "secret-1",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }

    def run(*arguments: str, typed: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=clean | home,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_command_does_what_the_page_says(run, chat_server, tmp_path):
    outputs = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "lyra-mcp"
        if "start" in arguments:  # the servers of the page are not here
            arguments += ["--base-url", chat_server.url]
        outputs.append(run("-m", "lyra_mcp", *arguments, typed="one two\n5\nexit\n"))

    assert [output.count("AI: two one") for output in outputs[:2]] == [1, 1]
    assert json.loads(outputs[3])["high_rated"] == 2
    assert "imported       1" in outputs[4]
    assert json.loads(outputs[5])["imported"] == 1
    assert len((tmp_path / "conversations-out.jsonl").read_text().splitlines()) == 4
    assert "> At nine." in (tmp_path / "conversations-out.md").read_text()


def test_the_programs_run(run):
    first, second = _blocks("python")

    assert run("-c", first) == "(what your model says about trains)\n1\n"
    told = run("-c", f"{second}\nimport asyncio\nprint(asyncio.run(answer('trains')))")
    assert told == "(what your model says about trains)\n"
