"""The training child: one job, from its folder to its report. The worker starts it; nothing else is needed.

    python -m ml_worker.training.run JOBS/JOB_ID --adapters-root ADAPTERS

SIGTERM saves a checkpoint and leaves a resumable job. Killed at any moment, the job can be resumed,
and its adapter is either whole or not there.
"""

import argparse
import os
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

import torch
from pydantic import ValidationError

from ml_worker.base_models import BaseModel, load_base
from ml_worker.errors import AdapterRefused, BaseRefused
from ml_worker.evaluation.page import render_page
from ml_worker.job_folders import JobFolder, JobRefused, full_disk
from ml_worker.training import artifacts
from ml_worker.training.balance import balance_warnings
from ml_worker.training.job_report import Models, build_report, load_model
from ml_worker.training.nli_lora import Interrupted, NliLoraTraining, Watchers
from ml_worker.training.preconditions import Probes, check_disk, choose_device, cpu_warning
from ml_worker.training.progress import Progress, StopFlag
from ml_worker.training.sealed_log import sealed_output
from ml_worker.training.training_data import TrainingData, prepare_data
from schema.jobs import JobProblem, JobRequest, Sample
from schema.sealing import KEY_BYTES


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the job's folder, with request.json and samples.jsonl")
    parser.add_argument("--adapters-root", type=Path, required=True, help="where the champion lies")
    parser.add_argument("--nice", type=int, default=0, help="how much to give way to other processes, 0 to 19")
    parser.add_argument("--locked", action="store_true", help="the job's lock was inherited from the worker")
    parser.add_argument("--key-on-stdin", action="store_true", help="the file key of a sealed job, as 32 bytes")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    os.nice(options.nice)
    key = sys.stdin.buffer.read(KEY_BYTES) if options.key_on_stdin else None
    folder = JobFolder(options.folder.resolve(), key)
    with nullcontext() if options.locked else folder.held():
        status = folder.read_status()
        if status is None:
            raise SystemExit(f"{folder.state} is missing; start the job through the worker")
        stop = StopFlag()
        stop.listen()
        progress = Progress(folder, status)
        if key is not None and len(key) < KEY_BYTES:  # the worker died before it had handed the key over
            progress.enter("interrupted")
            return 1
        try:
            # A key that does not fit ends the job before its log can say so.
            folder.verify_key()
        except JobRefused as error:
            progress.fail(error.problem)
            return 1
        with sealed_output(folder):
            return run_to_an_end(Run(folder, options.adapters_root, progress, stop), progress)


def run_to_an_end(run: "Run", progress: Progress) -> int:
    """Whatever happens, the folder says what happened."""
    try:
        run.everything()
    except Interrupted:
        if run.folder.cancel.exists():
            progress.enter("cancelled")
        else:
            progress.enter("interrupted")
    except JobRefused as error:
        progress.fail(error.problem)
    except BaseRefused as error:
        progress.fail(JobProblem(code="unusable_base", message=str(error)))
    except AdapterRefused as error:
        progress.fail(JobProblem(code="unknown_adapter", message=str(error)))
    except torch.OutOfMemoryError as error:
        progress.fail(
            JobProblem(code="out_of_memory", message=f"{error}; set LYRA_TRAINING_BATCH lower and start anew")
        )
    except Exception as error:  # noqa: BLE001 - a process must answer: the folder has to say why the job ended
        traceback.print_exc(file=sys.stdout)
        progress.fail(as_problem(error, is_sealed=run.folder.is_sealed))
    else:
        return 0
    return 1


def as_problem(error: Exception, *, is_sealed: bool = False) -> JobProblem:
    if (problem := full_disk(error)) is not None:
        return problem
    # An error may quote a text, and `state.json` is never sealed.
    said = type(error).__name__ if is_sealed else f"{type(error).__name__}: {error}"
    return JobProblem(code="failed", message=f"{said}; the job's log has the rest")


