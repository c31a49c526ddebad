"""Files that a person wants somewhere: where that cannot be, the place is named, and not the data folder."""

import errno
import os
from pathlib import Path

import pytest

COMMANDS = [("privacy", "backup"), ("key", "export"), ("assistant", "export")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["/dev/null/x", "/nowhere/x"])
def test_a_place_that_cannot_be_written_is_named(lyra_mcp, command, place):
    code, output, errors = lyra_mcp(*command, place, LYRA_PASSPHRASE="a long passphrase")

    assert (code, output) == (1, "")
    assert errors.startswith(f"E_STORAGE: {place} cannot be written (No")
    assert errors.endswith("choose another place\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_as_one_and_leaves_nothing(lyra_mcp, command, tmp_path, monkeypatch):
    assert lyra_mcp("status")[0] == 0
    (tmp_path / "place").mkdir()
    fsync = os.fsync

    def full(descriptor):
        if (tmp_path / "place") in Path(f"/proc/self/fd/{descriptor}").readlink().parents:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    code, _, errors = lyra_mcp(*command, str(tmp_path / "place" / "x"), LYRA_PASSPHRASE="a long passphrase")

    assert (code, errors.partition(":")[0]) == (1, "E_DISK_FULL")
    assert list((tmp_path / "place").iterdir()) == []
