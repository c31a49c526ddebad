"""The settings as a command meets them: every problem in words and an exit code; and the file that keeps a choice."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lyra_mcp.errors import LyraError, StorageFailed
from lyra_mcp.settings import SETTINGS_FILE, Settings, SettingsFileInvalid


def read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = "_".join(["LYRA", *(str(part).upper() for part in problem["loc"])])
            print(f"E_INVALID: {name}: {problem['msg']}", file=sys.stderr)
        raise SystemExit(2) from error
    except SettingsFileInvalid as error:
        print(f"E_INVALID: {error}", file=sys.stderr)
        raise SystemExit(2) from error


@contextmanager
def refusing() -> Iterator[None]:
    """A command's errors in words, and exit code 1."""
    try:
        yield
    except LyraError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from error


def write_setting(home: Path, name: str, value: str | None) -> None:
    """Keep a setting in the file of `home`, or none; other lines stay as they are.

    Raises:
        StorageFailed: it cannot be written.
    """
    path = home / SETTINGS_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.partition("=")[0].strip() != name]
        # First, because a line after a `[table]` would belong to it.
        text = "\n".join([*([] if value is None else [f"{name} = {json.dumps(value)}"]), *kept])
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text + "\n" if text else "")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written ({error.strerror}); make LYRA_HOME writable") from error
