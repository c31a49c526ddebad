"""What must be true of the machine before a training starts, and which device it uses."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_worker.job_folders import JobRefused
from schema.jobs import Limits

Device = Literal["cpu", "cuda"]

GIGABYTE = 1_000_000_000
DISK_FREE_MIN_BYTES = GIGABYTE
GPU_FREE_MIN_BYTES = 4 * GIGABYTE


def _gpu_free_bytes() -> int | None:
    import torch  # noqa: PLC0415  # takes seconds, and the worker's socket must answer before

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


def _disk_free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


@dataclass(frozen=True)
class Probes:
    """How the machine is asked; tests give other answers."""

    #: None: there is no GPU.
    gpu_free_bytes: Callable[[], int | None] = _gpu_free_bytes
    disk_free_bytes: Callable[[Path], int] = _disk_free_bytes


def check_disk(folder: Path, probes: Probes) -> None:
    """Refuse before anything is written.

    Raises:
        JobRefused: `insufficient_disk`.
    """
    free = probes.disk_free_bytes(folder)
    if free < DISK_FREE_MIN_BYTES:
        raise JobRefused(
            "insufficient_disk",
            f"training needs {DISK_FREE_MIN_BYTES / GIGABYTE:.1f} GB free, {folder} has {free / GIGABYTE:.1f} GB; "
            f"free some space, then start or resume the job",
        )


def choose_device(limits: Limits, probes: Probes) -> Device:
    """The GPU where there is one with room, unless the limits say otherwise.

    Raises:
        JobRefused: `no_gpu` or `insufficient_gpu_memory`.
    """
    free = None if limits.device == "cpu" else probes.gpu_free_bytes()
    if free is None:
        if limits.device == "cuda":
            raise JobRefused("no_gpu", "there is no CUDA device; set LYRA_TRAINING_DEVICE to auto or cpu")
        return "cpu"
    if free >= GPU_FREE_MIN_BYTES:
        return "cuda"
    raise JobRefused(
        "insufficient_gpu_memory",
        f"the GPU has {free / GIGABYTE:.1f} GB free, training needs {GPU_FREE_MIN_BYTES / GIGABYTE:.0f} GB; "
        f"close what uses it, or set LYRA_TRAINING_DEVICE=cpu",
    )


def cpu_warning(estimate_s: float) -> str:
    return f"trains on the CPU: about {max(1, round(estimate_s / 60))} min; the model goes on serving, more slowly"
