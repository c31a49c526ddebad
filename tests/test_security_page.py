"""`docs/security.md` names tests that exist, and what it says of the tools is so."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ") and "shown by" not in line]


@pytest.mark.parametrize(("defence", "proof"), ROWS, ids=lambda cell: cell.strip()[:40])
def test_a_defence_is_shown_by_tests_that_exist_or_says_that_it_is_not(defence, proof):
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", proof)

    assert named or proof.strip() == "not shown yet"
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }


def test_no_tool_takes_a_user():
    listed = json.loads((ROOT / "tests" / "golden" / "tools.json").read_text(encoding="utf-8"))
    tools = {tool["name"]: set(tool["inputSchema"]["properties"]) for tool in listed}

    assert len(tools) > 10
    assert {name for name, arguments in tools.items() if arguments & {"user", "user_id", "owner", "tenant"}} == set()
