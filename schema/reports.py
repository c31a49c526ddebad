"""`report.json` of a finished NLI job: everything the gate, the registry and a person need to decide."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from schema.jobs import JobId, LossLine, NliLoraRecipe, Sha256, ValidationLine
from schema.vocabulary import Label, SampleSource, SplitPart
from schema.wire import Message, PerLabel

Share = Annotated[float, Field(ge=0, le=1)]

#: Changed predictions whose texts are shown.
CHANGES_MAX = 50


class LabelScores(Message):
    """Null where it is not defined: no sample has, or no answer was, the label."""

    precision: Share | None
    recall: Share | None
    f1: Share | None
    support: int


class ScoresPerLabel(Message):
    supports: LabelScores
    refutes: LabelScores
    neutral: LabelScores


class ReliabilityBin(Message):
    """Answers whose confidence lies in (low, high]."""

    low: float
    high: float
    n: int
    #: Means over the bin; null when it is empty.
    confidence: float | None
    accuracy: float | None


class Scores(Message):
    """How one model did on the hold-out, with its own temperature."""

    n: int
    accuracy: Share
    #: Over the three labels, summed: 0 is perfect, 2 is certain and wrong.
    brier: Annotated[float, Field(ge=0, le=2)]
    #: Mean, in nats.
    nll: Annotated[float, Field(ge=0)]
    #: Expected calibration error of the confidence, over `reliability`.
    ece: Share
    macro_f1: Share
    per_label: ScoresPerLabel
    #: Rows: the person's label; columns: the model's; both in the order of `LABELS`.
    confusion: list[list[int]]
    reliability: list[ReliabilityBin]
    temperature: Annotated[float, Field(gt=0)]


class Prediction(Message):
    """One held-out sample, answered by every model; probabilities after each model's temperature."""

    sample_id: str
    label: Label
    base: PerLabel
    #: Null when the request named no champion.
    champion: PerLabel | None
    candidate: PerLabel


class Change(Message):
    """A held-out sample on which the candidate disagrees with the champion, or with the base where there is none."""

    sample_id: str
    premise: str
    hypothesis: str
    label: Label
    before: Label
    candidate: Label


class Agreement(Message):
    """Candidate and base on pairs of which the base is sure and that nobody corrected."""

    base_confidence_min: Share
    n: int
    agreed: int
    #: Null when there is no such pair.
    share: Share | None
    #: How many of the n are the user's unreviewed pairs; the others were built from held-out texts.
    unreviewed: int


class Counted(Message):
    name: str
    n: int


class DataSummary(Message):
    samples_sha256: Sha256
    labels: list[Counted]
    #: Largest first, at most 20.
    domains: list[Counted]
    sources: list[Counted]
    parts: list[Counted]
    #: Mean length of premise and hypothesis together, of the reviewed samples.
    chars_mean: float
    #: Unreviewed and built pairs the rehearsal drew from.
    rehearsal_unreviewed: int
    rehearsal_built: int


class AssignedSample(Message):
    sample_id: str
    part: SplitPart
    source: SampleSource


class Training(Message):
    steps: int
    epochs: float
    best_epoch: int
    stopped_by: Literal["epochs", "early_stopping", "time_limit", "steps_max"]
    warmup_steps: int
    learning_rate_max: float
    target_modules: list[str]
    #: Adapter and head; the share is of all parameters of the model with them.
    trainable_parameters: int
    trainable_share: Share
    #: The low-rank matrices alone: the sum over the target modules of r * (d_in + d_out).
    lora_parameters: int
    duration_s: float
    samples_per_s: float
    peak_memory_bytes: int
    device: str
    threads: int
    resumed: int
    curve: list[LossLine | ValidationLine]


class NliReport(Message):
    """`report.json`."""

    job_id: JobId
    kind: Literal["nli_lora"] = "nli_lora"
    created_at: AwareDatetime
    base_model: str
    #: SHA-256 over weights, tokenizer and label order of the base.
    fingerprint: str
    #: SHA-256 of the base's weights in memory before and after the training: equal, or the job has failed.
    base_weights_sha256: Sha256
    champion_adapter: str | None
    #: Of `adapter/adapter_model.safetensors`.
    adapter_sha256: Sha256
    adapter_bytes: int
    recipe_name: str
    recipe: NliLoraRecipe
    seed: int
    data: DataSummary
    assigned: list[AssignedSample]
    training: Training
    base: Scores
    champion: Scores | None
    candidate: Scores
    #: In the order of `samples.jsonl`.
    predictions: list[Prediction]
    agreement: Agreement
    changes: list[Change]
    changes_total: int
    warnings: list[str]
    #: Library versions and the CPU's capability: bit-for-bit repetition is promised for equal ones.
    environment: dict[str, str]
