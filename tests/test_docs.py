"""The documents name files, links and words that exist."""

import re
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
