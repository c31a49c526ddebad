"""The documents name files, links and words that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyra_mcp.settings import Settings
from schema import vocabulary

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(name="page", params=PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def _page(request):
    return request.param


def test_every_link_leads_to_a_file(page):
    links = [link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_path_in_the_text_exists(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:schema|lyra_mcp|ml_worker|tests|benchmarks)/[\w./]*)[`:]", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def _functions(body: list[ast.stmt], *classes: str) -> Iterator[str]:
    """Names of a module's functions, and of its methods with their class: `Run.everything`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield ".".join([*classes, node.name])
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, *classes, node.name)


def _missing_functions(text: str) -> list[str]:
    """What is written as `file::function` and is not there."""
    named = re.findall(r"`((?:schema|lyra_mcp|ml_worker|tests|benchmarks)/[\w./]*)::([\w.]+)", text)
    return [
        f"{path}::{function}"
        for path, function in named
        if function not in _functions(ast.parse((ROOT / path).read_text(encoding="utf-8")).body)
    ]


def test_every_function_in_the_text_exists(page):
    assert _missing_functions(page.read_text(encoding="utf-8")) == []


def test_a_function_that_is_not_there_is_found():
    here = "tests/test_docs.py"
    text = (
        f"`{here}::_missing_functions`, `{here}::nobody`, `ml_worker/jobs.py::JobMachine.start`, `{here}::Nobody.start`"
    )
    assert _missing_functions(text) == [f"{here}::nobody", f"{here}::Nobody.start"]


def test_every_setting_in_the_text_exists(page):
    variables = {f"LYRA_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bLYRA_[A-Z_]+\b", page.read_text(encoding="utf-8"))) <= variables


def test_every_decision_is_in_the_index_under_its_title():
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for decision in sorted(folder.glob("0*.md")):
        number, title = re.fullmatch(r"# (\d{4}): (.+)", decision.read_text(encoding="utf-8").splitlines()[0]).groups()
        assert decision.name.startswith(number)
        assert f"[{number}]({decision.name}) | {title} |" in index


@pytest.mark.parametrize(
    "word",
    [
        *vocabulary.LABELS,
        *vocabulary.EDGE_KINDS,
        *vocabulary.SOURCE_TYPES,
        *vocabulary.SELECTED_BY,
        *vocabulary.CLAIM_STATUSES,
        *vocabulary.ALIASES,
    ],
)
def test_the_glossary_explains_the_closed_words(word):
    assert re.search(rf"[`*]{word}[`*]", (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8"))
