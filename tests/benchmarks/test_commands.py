"""Every benchmark that the documents name can be started, and every one that can be started is named."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
NAMED = {
    name for page in PAGES for name in re.findall(r"python -m benchmarks\.(\w+)", page.read_text(encoding="utf-8"))
}
STARTED = {
    path.stem
    for path in (ROOT / "benchmarks").glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
}


def test_the_documents_name_every_benchmark_and_no_other():
    assert NAMED == STARTED


@pytest.mark.parametrize("name", sorted(STARTED))
def test_a_benchmark_says_what_it_takes(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"benchmarks.{name}", raising=False)  # another benchmark may have imported it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")

    assert ended.value.code in (0, None)
    assert "usage:" in capsys.readouterr().out
