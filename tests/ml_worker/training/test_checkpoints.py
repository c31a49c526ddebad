"""A checkpoint is whole or it does not count."""

import pytest
import torch

from ml_worker.training import checkpoints


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        checkpoints.save(root, step, {"w": torch.full((4,), float(step))}, {"step": step}, keep=10)
    return root


def test_the_newest_is_read_back(root):
    found = checkpoints.newest(root)

    assert (found.step, found.state, found.tensors["w"].tolist()) == (3, {"step": 3}, [3.0] * 4)


@pytest.mark.parametrize("name", [checkpoints.TENSORS, checkpoints.STATE, checkpoints.MANIFEST])
@pytest.mark.parametrize("harm", ["cut", "lost", "changed"])
def test_a_torn_newest_falls_back_to_the_one_before(root, name, harm):
    path = root / "step-00000003" / name
    content = path.read_bytes()
    if harm == "lost":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"X" + content[1:])

    assert checkpoints.newest(root).step == 2


def test_none_is_found_where_none_is_whole(tmp_path):
    assert checkpoints.newest(tmp_path / "nothing") is None


def test_only_the_newest_are_kept(root):
    checkpoints.save(root, 4, {"w": torch.zeros(1)}, {}, keep=2)

    assert sorted(path.name for path in root.iterdir()) == ["step-00000003", "step-00000004"]


def test_a_full_disk_leaves_the_older_ones_and_no_stage(root, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_seal", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(root, 4, {"w": torch.zeros(1)}, {}, keep=10)

    assert checkpoints.newest(root).step == 3
    assert not (root / ".staging").exists()
