"""A training on a GPU, through the real child process; skipped where there is none."""

import signal

import pytest
import torch

from schema.jobs import Limits
from schema.reports import NliReport

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

WAIT_S = 120.0


def read_report(folder):
    return NliReport.model_validate_json(folder.report.read_bytes())


def test_the_rule_behind_the_corrections_is_learned_on_the_gpu(child, make_job, make_samples):
    folder = make_job(samples=make_samples(120, unreviewed=20))
    assert child(folder).wait(WAIT_S) == 0, folder.log.read_text()

    report = read_report(folder)
    assert (folder.read_status().device, report.training.device, report.environment["device"]) == ("cuda",) * 3
    assert report.candidate.accuracy > report.base.accuracy
    assert report.training.peak_memory_bytes > 0
    assert not any("CPU" in warning for warning in folder.read_status().warnings)


def test_an_interrupted_training_goes_on_on_the_gpu_and_answers_like_an_undisturbed_one(
    child, make_job, recipe, wait_until
):
    """Not to the bit: a GPU adds in an order of its own."""
    recipe = recipe.model_copy(update={"epochs": 30, "patience": 30})
    whole, cut = make_job("whole", recipe=recipe), make_job("cut", recipe=recipe)
    assert child(whole).wait(WAIT_S) == 0, whole.log.read_text()
    process = child(cut)
    wait_until(process, lambda: cut.read_status().step > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 1
    assert cut.read_status().state == "interrupted", cut.log.read_text()
    assert child(cut).wait(WAIT_S) == 0, cut.log.read_text()

    undisturbed, resumed = read_report(whole), read_report(cut)
    assert (resumed.training.resumed, resumed.training.steps) == (1, undisturbed.training.steps)
    for one, other in zip(undisturbed.predictions, resumed.predictions, strict=True):
        assert one.candidate.model_dump() == pytest.approx(other.candidate.model_dump(), abs=0.02)


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_an_interrupted_training_goes_on_on_the_other_device(child, make_job, recipe, wait_until, first, then):
    folder = make_job(recipe=recipe.model_copy(update={"epochs": 30, "patience": 30}), limits=Limits(device=first))
    process = child(folder)
    wait_until(process, lambda: folder.read_status().step > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 1
    assert (folder.read_status().state, folder.read_status().device) == ("interrupted", first), folder.log.read_text()
    request = folder.read_request().model_copy(update={"limits": Limits(device=then)})
    folder.request.write_text(request.model_dump_json(), encoding="utf-8")
    assert child(folder).wait(WAIT_S) == 0, folder.log.read_text()

    assert (read_report(folder).training.device, read_report(folder).training.resumed) == (then, 1)
