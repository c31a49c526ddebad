"""A checkpoint is whole or it does not count."""

import pytest
import torch

from ml_worker.training import checkpoints
from schema import sealing


@pytest.fixture(params=[None, bytes(32)], ids=["plain", "sealed"])
def key(request):
    return request.param


@pytest.fixture
def root(tmp_path, key):
    root = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        checkpoints.save(root, step, {"w": torch.full((4,), float(step))}, {"step": step}, keep=10, key=key)
    return root


def test_the_newest_is_read_back(root, key):
    found = checkpoints.newest(root, key)

    assert (found.step, found.state, found.tensors["w"].tolist()) == (3, {"step": 3}, [3.0] * 4)


@pytest.mark.parametrize("name", [checkpoints.TENSORS, checkpoints.STATE, checkpoints.MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "lost", "changed"])
def test_a_torn_newest_falls_back_to_the_one_before(root, key, name, harm):
    path = root / "step-00000003" / name
    path = sealing.sealed_path(path) if sealing.is_sealed(path) else path
    content = path.read_bytes()
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"X" + content[1:])

    assert checkpoints.newest(root, key).step == 2


def test_one_checkpoint_cannot_stand_in_for_another_nor_be_opened_with_another_key(tmp_path):
    root, key = tmp_path / "checkpoints", bytes(32)
    for step in (1, 2):
        checkpoints.save(root, step, {"w": torch.full((4,), float(step))}, {"step": step}, keep=10, key=key)
    (root / "step-00000002").rename(root / "step-00000003")

    assert checkpoints.newest(root, key).step == 1
    assert checkpoints.newest(root, bytes([1] * 32)) is None
    assert checkpoints.newest(root) is None


def test_plain_ones_of_a_folder_that_was_sealed_later_are_still_read(tmp_path):
    root, key = tmp_path / "checkpoints", bytes(32)
    checkpoints.save(root, 1, {"w": torch.ones(4)}, {"step": 1}, keep=10)

    assert checkpoints.newest(root, key).state == {"step": 1}


def test_one_that_was_written_on_a_gpu_is_read_where_there_is_none(tmp_path, key, monkeypatch):
    root = tmp_path / "checkpoints"
    monkeypatch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
    checkpoints.save(root, 1, {"w": torch.ones(4)}, {"moment": torch.ones(4)}, keep=10, key=key)

    assert checkpoints.newest(root, key).state["moment"].device.type == "cpu"


def test_none_is_found_where_none_is_whole(tmp_path):
    assert checkpoints.newest(tmp_path / "nothing") is None


def test_only_the_newest_are_kept(root, key):
    checkpoints.save(root, 4, {"w": torch.zeros(1)}, {}, keep=2, key=key)

    assert sorted(path.name for path in root.iterdir()) == ["step-00000003", "step-00000004"]


def test_a_full_disk_leaves_the_older_ones_and_no_stage(root, key, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_manifest", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(root, 4, {"w": torch.zeros(1)}, {}, keep=10, key=key)

    assert checkpoints.newest(root, key).step == 3
    assert not (root / ".staging").exists()
