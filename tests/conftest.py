"""Golden files: `pytest --update-golden` writes them anew; the diff is what a reviewer reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew instead of comparing")


@pytest.fixture
def golden(request) -> Callable[[str, Any], Any]:
    """What the golden file of this name holds, after it was written anew if that was asked for."""

    def read(name: str, actual: Any) -> Any:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(actual, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    return read
