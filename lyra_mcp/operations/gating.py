"""From a training's report to a version with the gate's verdict."""

from lyra_mcp.domain.promotion import Measured, Outcome, decide
from lyra_mcp.domain.versions import HoldoutScores, Job, ModelVersion
from schema.reports import NliReport, Prediction, Scores
from schema.vocabulary import LABELS
from schema.wire import PerLabel


def judge_report(
    report: NliReport,
    *,
    job: Job,
    number: int,
    adapter_path: str,
    accuracy_min: float,
    agreement_min: float,
    created_at: str,
) -> ModelVersion:
    champion = report.champion or report.base
    gate = decide(
        Measured(
            outcomes=[_outcome(prediction) for prediction in report.predictions],
            champion_brier=champion.brier,
            candidate_brier=report.candidate.brier,
            compared=report.agreement.n,
            agreed=report.agreement.agreed,
            unreviewed=report.agreement.unreviewed,
        ),
        accuracy_min=accuracy_min,
        agreement_min=agreement_min,
    )
    return ModelVersion(
        kind=job.kind,
        version=number,
        job_id=job.job_id,
        adapter_path=adapter_path,
        adapter_sha256=report.adapter_sha256,
        base_model=report.base_model,
        fingerprint=report.fingerprint,
        parent_version=job.champion_version,
        samples_sha256=report.data.samples_sha256,
        samples=job.samples,
        recipe_name=report.recipe_name,
        recipe=report.recipe.model_dump_json(),
        base=_scores(report.base),
        candidate=_scores(report.candidate),
        gate=gate,
        created_at=created_at,
        is_pruned=False,
    )


def _outcome(prediction: Prediction) -> Outcome:
    champion = prediction.champion or prediction.base
    return Outcome(_top(champion) == prediction.label, _top(prediction.candidate) == prediction.label)


def _top(probabilities: PerLabel) -> str:
    return max(LABELS, key=probabilities.of)


def _scores(scores: Scores) -> HoldoutScores:
    return HoldoutScores(scores.n, scores.accuracy, scores.brier, scores.nll, scores.ece, scores.macro_f1)
