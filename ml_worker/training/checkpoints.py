"""Checkpoints that are whole or absent: staged, closed with a manifest of digests, renamed, the newest kept.

<root>/step-00000120/  tensors.safetensors  state.pt  manifest.json

In a sealed folder the first two are sealed and never were in plain; the manifest's digests are those of their contents.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_tensors

from ml_worker.encoder import sha256
from ml_worker.job_folders import sync_folder
from schema import sealing

TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.pt", "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    step: int
    tensors: dict[str, torch.Tensor]
    #: Optimizer, schedule, random states and position: plain values and tensors only.
    state: dict[str, Any]


def _write_manifest(folder: Path, digests: Mapping[str, str]) -> None:
    """Write the manifest last and force every byte to the disk."""
    (folder / MANIFEST).write_text(json.dumps(digests, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _folder(root: Path, step: int) -> Path:
    return root / f"step-{step:08}"


def _place(path: Path) -> str:
    """What a sealed file is bound to: `<job>/checkpoints/<step>/<file>`."""
    return "/".join(path.parts[-4:])


def _is_whole(folder: Path, key: bytes | None) -> bool:
    try:
        digests = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return set(digests) == {TENSORS, STATE} and all(
            sealing.sha256(folder / name, key, _place(folder / name)) == digest for name, digest in digests.items()
        )
    except (OSError, ValueError, sealing.CannotOpen):
        return False


def _newest_first(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"), reverse=True)


def save(
    root: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, Any],
    *,
    keep: int,
    key: bytes | None = None,
) -> None:
    """Write one checkpoint, sealed where there is a key, and forget the oldest beyond `keep`.

    Raises:
        OSError: when the disk is full; the checkpoints before stay as they were.
    """
    staging, target = root / ".staging", _folder(root, step)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        if key is None:
            digests = _write(staging, tensors, state)
        else:
            digests = _write_sealed(staging, tensors, state, target, key)
        _write_manifest(staging, digests)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    sync_folder(root)
    for old in _newest_first(root)[keep:]:
        shutil.rmtree(old)


def _write(staging: Path, tensors: dict[str, torch.Tensor], state: Mapping[str, Any]) -> dict[str, str]:
    save_file(tensors, staging / TENSORS)
    torch.save(dict(state), staging / STATE)
    return {name: sha256(staging / name) for name in (TENSORS, STATE)}


def _write_sealed(
    staging: Path, tensors: dict[str, torch.Tensor], state: Mapping[str, Any], target: Path, key: bytes
) -> dict[str, str]:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    contents = {TENSORS: save_tensors(tensors), STATE: buffer.getvalue()}
    for name, content in contents.items():
        sealing.sealed_path(staging / name).write_bytes(sealing.seal(key, content, _place(target / name)))
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def newest(root: Path, key: bytes | None = None) -> Checkpoint | None:
    """Read the newest whole checkpoint, sealed or not; a torn one is passed over for the one before."""
    for folder in _newest_first(root):
        if _is_whole(folder, key):
            return _read(folder, key)
    return None


def _read(folder: Path, key: bytes | None) -> Checkpoint:
    """Onto the CPU: the GPU it was written on may be gone."""
    step = int(folder.name.removeprefix("step-"))
    if not sealing.is_sealed(folder / TENSORS):
        return Checkpoint(step, load_file(folder / TENSORS), _load_state(folder / STATE))
    tensors, state = (sealing.read(folder / name, key, _place(folder / name)) for name in (TENSORS, STATE))
    return Checkpoint(step, load_tensors(tensors), _load_state(io.BytesIO(state)))


def _load_state(file: Path | io.BytesIO) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state
