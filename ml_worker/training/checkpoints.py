"""Checkpoints that are whole or absent: staged, sealed by a manifest of digests, renamed, the newest kept.

<root>/step-00000120/  tensors.safetensors  state.pt  manifest.json
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ml_worker.job_folders import sync_folder

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.pt", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, torch.Tensor]
    #: Optimizer, schedule, random states and position: plain values and tensors only.
    state: dict[str, Any]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    """Write the manifest last and force every byte to the disk."""
    digests = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _is_whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return set(digests) == {TENSORS, STATE} and all(_digest(folder / n) == d for n, d in digests.items())
    except (OSError, ValueError):
        return False


def _newest_first(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"), reverse=True)


def save(root: Path, step: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any], *, keep: int) -> None:
    """Write one checkpoint and forget the oldest beyond `keep`.

    Raises:
        OSError: when the disk is full; the checkpoints before stay as they were.
    """
    staging = root / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, staging / TENSORS)
        torch.save(dict(state), staging / STATE)
        _seal(staging)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    target = root / f"step-{step:08}"
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    sync_folder(root)
    for old in _newest_first(root)[keep:]:
        shutil.rmtree(old)


def whole(root: Path) -> Iterator[Path]:
    """The folders whose every byte is as it was written, newest first."""
    return (folder for folder in _newest_first(root) if _is_whole(folder))


def newest(root: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint; a torn one is passed over for the one before."""
    for folder in whole(root):
        return Checkpoint(
            int(folder.name.removeprefix("step-")),
            load_file(folder / TENSORS),
            torch.load(folder / STATE, weights_only=True),
        )
    return None
