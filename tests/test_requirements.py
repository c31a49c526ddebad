"""`docs/requirements.md` names every requirement once, and no test that does not exist."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
ROWS = [tuple(map(str.strip, line.strip("|").split("|"))) for line in PAGE.splitlines() if re.match(r"\| \w+-\d", line)]

COUNTS = {"evidence": 60, "assistant": 40, "personalization": 48, "retraining": 36}
STATES = {"not yet", "not run here (GPU)"}


@functools.cache
def _tests_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_requirement_stands_once_in_its_order():
    wanted = [f"{table}-{number}" for table, count in COUNTS.items() for number in range(1, count + 1)]
    assert [row[0] for row in ROWS] == wanted


def test_every_requirement_has_a_name_of_its_own():
    names = [name for _, name, _ in ROWS]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("requirement", "proof"), [(row[0], row[2]) for row in ROWS])
def test_a_requirement_is_proved_by_tests_that_exist_or_says_that_it_is_not(requirement, proof):
    said = proof.split(", ")
    assert len(set(said)) == len(said)
    for item in said:
        if item in STATES:
            continue
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", item)
        assert named, f"{requirement}: {item!r} is neither a test nor one of {sorted(STATES)}"
        path, name = named.groups()
        assert (ROOT / path).is_file(), f"{requirement}: no file {path}"
        assert name in _tests_in(ROOT / path), f"{requirement}: no test {name} in {path}"
