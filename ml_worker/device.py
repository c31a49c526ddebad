"""Where tensors live and how many threads compute."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose_device() -> torch.device:
    """CUDA when present, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(threads: int | None) -> None:
    """Compute with so many threads; None: one for each core this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(threads or cores or 1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute here with one thread: a short text is done before a second core that something else uses has begun."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
