"""What is installed is exactly what was tried."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LINES = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
PINS = {
    canonicalize_name(found["name"]): found["version"]
    for line in LINES
    if (found := re.fullmatch(r"(?P<name>[\w.-]+)==(?P<version>[\w.+!-]+)", line))
}


def _asked_for() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for group in (project["dependencies"], *extras) for text in group]


def test_every_line_of_the_constraints_is_one_exact_version():
    assert len(PINS) == len([line for line in LINES if line])


def test_every_dependency_is_pinned_to_one_version():
    assert [str(asked) for asked in _asked_for() if canonicalize_name(asked.name) not in PINS] == []


def test_the_pinned_versions_satisfy_what_the_project_asks_for():
    pinned = {asked.name: PINS[canonicalize_name(asked.name)] for asked in _asked_for()}
    assert [
        f"{asked} is pinned to {pinned[asked.name]}"
        for asked in _asked_for()
        if not asked.specifier.contains(pinned[asked.name], prereleases=True)
    ] == []
