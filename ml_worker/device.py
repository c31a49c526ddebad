"""Where tensors live and how many threads compute."""

import os

import torch


def choose_device() -> torch.device:
    """CUDA when present, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def use_threads(threads: int | None) -> None:
    """Compute with so many threads; None: one for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads or cores or 1)
