"""`docs/errors.md` lists the codes that exist, each in its family."""

import re
from pathlib import Path

import pytest

from lyra_mcp import errors

PAGE = (Path(__file__).parent.parent / "docs" / "errors.md").read_text(encoding="utf-8")


def _codes(heading: str) -> list[str]:
    section = PAGE.split(f"\n**{heading}**", 1)[1].split("\n**", 1)[0]
    return re.findall(r"^\| `(E_[A-Z_]+)` \|", section, flags=re.MULTILINE)


def _family(root: type[errors.LyraError]) -> list[str]:
    return [root.code, *(kind.code for kind in root.__subclasses__() if kind.__module__ == errors.__name__)]


@pytest.mark.parametrize("family", [errors.Refused, errors.Unavailable])
def test_a_family_lists_its_codes_in_the_order_of_the_module(family):
    assert _codes(family.__name__) == _family(family)


def test_the_only_other_code_is_the_one_for_our_own_mistakes():
    assert _codes("Ours") == [errors.LyraError.code]


def test_every_code_has_a_meaning_and_a_next_step():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `E_")]
    assert all(len([cell for cell in row.strip("|").split("|") if cell.strip()]) == 3 for row in rows)


def test_the_tree_in_the_module_names_every_code():
    assert errors.__doc__ is not None
    drawn = re.findall(r"E_[A-Z_]+", errors.__doc__)
    declared = {
        kind.code
        for root in (errors.Refused, errors.Unavailable)
        for kind in root.__subclasses__()
        if kind.__module__ == errors.__name__
    }
    assert sorted(drawn) == sorted(declared)
