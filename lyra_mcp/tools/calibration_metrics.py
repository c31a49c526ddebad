"""The tool `calibration_metrics`."""

from typing import Annotated, Literal

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.calibration import Fit
from lyra_mcp.domain.statistics import Report
from lyra_mcp.errors import Invalid
from lyra_mcp.operations import calibration as operations
from lyra_mcp.operations.calibration import Current, Evaluated, Stats
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import BASE
from lyra_mcp.tools._shared import AdapterName, Answer, Call, Result, services
from schema.vocabulary import CalibrationAction

TITLE = "Calibration metrics"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)

ActionName = Literal["get_stats", "evaluate", "get_evaluations", "get_diagram_data", "fit"]


class Interval(Result):
    low: float
    high: float


class LabelMetrics(Result):
    n: int
    precision: float | None
    recall: float | None
    f1: float | None


class Metrics(Result):
    """accuracy in [0, 1]; brier over three classes in [0, 2]; nll in nats; ece and mce in [0, 1]."""

    n: int
    accuracy: float
    brier: float
    nll: float
    ece: float
    ece_equal_mass: float
    ece_debiased: float | None
    mce: float
    per_label: dict[str, LabelMetrics]
    ci95: dict[str, Interval]


class Bin(Result):
    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


class Evaluation(Result):
    evaluation_id: str
    created_at: str
    adapter: AdapterName
    calibration_version: int
    temperature: float
    n: int
    brier: float


class Version(Result):
    version: int
    temperature: float
    samples: int
    gain: float
    created_at: str


class Event(Result):
    action: CalibrationAction
    from_version: int
    to_version: int
    reason: str | None
    created_at: str


class Serving(Result):
    base_model: str
    fingerprint: str
    adapter: AdapterName
    calibration_version: int
    temperature: float


class FitOutcome(Result):
    is_kept: bool
    reason: str
    temperature: float
    samples: int
    nll_before: float
    nll_after: float
    gain: float = Field(description="nats per review, on reviews the fit had not seen")
    gain_low: float
    gain_high: float


class CalibrationAnswer(Answer):
    action: ActionName
    evaluation_id: str | None = None
    n: int | None = None
    all_reviews: Metrics | None = None
    audit_sample: Metrics | None = Field(None, description="the random audit, weighted: the honest column")
    previous: Evaluation | None = None
    degraded_vs_previous: bool | None = None
    in_sample: int | None = Field(
        None, description="reviews that the calibration was fitted on, or the adapter trained on"
    )
    holdout: int | None = None
    reviews_total: int | None = None
    corrections_total: int | None = None
    serving: Serving | None = None
    versions: list[Version] | None = None
    events: list[Event] | None = None
    evaluations: list[Evaluation] | None = None
    bins: list[Bin] | None = None
    diagram_uri: str | None = None
    fit: FitOutcome | None = None


async def calibration_metrics(
    call: Call,
    action: ActionName,
    adapter: Annotated[
        str | None, Field(description="only this adapter; 'base' for none; default: reviewed last")
    ] = None,
    since: Annotated[
        str | None, Field(pattern=r"^\d{4}-\d\d-\d\d([T ].*)?$", description="ISO 8601, UTC; only what is newer")
    ] = None,
    limit: Annotated[int, Field(ge=1, le=200)] = 20,
    evaluation_id: Annotated[str | None, Field(description="for get_diagram_data; default: the newest")] = None,
) -> CalibrationAnswer:
    """How far the confidences can be trusted, measured on people's reviews, and a temperature that mends them.

    evaluate: accuracy, Brier, log-likelihood and calibration errors with 95 % intervals, kept as history. Believe
    audit_sample: reviews picked by you or by uncertainty are biased. fit: needs 10 reviews, serves only if its gain on
    unseen reviews is real; calibration_rollback undoes it. get_stats, get_evaluations, get_diagram_data: read only.
    Example: calibration_metrics(action="evaluate")
    """
    lyra = services(call)
    only = "" if adapter == BASE else adapter
    if evaluation_id is not None and action != "get_diagram_data":
        raise Invalid(f"{action} takes no evaluation_id; calibration_metrics(action='get_diagram_data') does")
    match action:
        case "evaluate":
            return _evaluated(await operations.evaluate(lyra, adapter=only, since=since))
        case "fit":
            return _fitted(*await operations.fit(lyra, adapter=only))
        case "get_stats":
            return _stats(await operations.read_stats(lyra, adapter=only))
        case "get_evaluations":
            found = await operations.list_evaluations(lyra, adapter=only, since=since, limit=limit)
            return CalibrationAnswer(action=action, evaluations=[Evaluation.model_validate(one) for one in found])
        case "get_diagram_data":
            return await _diagram(lyra, evaluation_id)


def _metrics(report: Report) -> Metrics:
    return Metrics.model_validate(report)


def _evaluated(outcome: Evaluated) -> CalibrationAnswer:
    if outcome.degraded_vs_previous:
        next_step = "Brier rose by more than 5 %: look at get_evaluations, then calibration_metrics(action='fit')."
    elif outcome.audit_sample is None:
        next_step = "For an unbiased column let a person answer review_queue(strategy='random')."
    else:
        next_step = ""
    return CalibrationAnswer(
        action="evaluate",
        evaluation_id=outcome.evaluation.evaluation_id,
        n=outcome.evaluation.n,
        all_reviews=_metrics(outcome.all_reviews),
        audit_sample=outcome.audit_sample and _metrics(outcome.audit_sample),
        previous=outcome.previous and Evaluation.model_validate(outcome.previous),
        degraded_vs_previous=outcome.degraded_vs_previous,
        in_sample=outcome.in_sample,
        holdout=outcome.holdout,
        diagram_uri=_diagram_uri(outcome.evaluation.evaluation_id),
        next_step=next_step,
    )


def _fitted(outcome: Fit, current: Current) -> CalibrationAnswer:
    return CalibrationAnswer(
        action="fit",
        fit=FitOutcome.model_validate(outcome),
        serving=_serving(current),
        next_step="calibration_rollback() goes back." if outcome.is_kept else "More reviews make the gain clearer.",
    )


def _stats(stats: Stats) -> CalibrationAnswer:
    return CalibrationAnswer(
        action="get_stats",
        reviews_total=stats.reviews,
        corrections_total=stats.corrections,
        serving=stats.current and _serving(stats.current),
        versions=[Version.model_validate(version) for version in stats.versions],
        events=[Event.model_validate(event) for event in stats.events],
        previous=stats.latest and Evaluation.model_validate(stats.latest),
        next_step="" if stats.current else "review_queue() offers edges for a person to review.",
    )


async def _diagram(lyra: Services, evaluation_id: str | None) -> CalibrationAnswer:
    found = await operations.find_evaluation(lyra, evaluation_id)
    return CalibrationAnswer(
        action="get_diagram_data",
        evaluation_id=found.evaluation_id,
        n=found.n,
        bins=[Bin.model_validate(row) for row in operations.report_of(found).bins],
        diagram_uri=_diagram_uri(found.evaluation_id),
        next_step="The resource diagram_uri is the diagram as SVG.",
    )


def _serving(current: Current) -> Serving:
    return Serving(
        base_model=current.model.base_model,
        fingerprint=current.model.fingerprint,
        adapter=current.model.adapter,
        calibration_version=current.version,
        temperature=current.temperature,
    )


def _diagram_uri(evaluation_id: str) -> str:
    return f"report://{evaluation_id}/reliability.svg"
