"""Where the socket lies, and which places are refused."""

import os
import stat

import pytest

from lyra_mcp.errors import Invalid, StorageFailed
from lyra_mcp.worker_client.address import make_runtime_dir, socket_path
from schema import wire


def test_the_same_home_and_models_share_a_socket_whatever_the_user(settings):
    other = settings.model_copy(update={"user": "other", "threads": 2})

    assert socket_path(other) == socket_path(settings)


@pytest.mark.parametrize("field", ["nli_model", "embedding_model"])
def test_other_models_have_another_socket(settings, field):
    assert socket_path(settings.model_copy(update={field: "other"})) != socket_path(settings)


def test_another_home_has_another_socket(settings, tmp_path):
    assert socket_path(settings.model_copy(update={"home": tmp_path})) != socket_path(settings)


def test_another_protocol_has_another_socket(settings, monkeypatch):
    before = socket_path(settings)
    monkeypatch.setattr(wire, "PROTOCOL", wire.PROTOCOL + 1)

    assert socket_path(settings) != before


def test_a_local_folder_is_the_same_model_however_it_is_spelled(settings, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    short, long = ({"nli_model": name} for name in ("model", str(tmp_path / "model")))

    assert socket_path(settings.model_copy(update=short)) == socket_path(settings.model_copy(update=long))


def test_the_folder_is_made_for_its_owner_only(settings):
    make_runtime_dir(socket_path(settings))

    assert stat.S_IMODE(settings.runtime_dir.stat().st_mode) == 0o700


async def test_a_socket_path_that_is_too_long_names_the_setting(server, tmp_path):
    process = server(update={"runtime_dir": tmp_path / ("long" * 25)})

    with pytest.raises(Invalid, match=r"bytes and the system allows 100; set LYRA_RUNTIME_DIR to a shorter folder"):
        await process.ensure()
    status = await process.status()
    assert status.state == "unreachable"
    assert "set LYRA_RUNTIME_DIR to a shorter folder" in str(status.problem)


async def test_a_folder_open_to_others_is_refused(server, settings, journal):
    settings.runtime_dir.mkdir(mode=0o755)
    settings.runtime_dir.chmod(0o755)
    process = server()

    with pytest.raises(StorageFailed, match=r"\(mode 755\).* run `chmod 700"):
        await process.ensure()
    assert ((await process.status()).state, journal.pids()) == ("unreachable", [])


async def test_a_folder_behind_a_link_is_refused(server, settings, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    settings.runtime_dir.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StorageFailed, match="set LYRA_RUNTIME_DIR to a private folder"):
        await server().ensure()


async def test_a_file_in_the_place_of_the_socket_is_refused_and_kept(server, settings):
    process = server()
    settings.runtime_dir.mkdir(mode=0o700)
    process.socket.write_text("precious")

    with pytest.raises(StorageFailed, match="is not a socket of the current user; remove it"):
        await process.ensure()
    assert process.socket.read_text() == "precious"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
async def test_a_socket_of_another_user_is_refused(server, settings, journal):
    process = server()
    await process.ensure()
    os.chown(process.socket, 65534, -1)

    with pytest.raises(StorageFailed, match="is not a socket of the current user"):
        await process.health()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
async def test_a_folder_of_another_user_is_refused(server, settings):
    settings.runtime_dir.mkdir(mode=0o700)
    os.chown(settings.runtime_dir, 65534, -1)

    with pytest.raises(StorageFailed, match="is not a folder of the current user"):
        await server().ensure()


async def test_a_folder_that_cannot_be_made_is_refused(server, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StorageFailed, match="set LYRA_RUNTIME_DIR to a folder you may write to"):
        await server(update={"runtime_dir": tmp_path / "file" / "run"}).ensure()


async def test_a_home_that_cannot_be_written_is_an_error_with_a_next_step(server, settings):
    settings.home.write_text("a file")

    with pytest.raises(StorageFailed, match="make LYRA_HOME writable and call again"):
        await server().ensure()
