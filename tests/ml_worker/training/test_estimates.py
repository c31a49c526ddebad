"""How long a training would take, from reports as the worker writes them."""

from dataclasses import dataclass

import pytest

from ml_worker.jobs import JobMachine, JobOptions
from ml_worker.training.preconditions import Probes
from schema.jobs import Limits, Preflight


@dataclass
class Served:
    fingerprint: str = "the base"
    encoder_parameters: int = 10_000_000


@pytest.fixture
def preflight(tmp_path, recipe):
    """What the machine answers, without a GPU whatever there is."""

    def ask(base=None, samples=400, chars_mean=300, **limits):
        probes = Probes(gpu_free_bytes=lambda: None)
        machine = JobMachine(JobOptions(tmp_path / "jobs", tmp_path, probes, base=lambda: base))
        return machine.preflight(
            Preflight(recipe=recipe, samples=samples, chars_mean=chars_mean, limits=Limits(**limits))
        )

    return ask


@pytest.fixture
def leave_report(make_job, make_samples, build_report):
    """As an earlier training left it: 50 steps in a second."""

    def leave(recipe, *, fingerprint="the base", steps=50):
        folder = make_job("earlier", fingerprint=fingerprint, recipe=recipe)
        report = build_report(folder.read_request(), make_samples(120), adapter_sha256="0" * 64)
        training = report.training.model_copy(update={"steps": steps})
        folder.report.write_text(report.model_copy(update={"training": training}).model_dump_json(), encoding="utf-8")

    return leave


def test_too_few_samples_are_told_before_the_start(preflight):
    reply = preflight(samples=99, steps_max=3)

    assert (reply.problem.code, reply.steps) == ("too_few_samples", 3)


def test_nothing_is_estimated_of_a_training_that_would_be_refused(preflight):
    for samples in (0, 99):
        reply = preflight(Served(), samples=samples)
        assert (reply.problem.code, reply.estimate_s, reply.warnings) == ("too_few_samples", None, [])


def test_without_an_earlier_job_the_estimate_is_calculated(preflight):
    reply = preflight(Served())

    assert 1 < reply.estimate_s < 100_000
    assert "trains on the CPU" in reply.warnings[0]


def test_a_person_is_asked_with_the_same_estimate_until_they_answer(preflight):
    assert len({preflight(Served()).estimate_s for _ in range(5)}) == 1


def test_while_the_base_is_loading_nothing_is_estimated(preflight, leave_report, recipe):
    leave_report(recipe)

    assert preflight(None).estimate_s is None


def test_the_pace_is_that_of_an_earlier_job_of_this_base_and_these_layers(preflight, leave_report, recipe):
    leave_report(recipe)
    calculated, measured = (preflight(Served(name)).estimate_s for name in ("another base", "the base"))

    assert measured != calculated


@pytest.mark.parametrize(
    ("changes", "left"),
    [({"targets": "query_value"}, {}), ({}, {"fingerprint": "another base"}), ({}, {"steps": 9})],
    ids=["other layers", "another base", "a few steps"],
)
def test_a_job_that_computed_something_else_or_hardly_anything_says_nothing_of_the_pace(
    preflight, leave_report, recipe, changes, left
):
    calculated = preflight(Served()).estimate_s
    leave_report(recipe.model_copy(update=changes), **left)

    assert preflight(Served()).estimate_s == calculated


def test_no_training_is_estimated_to_go_on_beyond_its_time_limit(preflight):
    reply = preflight(Served(), time_s=0.5)

    assert reply.estimate_s == 0.5
