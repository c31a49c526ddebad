"""Training jobs: what the server orders, what lies in a job's folder, and what the worker reports.

A job is a folder `<jobs root>/<job id>/`. The server writes `request.json` (`JobRequest`) and
`samples.jsonl` (one `Sample` a line), then orders `POST /jobs`. The worker adds `state.json`
(`JobStatus`), `loss.jsonl` (`LossLine` or `ValidationLine`), `checkpoints/`, `log`, and at the end
`adapter/`, `report.json` (`NliReport`, in `schema/reports.py`) and `report.html`. Files are
complete once the state is `evaluated`; until then only `state.json` is to be trusted.

Where `samples.jsonl.sealed` stands in the place of `samples.jsonl`, whatever holds a person's texts or what was learned
from them is sealed in the same way (`schema/sealing.py`): the log, the checkpoints, the adapter's weights, the report.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from schema.sealing import FileKey
from schema.vocabulary import FINAL_RUN_STATES, JobKind, Label, RunState, SampleSource, Sampling
from schema.wire import Message, Text

#: Also the name of the job's folder.
JobId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


# Recipes


class NliLoraRecipe(Message):
    """How an NLI adapter is trained. The field defaults are those of the recipe `seed`."""

    rank: Annotated[int, Field(ge=1, le=128)] = 8
    alpha: Annotated[float, Field(gt=0, le=1024)] = 32
    dropout: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    #: `query_value`: the attention's query and value projections; `linear`: every linear layer of the encoder.
    targets: Literal["query_value", "linear"] = "query_value"
    learning_rate: Annotated[float, Field(gt=0, le=0.01)] = 2e-4
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    epochs: Annotated[int, Field(ge=1, le=50)] = 3
    batch: Annotated[int, Field(ge=1, le=256)] = 8
    #: Share of all steps in which the learning rate rises.
    warmup_share: Annotated[float, Field(ge=0, le=0.1)] = 0.1
    #: Share of the training part that is set aside for early stopping and for the temperature.
    validation_share: Annotated[float, Field(gt=0, le=0.4)] = 0.125
    #: Epochs without a lower validation loss after which training stops.
    patience: Annotated[int, Field(ge=1, le=50)] = 2
    sampling: Sampling = "natural"
    #: Weight of the distance to the base's own answers on pairs nobody corrected; 0: no rehearsal.
    rehearsal_weight: Annotated[float, Field(ge=0, le=100)] = 0.0
    #: Pairs rehearsed in each step, beside the batch.
    rehearsal_batch: Annotated[int, Field(ge=0, le=256)] = 0
    #: How many pairs the rehearsal draws from; built from the samples' own texts where unreviewed pairs are too few.
    rehearsal_pairs: Annotated[int, Field(ge=0, le=20_000)] = 0
    #: Share of the learned change that is kept: weights are averaged between the base (0) and the trained (1).
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0


NLI_LORA_RECIPES: dict[str, NliLoraRecipe] = {
    "seed": NliLoraRecipe(),
    #: Chosen by experiment; see docs/experiments.md, "Adaptation".
    "default": NliLoraRecipe(
        targets="linear",
        learning_rate=5e-4,
        epochs=6,
        patience=2,
        rehearsal_weight=1.0,
        rehearsal_batch=8,
        rehearsal_pairs=1000,
        strength=0.7,
    ),
    #: For about a hundred short pairs about something the base knows nothing of, as in the demonstration: so few
    #: batches that `default` ends before it has learned, hence more epochs, more patience and less rehearsal.
    "small": NliLoraRecipe(
        targets="linear",
        learning_rate=5e-4,
        epochs=24,
        patience=8,
        rehearsal_weight=1.0,
        rehearsal_batch=4,
        rehearsal_pairs=300,
    ),
}


# What a job's folder holds


class Sample(Message):
    """One line of `samples.jsonl`: a reviewed pair, or an unreviewed one for rehearsal."""

    sample_id: Annotated[str, Field(min_length=1, max_length=128)]
    premise: Text
    hypothesis: Text
    #: Null exactly for an unreviewed pair.
    label: Label | None
    source: SampleSource
    page_id: str | None = None
    domain: str | None = None
    #: Where an earlier version had it. What was trained once is never held out later, and the other way round.
    earlier: Literal["train", "holdout"] | None = None

    @model_validator(mode="after")
    def _a_label_means_a_review(self) -> Self:
        if (self.label is None) != (self.source == "unreviewed"):
            raise ValueError("a reviewed sample has a label, an unreviewed one has none")
        return self


def premise_key(premise: str) -> str:
    """Case and white space do not make another premise."""
    return " ".join(premise.casefold().split())


#: Above this share of the reviewed samples that have a source, one domain dominates: a training may learn the site.
DOMAIN_SHARE_MAX = 0.5


def dominant_domain(samples: Iterable[Sample]) -> tuple[str, float] | None:
    """The domain from which more than `DOMAIN_SHARE_MAX` of the reviewed samples with a source come, and its share."""
    sourced = [sample.domain for sample in samples if sample.label is not None and sample.domain is not None]
    for domain, n in Counter(sourced).most_common(1):
        if n / len(sourced) > DOMAIN_SHARE_MAX:
            return domain, n / len(sourced)
    return None


class Limits(Message):
    #: Training stops cleanly after this time, and what was learned until then is evaluated.
    time_s: Annotated[float, Field(gt=0)] | None = None
    steps_max: Annotated[int, Field(ge=1)] | None = None
    #: Overrides the recipe's batch.
    batch: Annotated[int, Field(ge=1, le=256)] | None = None
    #: Reviewed samples below which nothing is trained.
    samples_min: Annotated[int, Field(ge=1)] = 100
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    checkpoint_s: Annotated[float, Field(gt=0)] = 300.0
    checkpoints_max: Annotated[int, Field(ge=1, le=100)] = 10
    #: `auto`: the GPU where there is one; one without room is refused.
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def within_time_s(self, needed_s: float, *, spent_s: float = 0.0) -> float:
        """How long a training goes on that needs so much more time and has taken so much already."""
        return needed_s if self.time_s is None else min(needed_s, max(0.0, self.time_s - spent_s))


class NliLoraRequest(Message):
    """`request.json`."""

    job_id: JobId
    kind: Literal["nli_lora"] = "nli_lora"
    #: `builtin`, a Hugging Face id, or a local folder; what the worker serves.
    base_model: str
    #: The base the samples were judged with; another one is refused.
    fingerprint: str
    #: Path inside the adapters root of what serves now, to be compared with; null: the base alone.
    champion: str | None = None
    #: Of the calibrations in force, so that both are measured as they serve; null: as they were shipped.
    base_temperature: Annotated[float, Field(gt=0)] | None = None
    champion_temperature: Annotated[float, Field(gt=0)] | None = None
    recipe_name: str
    recipe: NliLoraRecipe
    seed: int = 1
    #: Of the bytes of `samples.jsonl`.
    samples_sha256: Sha256
    limits: Limits = Limits()


#: A union over `kind` once there are several.
JobRequest = NliLoraRequest


class LossLine(Message):
    """A line of `loss.jsonl`, every `LOSS_STEPS` steps; means since the line before."""

    step: int
    epoch: float
    loss: float
    #: Of the rehearsed pairs; null without rehearsal.
    rehearsal_loss: float | None
    learning_rate: float


class ValidationLine(Message):
    """A line of `loss.jsonl`, after each epoch."""

    step: int
    epoch: float
    validation_loss: float
    validation_accuracy: float


#: Steps between two `LossLine`s.
LOSS_STEPS = 10


# What the worker tells


JobProblemCode = Literal[
    "not_found",
    "conflict",
    "invalid_request",
    "invalid_samples",
    "too_few_samples",
    "fingerprint_mismatch",
    "unusable_base",
    "unknown_adapter",
    "no_target_modules",
    "insufficient_disk",
    "insufficient_gpu_memory",
    "no_gpu",
    "out_of_memory",
    "sealed",
    "failed",
]


class JobProblem(Message):
    """The body of every refusal under `/jobs`, and why a job is `failed`."""

    code: JobProblemCode
    message: str


class StartJob(Message):
    """`POST /jobs`: the folder was prepared by the server. Asked again, it answers with the job as it is."""

    job_id: JobId
    #: Opens what is sealed: the job's folder, the champion. Kept in memory alone, until the job ends.
    key: FileKey | None = None


class ResumeJob(Message):
    """`POST /jobs/{job_id}/resume`."""

    key: FileKey | None = None


class JobStatus(Message):
    """`state.json`, the reply of every `/jobs` call, and the data of every event."""

    job_id: JobId
    kind: JobKind
    state: RunState
    step: int = 0
    #: That will be taken at most; null until the data were read.
    steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    #: Until the end of the training; null while nothing was measured.
    eta_s: float | None = None
    device: str | None = None
    #: For people: a slow device, a domain that dominates, a label with too few samples.
    warnings: tuple[str, ...] = ()
    #: It waits, its files are sealed, and this worker was not given their key: a server has to start it again.
    waits_for_key: bool = False
    problem: JobProblem | None = None
    pid: int | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None

    @property
    def is_final(self) -> bool:
        """Nothing more will happen by itself."""
        return self.state in FINAL_RUN_STATES


class JobList(Message):
    """`GET /jobs`: every job whose folder is there, newest first, for people at the socket."""

    jobs: list[JobStatus]


class Preflight(Message):
    """`POST /jobs/preflight`: would such a job be accepted, and how long would it take? Starts nothing."""

    recipe: NliLoraRecipe
    #: Reviewed samples.
    samples: Annotated[int, Field(ge=0)]
    #: Mean length of premise and hypothesis together.
    chars_mean: Annotated[float, Field(gt=0)]
    limits: Limits = Limits()
    #: Opens the sealed reports of earlier jobs, whose pace is the best estimate.
    key: FileKey | None = None


class PreflightReply(Message):
    device: Literal["cpu", "cuda"]
    #: That will be taken at most.
    steps: int
    #: Null where it would be refused, and while the base is loading.
    estimate_s: float | None
    warnings: list[str]
    #: Why it would be refused.
    problem: JobProblem | None
