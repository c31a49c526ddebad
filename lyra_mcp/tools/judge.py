"""The tool `judge`."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.operations import judging
from lyra_mcp.operations.judging import JudgedPair
from lyra_mcp.tools._shared import AdapterName, Answer, Call, PerLabel, Result, per_label, services
from schema.vocabulary import Label
from schema.wire import PAIRS_MAX, Pair

TITLE = "Judge pairs"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class Corrected(Result):
    label: Label
    exact: bool = Field(description="the same pair was reviewed; otherwise a similar one was")
    similarity: float
    review_id: str
    at: str
    premise: str | None = Field(description="of the similar case")
    hypothesis: str | None


class PairResult(Result):
    label: Label
    confidence: float = Field(description="calibrated; 1.0 when a person labelled this very pair")
    raw_confidence: float = Field(description="before calibration")
    predicted_label: Label = Field(description="what the model says, whoever corrected it")
    probabilities: PerLabel = Field(description="the model's, calibrated")
    truncated: bool = Field(description="too long: the end was not read")
    corrected: Corrected | None


class ServedBy(Result):
    base_model: str
    fingerprint: str
    adapter: AdapterName
    calibration: int
    device: str


class JudgeAnswer(Answer):
    results: list[PairResult]
    served_by: ServedBy
    degraded: bool = False
    degraded_reason: str = ""


async def judge(
    call: Call,
    pairs: Annotated[
        list[Pair],
        Field(min_length=1, max_length=PAIRS_MAX, description="premise: the evidence; hypothesis: the claim"),
    ],
) -> JudgeAnswer:
    """Does each premise support, refute, or say nothing about (neutral) its hypothesis?

    Stores nothing; use add_evidence to keep claims and evidence. A pair that a person has reviewed is answered with
    their label at once; `corrected` with exact=false names a similar pair that was corrected: look twice.
    About 10 ms a pair on a CPU; the first call starts the models and may take some seconds.
    Example: judge(pairs=[{"premise": "The bridge closed in 1998.", "hypothesis": "The bridge is open."}])
    """
    judged = await judging.judge(services(call), pairs)
    results = [_result(pair) for pair in judged.pairs]
    return JudgeAnswer(
        results=results,
        served_by=ServedBy.model_validate(judged.served_by),
        degraded=bool(judged.degraded_reason),
        degraded_reason=judged.degraded_reason,
        next_step=_next_step(results),
    )


def _result(pair: JudgedPair) -> PairResult:
    said, remembered = pair.prediction, pair.remembered
    return PairResult(
        label=pair.label,
        confidence=pair.confidence,
        raw_confidence=max(said.probabilities),
        predicted_label=said.label,
        probabilities=per_label(pair.probabilities),
        truncated=said.truncated,
        corrected=remembered
        and Corrected(
            label=remembered.label,
            exact=remembered.exact,
            similarity=remembered.similarity,
            review_id=remembered.review_id,
            at=remembered.at,
            premise=None if remembered.exact else remembered.premise[:300],
            hypothesis=None if remembered.exact else remembered.hypothesis[:300],
        ),
    )


def _next_step(results: list[PairResult]) -> str:
    if any(result.truncated for result in results):
        return "Some pairs were cut at the model's limit: judge the passages that matter instead."
    if any(result.corrected and not result.corrected.exact for result in results):
        return "A similar pair was corrected by a person: compare it before you rely on the label."
    return ""
