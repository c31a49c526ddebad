"""House rules that no linter has. Each exception stands here with its reason, and must still be one."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import schema

ROOT = Path(__file__).parent.parent
LINES_MAX = 350
FUNCTION_LINES_MAX = 60

#: Modules that may have a name that says nothing, and why.
BANNED_NAMES = {"util", "utils", "helper", "helpers", "manager", "handler", "base", "common", "misc"}
NAMED_ANYWAY: dict[str, str] = {
    "ml_worker/training/base.py": "the trade's word: it trains the base model",
}
#: Tests and their programs that wait for the clock, and why.
SLEEPERS: dict[str, str] = {
    "tests/lyra_mcp/worker_client/scripted_worker.py": "a program that plays the worker, which lingers by the clock",
}
#: Folders of tests that mirror no package, and why.
OTHER_FOLDERS: dict[str, str] = {
    "tests/golden": "what the public surface was when it was last reviewed",
    "tests/conversation": "both real processes, so it belongs to neither",
    "tests/conversation/no_network": "what guards those processes in one of its tests",
    "tests/benchmarks": "mirrors benchmarks/, which is run from the repository and is no package",
}


def tracked_files() -> list[Path]:
    """Also new files that git does not ignore, so that a rule speaks before the commit."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


FILES = tracked_files()
SOURCES = {name_of(path): path.read_text(encoding="utf-8") for path in FILES if path.suffix == ".py"}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imports_of(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def bare_sleeps(tree: ast.AST) -> list[int]:
    """Lines of sleeps that wait for the clock: a sleep between two looks at a fact stands in a while loop."""
    in_loops = {
        id(node)
        for loop in ast.walk(tree)
        if isinstance(loop, ast.While) and not isinstance(loop.test, ast.Constant)
        for node in ast.walk(loop)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in in_loops]
    sleeps = [call for call in calls if "sleep" in {getattr(call.func, "attr", None), getattr(call.func, "id", None)}]
    return [call.lineno for call in sleeps if ast.unparse(call.args[0]) != "0"]  # 0 waits for no clock: it gives way


def silent_ignores(source: str) -> list[str]:
    """Comments that silence a tool and do not say why."""
    silencers = re.findall(r"#\s*((?:noqa|type:\s*ignore|pragma:\s*no cover)[^\n]*)", source)
    reason = re.compile(
        r"(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w\-, ]+\]|pragma:\s*no cover)\s*[-#].{8,}"
    )
    return [silencer for silencer in silencers if not reason.match(silencer)]


def test_every_module_says_what_it_is_for():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []


def test_no_file_is_too_long():
    long = {name for name, source in SOURCES.items() if source.count("\n") > LINES_MAX}

    assert long == set()


def test_no_function_is_too_long():
    long = {
        f"{name}:{function.name}"
        for name, tree in TREES.items()
        for function in functions_of(tree)
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    }

    assert long == set()


def test_no_module_has_a_name_that_says_nothing():
    assert {name for name in SOURCES if Path(name).stem.strip("_") in BANNED_NAMES} == set(NAMED_ANYWAY)


def test_whoever_silences_a_tool_says_why():
    found = {name: silent for name, source in SOURCES.items() if (silent := silent_ignores(source))}
    found.pop("tests/test_tidy.py", None)  # its own examples, below

    assert found == {}


def test_nothing_is_mocked():
    banned = {"unittest.mock", "mock", "pytest_mock"}

    assert {name for name, tree in TREES.items() if banned & imports_of(tree)} == set()


def test_tests_wait_for_facts_and_not_for_the_clock():
    found = {name for name, tree in TREES.items() if name.startswith("tests/") and bare_sleeps(tree)}

    assert found == set(SLEEPERS)


def test_no_file_names_a_place_on_the_machine_it_was_written_on():
    places = re.compile(rb"(?<![\w.])/(?:work|root)/")
    suffixes = {".py", ".md", ".sql", ".toml", ".txt", ".json", ".yml", ".yaml", ".sh", ""}

    texts = {name_of(path): path.read_bytes() for path in FILES if path.suffix in suffixes}
    assert [name for name, text in texts.items() if places.search(text)] == []


def test_the_imported_schema_is_the_one_beside_these_tests():
    assert Path(schema.__file__).parent == ROOT / "schema"


def test_every_folder_of_tests_mirrors_a_package():
    folders = {Path(name).parent for name in (name_of(path) for path in FILES) if name.startswith("tests/")}
    strangers = {
        folder.as_posix()
        for folder in folders - {Path("tests")}
        if not (ROOT / folder.relative_to("tests") / "__init__.py").is_file()
    }

    assert strangers <= set(OTHER_FOLDERS)


# The rules themselves


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import time\ntime.sleep(1)", [2]),
        ("async def f():\n    await asyncio.sleep(1)", [2]),
        ("while not done():\n    sleep(0.01)", []),
        ("while True:\n    sleep(0.01)", [2]),
        ("sleep(0)", []),
    ],
)
def test_a_sleep_counts_as_bare_unless_it_waits_for_something(source, lines):
    assert bare_sleeps(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("comment", "is_silent"),
    [
        ("# noqa", True),
        ("# noqa: S608", True),
        ("# noqa: S608 - only our own columns", False),
        ("# noqa: S608  # only our own columns", False),
        ("# noqa: E501, S608 - only our own columns", False),
        ("# type: ignore", True),
        ("# type: ignore[misc]", True),
        ("# type: ignore[misc]  # built at run time", False),
    ],
)
def test_an_ignore_is_silent_without_a_code_and_a_reason(comment, is_silent):
    assert bool(silent_ignores(f"x = 1  {comment}\n")) == is_silent


def test_an_import_of_a_mock_is_seen_however_it_is_written():
    for source in ("import unittest.mock", "from unittest import mock", "from unittest.mock import patch"):
        assert "unittest.mock" in imports_of(ast.parse(source))
