"""A home that cannot be written: nothing half-written, the reason in the answer, and all is well again afterwards."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CITED = {"claim": "a claim.", "fragments": [{"text": "a source.", "kind": "cites"}]}
DISK_BYTES = 4_000_000


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs a small file system of its own, and mount says: {done.stderr.strip()}")


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("needs a small file system of its own, and only root may mount one")
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave not a byte free; the file returned is what takes the room."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return filler


async def test_a_full_disk_writes_nothing_and_says_so_until_there_is_room_again(house, connect, small_disk):
    async with connect(house, home=small_disk) as agent:
        stored = await agent("add_evidence", **CITED)
        rejection = {"action": "claim_reject", "claim_id": stored["claim_id"], "reason": "a test " * 250}
        filler = fill(small_disk)

        refusal = await agent.refusal("feedback", **rejection)
        assert refusal == "E_DISK_FULL: the disk is full and nothing was written; free some space and call again"
        (claim,) = (await agent("get_claims"))["claims"]
        assert claim["status"] == "adopted"

        filler.unlink()
        await agent("feedback", **rejection)
        assert (await agent("get_claims"))["claims"] == []


async def test_a_disk_that_is_full_from_the_start_is_a_tool_error(house, connect, small_disk):
    filler = fill(small_disk)
    async with connect(house, home=small_disk) as agent:
        refusal = await agent.refusal("add_evidence", **CITED)
        assert refusal.startswith("E_DISK_FULL: the disk is full and nothing was written")
        status = await agent("server_status")
        assert status["database"]["state"] == "unavailable"
        assert status["problems"][0].startswith("E_DISK_FULL: ")

        filler.unlink()
        assert len((await agent("add_evidence", **CITED))["edges"]) == 1


@pytest.fixture(name="read_only_home")
def _read_only_home(tmp_path) -> Iterator[Path]:
    """By its mode for most people; root, whom no mode stops, needs a mount."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o500)
    if os.getuid() != 0:
        yield folder
        return
    _mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_read_only_home_is_a_tool_error_that_names_the_setting(house, connect, read_only_home):
    async with connect(house, home=read_only_home) as agent:
        for tool, arguments in (
            ("add_evidence", CITED),
            ("get_claims", {}),
            ("judge", {"pairs": [{"premise": "a", "hypothesis": "b"}]}),
        ):
            refusal = await agent.refusal(tool, **arguments)
            assert refusal == "E_STORAGE: the data folder cannot be written; set LYRA_HOME to a folder you own"
        status = await agent("server_status")
        assert (status["worker"]["state"], status["database"]["state"]) == ("stopped", "unavailable")
        assert "set LYRA_HOME" in status["problems"][0]


async def test_a_home_below_a_file_is_a_tool_error_that_names_the_setting(house, connect, tmp_path):
    (tmp_path / "file").touch()
    async with connect(house, home=tmp_path / "file" / "home") as agent:
        refusal = await agent.refusal("get_claims")
        assert refusal.startswith("E_STORAGE: ")
        assert "LYRA_HOME" in refusal
