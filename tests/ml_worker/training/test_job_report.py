"""What the report says beside the scores."""

import sys

import pytest
import torch

from ml_worker.training.job_report import peak_memory_bytes


def test_the_peak_of_memory_is_told_in_bytes_whatever_the_system_counts_in(monkeypatch):
    counted = {}
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        counted[platform] = peak_memory_bytes(torch.device("cpu"))

    assert counted["linux"] == pytest.approx(1024 * counted["darwin"], rel=0.1)
