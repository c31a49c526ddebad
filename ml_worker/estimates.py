"""Before a job: would the machine take it, and for how long. From the pace of earlier jobs, else from arithmetic."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from ml_worker.job_folders import JobRefused
from ml_worker.training.preconditions import Device, Probes, check_disk, choose_device, cpu_warning
from ml_worker.training.splits import HOLDOUT_SHARE
from schema import sealing
from schema.jobs import JobProblem, NliLoraRecipe, Preflight, PreflightReply
from schema.reports import NliReport
from schema.sealing import as_bytes

#: English; other scripts have fewer characters a token, and padding adds tokens that nobody wrote.
CHARS_PER_TOKEN, PADDING_FACTOR = 4.0, 1.4
#: Multiplications and additions a token and parameter: forward 2, backward to the inputs 2; frozen weights need none.
OPERATIONS = 4.0
#: What is not a matrix product: attention, norms, the adapter, the optimizer, validation, evaluation.
OVERHEAD_FACTOR = 2.0
#: Short enough that most of them run undisturbed on a busy machine; the fastest counts.
PROBES, PROBE_ROUNDS = 20, 4
REPORT = "report.json"
#: The first steps are slower than all others: a training of fewer says little about one of hundreds.
MEASURED_STEPS_MIN = 10


class Base(Protocol):
    """What is asked of the model that will be trained."""

    fingerprint: str
    #: Without the word embeddings, which cost no time.
    encoder_parameters: int


def planned_steps(order: Preflight) -> int:
    recipe = order.recipe
    trained = order.samples * (1 - HOLDOUT_SHARE) * (1 - recipe.validation_share)
    batch = order.limits.batch or recipe.batch
    steps = recipe.epochs * -(-int(trained) // batch)
    return steps if order.limits.steps_max is None else min(steps, order.limits.steps_max)


def pairs_a_step(recipe: NliLoraRecipe, batch: int) -> int:
    return batch + (recipe.rehearsal_batch if recipe.rehearsal_weight else 0)


def _reports(jobs_root: Path, key: bytes | None) -> Iterator[NliReport]:
    """Newest first; a report that this version, or this key, cannot read is passed over."""
    written = [*jobs_root.glob(f"*/{REPORT}"), *jobs_root.glob(f"*/{REPORT}{sealing.SUFFIX}")]
    for path in sorted(written, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            content = sealing.read(path.with_name(REPORT), key, f"{path.parent.name}/{REPORT}")
            yield NliReport.model_validate_json(content)
        except (OSError, ValidationError, sealing.CannotOpen):
            continue


def measured_s_per_char(order: Preflight, jobs_root: Path, device: Device, fingerprint: str) -> float | None:
    """Of training, per character of a pair; of the newest job that computed the same in the same place."""
    wanted = (device, order.limits.threads, fingerprint, order.recipe.targets)
    for report in _reports(jobs_root, as_bytes(order.key)):
        done = report.training
        found = (done.device, done.threads, report.fingerprint, report.recipe.targets)
        if found == wanted and done.steps >= MEASURED_STEPS_MIN:
            batch = done.samples_per_s * done.duration_s / done.steps
            return done.duration_s / (done.steps * pairs_a_step(report.recipe, round(batch)) * report.data.chars_mean)
    return None


@cache
def operations_per_s() -> float:
    """How fast this machine multiplies matrices with all of the worker's threads.

    Measured once: a question to a person that holds an estimate must read the same until they have answered it.
    """
    import torch  # noqa: PLC0415  # takes seconds, and the worker's socket must answer before

    left, right = torch.rand(512, 384), torch.rand(384, 1536)

    def probe_s() -> float:
        since = time.perf_counter()
        for _ in range(PROBE_ROUNDS):
            left @ right
        return time.perf_counter() - since

    probe_s()  # the first round allocates
    return PROBE_ROUNDS * 2 * 512 * 384 * 1536 / min(probe_s() for _ in range(PROBES))


def calculated_s_per_char(parameters: int, threads: int) -> float:
    """From the parameters of the encoder and the speed of this machine."""
    import torch  # noqa: PLC0415  # as above

    share = min(1.0, threads / torch.get_num_threads())
    per_token = OPERATIONS * parameters * OVERHEAD_FACTOR / (operations_per_s() * share)
    return per_token * PADDING_FACTOR / CHARS_PER_TOKEN


def preflight(order: Preflight, jobs_root: Path, probes: Probes, *, base: Base | None) -> PreflightReply:
    """Answer without starting or writing anything. `base`: None while it is loading."""
    steps, limits = planned_steps(order), order.limits
    device, problem = _accepted(order, jobs_root, probes)
    if problem is not None:  # nothing is estimated of a training that would be refused
        return PreflightReply(device=device, steps=steps, estimate_s=None, warnings=[], problem=problem)
    pace = None if base is None else measured_s_per_char(order, jobs_root, device, base.fingerprint)
    if pace is None and base is not None and device == "cpu":
        pace = calculated_s_per_char(base.encoder_parameters, limits.threads)
    pairs = steps * pairs_a_step(order.recipe, limits.batch or order.recipe.batch)
    estimate_s = None if pace is None else limits.within_time_s(pace * pairs * order.chars_mean)
    warned = device == "cpu" and estimate_s is not None
    return PreflightReply(
        device=device,
        steps=steps,
        estimate_s=estimate_s,
        warnings=[cpu_warning(estimate_s)] if warned and estimate_s is not None else [],
        problem=None,
    )


def _accepted(order: Preflight, jobs_root: Path, probes: Probes) -> tuple[Device, JobProblem | None]:
    """The device, and why the job would be refused."""
    existing = next(folder for folder in (jobs_root, *jobs_root.parents) if folder.is_dir())
    try:
        device = choose_device(order.limits, probes)
        check_disk(existing, probes)
    except JobRefused as error:
        return "cpu", error.problem
    if order.samples < order.limits.samples_min:
        message = f"{order.samples} reviewed samples, at least {order.limits.samples_min} are needed; review more pairs"
        return device, JobProblem(code="too_few_samples", message=message)
    return device, None
