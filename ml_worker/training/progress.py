"""Tell the world how a training goes: `state.json` for the worker and the server, `loss.jsonl` for the curve."""

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ml_worker.job_folders import JobFolder
from ml_worker.training.nli_lora import Interrupted, NliLoraTraining
from schema.jobs import JobProblem, JobStatus
from schema.vocabulary import FINAL_RUN_STATES, RunState

#: Between two writes of `state.json` while nothing but numbers changes.
WRITE_S = 0.5


class StopFlag:
    """Set by SIGTERM and SIGINT; read between steps, where everything can be saved."""

    def __init__(self) -> None:
        self.is_set = False

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: object) -> None:
        self.is_set = True

    def raise_if_set(self) -> None:
        """Leave between two stages.

        Raises:
            Interrupted: when somebody asked to stop.
        """
        if self.is_set:
            raise Interrupted


class Progress:
    def __init__(self, folder: JobFolder, status: JobStatus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._written_at = clock()
        self._lines = 0
        self.status = status

    def enter(self, state: RunState, **fields: Any) -> None:
        """Change the state, on the disk before this returns."""
        now = datetime.now(UTC)
        ended = {"ended_at": now, "pid": None, "eta_s": None} if state in FINAL_RUN_STATES else {"ended_at": None}
        self.status = self.status.model_copy(update={"state": state, "pid": os.getpid(), **ended, **fields})
        self._folder.write_status(self.status)
        self._written_at = self._clock()
        print(f"{now.isoformat(timespec='seconds')} {state}", flush=True)

    def fail(self, problem: JobProblem) -> None:
        print(f"{problem.code}: {problem.message}", flush=True)
        self.enter("failed", problem=problem)

    def warn(self, warning: str) -> None:
        if warning not in self.status.warnings:
            self.status = self.status.model_copy(update={"warnings": (*self.status.warnings, warning)})

    def on_step(self, training: NliLoraTraining) -> None:
        self._log_curve(training.position.curve)
        if self._clock() - self._written_at >= WRITE_S:
            self.status = self.status.model_copy(update=self.numbers(training))
            self._folder.write_status(self.status)
            self._written_at = self._clock()

    def numbers(self, training: NliLoraTraining) -> dict[str, Any]:
        """What changes with every step."""
        curve = training.position.curve
        losses = [line["loss"] for line in curve if "loss" in line]
        validations = [line["validation_loss"] for line in curve if "validation_loss" in line]
        return {
            "step": training.position.step,
            "steps": training.steps,
            "loss": losses[-1] if losses else None,
            "validation_loss": validations[-1] if validations else None,
            "eta_s": training.eta_s(),
        }

    def end(self, training: NliLoraTraining) -> None:
        """The last lines of the curve and the last numbers."""
        self._log_curve(training.position.curve)
        self.status = self.status.model_copy(update={**self.numbers(training), "eta_s": None})

    def _log_curve(self, curve: list[dict[str, Any]]) -> None:
        """Write anew at the first step, for a killed run may have logged steps that are taken again; then append."""
        if len(curve) > self._lines:
            with self._folder.loss.open("w" if self._lines == 0 else "a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in curve[self._lines :])
            self._lines = len(curve)
