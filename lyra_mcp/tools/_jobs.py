"""How jobs, versions and triggers look to an agent."""

from lyra_mcp.domain.triggers import Triggers
from lyra_mcp.domain.versions import UNDER_WAY, ModelVersion
from lyra_mcp.operations.watching import WatchedJob
from lyra_mcp.tools._shared import Result
from schema.vocabulary import JobKind, JobState


class TriggerView(Result):
    value: float | None
    threshold: float
    met: bool


class TriggersView(Result):
    samples: TriggerView
    correction_rate: TriggerView
    days_since_last: TriggerView


class Progress(Result):
    step: int
    steps: int | None
    loss: float | None
    eta_s: float | None


class ConditionView(Result):
    name: str
    value: float | None
    threshold: float
    met: bool
    detail: str


class GateView(Result):
    passed: bool
    conditions: list[ConditionView]


class ScoresView(Result):
    n: int
    accuracy: float
    brier: float
    nll: float
    ece: float
    macro_f1: float


class JobMetrics(Result):
    base: ScoresView
    candidate: ScoresView


class JobView(Result):
    job_id: str
    kind: JobKind
    state: JobState
    samples: int
    recipe_name: str
    created_at: str
    progress: Progress | None
    warnings: list[str]
    problem: str | None
    metrics: JobMetrics | None
    gate: GateView | None
    version: int | None


def triggers_view(triggers: Triggers) -> TriggersView:
    return TriggersView.model_validate(triggers)


def job_view(watched: WatchedJob) -> JobView:
    job, run, version = watched.job, watched.run, watched.version
    return JobView(
        job_id=job.job_id,
        kind=job.kind,
        state=job.state,
        samples=job.samples,
        recipe_name=job.recipe_name,
        created_at=job.created_at,
        progress=run and Progress.model_validate(run),
        warnings=run.warnings if run else [],
        problem=job.problem,
        metrics=version and metrics_view(version),
        gate=version and GateView.model_validate(version.gate),
        version=version.version if version else None,
    )


def metrics_view(version: ModelVersion) -> JobMetrics:
    return JobMetrics.model_validate(version)


def next_step_of(watched: WatchedJob) -> str:
    """What a good agent would do with a job in this state."""
    version, state = watched.version, watched.job.state
    if version is not None and state == "candidate":
        return _next_step_of_candidate(version)
    job_id = watched.job.job_id
    if state in UNDER_WAY and watched.job.problem:
        return f"Mend what `problem` says; finetune_status(job_id='{job_id}') tries again."
    if state in UNDER_WAY:
        return f"finetune_status(job_id='{job_id}', wait_s=45) waits for it."
    if state == "failed" and not watched.is_left:
        return "Nothing is left of it to go on from; finetune(action='start') begins anew."
    steps = {
        "interrupted": f"finetune(action='resume', job_id='{job_id}') goes on from the newest checkpoint.",
        "cancelled": "finetune(action='plan') shows what a new training would take.",
        "failed": f"Mend what `problem` says, then finetune(action='resume', job_id='{job_id}') or 'start' again.",
        "champion": "It serves. adapters(action='rollback') goes back.",
    }
    return steps.get(state, "")


def _next_step_of_candidate(version: ModelVersion) -> str:
    if version.gate.passed:
        return f"It passed the gate: adapters(action='activate', version={version.version}) lets it serve."
    return (
        "It did not pass the gate and does not serve. More corrections help; the person may still activate it:"
        f" adapters(action='activate', version={version.version}, force=true, reason=...)."
    )
