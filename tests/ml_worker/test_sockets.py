"""Where the worker listens: a folder and a socket that are this user's alone."""

import os
import socket
import stat

import pytest

from ml_worker.sockets import BadPlace, listen, peer_uid, prepare_directory


def test_a_directory_others_may_enter_is_refused(socket_folder):
    socket_folder.chmod(0o755)

    with pytest.raises(BadPlace, match="chmod 700"):
        prepare_directory(socket_folder / "w.sock")


def test_a_link_or_a_file_in_the_directory_s_place_is_refused(socket_folder):
    (socket_folder / "real").mkdir(mode=0o700)
    (socket_folder / "link").symlink_to("real")
    (socket_folder / "file").touch()

    for name in ("link", "file"):
        with pytest.raises(BadPlace, match="LYRA_RUNTIME_DIR"):
            prepare_directory(socket_folder / name / "w.sock")


def test_a_missing_directory_is_made_private(socket_folder):
    prepare_directory(socket_folder / "new" / "w.sock")

    assert stat.S_IMODE((socket_folder / "new").stat().st_mode) == 0o700


def test_a_socket_is_this_user_s_alone_and_knows_who_connects(socket_folder):
    path = socket_folder / "w.sock"
    path.touch()  # what a dead worker left behind
    with listen(path) as listener, socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        client.connect(str(path))
        accepted, _ = listener.accept()
        with accepted:
            assert peer_uid(accepted) == peer_uid(client) == os.getuid()
