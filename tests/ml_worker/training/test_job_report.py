"""What the report says beside the scores."""

import sys

import numpy as np
import pytest
import torch

from ml_worker.evaluation.page import render_page
from ml_worker.training.job_report import changed, peak_memory_bytes
from schema.reports import Change, ReliabilityBin
from schema.vocabulary import LABELS


def test_the_peak_of_memory_is_told_in_bytes_whatever_the_system_counts_in(monkeypatch):
    counted = {}
    for platform in ("linux", "darwin"):
        monkeypatch.setattr(sys, "platform", platform)
        counted[platform] = peak_memory_bytes(torch.device("cpu"))

    assert counted["linux"] == pytest.approx(1024 * counted["darwin"], rel=0.1)


def test_a_change_names_the_answer_before_and_after(make_samples):
    samples = make_samples(3)
    supports, refutes, _ = np.eye(len(LABELS))

    first = samples[0]
    assert changed(samples, np.array([supports] * 3), np.array([refutes, supports, supports])) == [
        Change(
            sample_id=first.sample_id,
            premise=first.premise,
            hypothesis=first.hypothesis,
            label=first.label,
            before="supports",
            candidate="refutes",
        )
    ]


@pytest.mark.parametrize(("champion", "before", "drawn"), [(None, "base", "240.0,"), ("today", "champion", "480.0,")])
def test_the_page_compares_with_what_serves_today_and_names_it(
    make_job, make_samples, build_report, champion, before, drawn
):
    def reliable(confidence):
        return [ReliabilityBin(low=0, high=1, n=1, confidence=confidence, accuracy=0.5)]

    request = make_job(champion=champion).read_request()
    report = build_report(request, make_samples(120), adapter_sha256="0" * 64)
    scores = {"base": report.base.model_copy(update={"reliability": reliable(0.5)})}
    if champion:
        scores["champion"] = report.champion.model_copy(update={"reliability": reliable(1.0)})
    page = render_page(report.model_copy(update=scores))

    assert page.count(f"before ({before})") == 2
    assert f'<polyline class="two" points="{drawn}120.0"/>' in page