class Run:
    def __init__(
        self, folder: JobFolder, adapters_root: Path, progress: Progress, stop: StopFlag, probes: Probes | None = None
    ) -> None:
        self.folder, self.adapters_root = folder, adapters_root
        self.progress, self.stop, self.probes = progress, stop, probes or Probes()

    def everything(self) -> None:
        """Prepare, train, evaluate, report.

        Raises:
            JobRefused, BaseRefused, AdapterRefused: the job cannot be done as ordered.
            Interrupted: somebody asked to stop.
        """
        self.progress.enter("preparing", problem=None)
        request = self.folder.read_request()
        self.folder.verify_samples(request)
        check_disk(self.folder.path, self.probes)
        device = torch.device(choose_device(request.limits, self.probes))
        torch.set_num_threads(request.limits.threads)
        samples = read_samples(self.folder, request)
        data = prepare_data(samples, request.recipe, seed=request.seed)
        for warning in balance_warnings(samples, names_domain=not self.folder.is_sealed):
            self.progress.warn(warning)
        training = self.train(request, data, device)
        self.progress.end(training)
        self.progress.enter("evaluating")
        self.evaluate(request, samples, training)
        self.progress.enter("evaluated")

    def train(self, request: JobRequest, data: TrainingData, device: torch.device) -> NliLoraTraining:
        training = NliLoraTraining(
            load_ordered_base(request),
            data,
            request.recipe,
            seed=request.seed,
            limits=request.limits,
            checkpoints_root=self.folder.checkpoints,
            device=device,
            watchers=Watchers(on_step=self.progress.on_step, should_stop=lambda: self.stop.is_set),
            key=self.folder.key if self.folder.is_sealed else None,
        )
        self.stop.raise_if_set()
        estimate_s = training.estimate_s()
        if device.type == "cpu":
            self.progress.warn(cpu_warning(estimate_s))
        self.progress.enter("training", device=device.type, steps=training.steps, eta_s=estimate_s)
        training.run()
        self.stop.raise_if_set()
        return training

    def evaluate(self, request: JobRequest, samples: list[Sample], training: NliLoraTraining) -> None:
        temperature = artifacts.fitted_temperature(training)
        artifacts.publish_adapter(self.folder, request, training, temperature=temperature)
        base = load_ordered_base(request)
        models = Models(
            base=load_model(base, training.device, temperature=request.base_temperature),
            champion=None
            if request.champion is None
            else load_model(
                base,
                training.device,
                root=self.adapters_root,
                path=request.champion,
                key=self.folder.key,
                temperature=request.champion_temperature,
            ),
            candidate=load_model(
                base, training.device, root=self.folder.path, path=self.folder.adapter.name, key=self.folder.key
            ),
        )
        report = build_report(
            request,
            samples,
            training,
            models,
            self.progress.status.warnings,
            check=self.stop.raise_if_set,
            adapter_folder=self.folder.adapter,
        )
        self.folder.write(self.folder.page, render_page(report).encode())
        self.folder.write(self.folder.report, report.model_dump_json(indent=1).encode())


def read_samples(folder: JobFolder, request: JobRequest) -> list[Sample]:
    """Read the frozen snapshot.

    Raises:
        JobRefused: `invalid_samples` or `too_few_samples`.
    """
    lines = folder.read(folder.samples).splitlines()
    samples = [parse_sample(line, number) for number, line in enumerate(lines, start=1)]
    if len({sample.sample_id for sample in samples}) < len(samples):
        raise JobRefused("invalid_samples", "samples.jsonl names a sample_id twice; plan the job again")
    reviewed = sum(sample.label is not None for sample in samples)
    if reviewed < request.limits.samples_min:
        raise JobRefused(
            "too_few_samples",
            f"{reviewed} reviewed samples, at least {request.limits.samples_min} are needed; review more pairs",
        )
    return samples


def parse_sample(line: bytes, number: int) -> Sample:
    """Raises JobRefused: `invalid_samples`, with the place and the rule, never the text."""
    try:
        return Sample.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise JobRefused(
            "invalid_samples", f"samples.jsonl: line {number}: {where}: {first['msg']}; plan the job again"
        ) from error


def load_ordered_base(request: JobRequest) -> BaseModel:
    """Load the base the samples were judged with.

    Raises:
        JobRefused: `fingerprint_mismatch`.
        BaseRefused: it cannot be loaded.
    """
    base = load_base(request.base_model)
    if base.fingerprint != request.fingerprint:
        raise JobRefused(
            "fingerprint_mismatch",
            f"{request.base_model} has the fingerprint {base.fingerprint}, the order says {request.fingerprint}: "
            f"the base has changed; plan the job again",
        )
    return base


if __name__ == "__main__":
    sys.exit(main())
