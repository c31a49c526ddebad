"""Every request and reply between the server and the worker, with their limits in the types.

JSON over HTTP on a Unix socket. A request that fails is answered with a status of 400 or more and a
`Problem`; a reply of 200 is always the whole answer.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schema.sealing import FileKey
from schema.vocabulary import Label, WorkerState

#: Raised when a message changes in a way the other side would misread; both sides compare it.
PROTOCOL = 3

PAIRS_MAX = 64
TEXTS_MAX = 64
TEXT_CHARS_MAX = 65_536
INTENT_EXAMPLES_MAX = 20_000
INTENT_CHARS_MAX = 80


def _clean(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty or only white space")
    if "\0" in text:
        raise ValueError("must not contain NUL characters; remove them")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode; remove the lone surrogate") from error
    return text


#: A text a person or an agent wrote: not blank, storable, at most `TEXT_CHARS_MAX` characters.
Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX), AfterValidator(_clean)]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# Errors


#: `warming`, `busy`: try again; the others need another request.
ProblemCode = Literal[
    "invalid",
    "warming",
    "busy",
    "failed",
    "unknown_adapter",
    "out_of_memory",
]


class Problem(Message):
    code: ProblemCode
    message: str


# Judging pairs


class Pair(Message):
    """A premise (the evidence) and a hypothesis (the claim)."""

    premise: Text
    hypothesis: Text


class PerLabel(Message):
    """One number for each label."""

    supports: float
    refutes: float
    neutral: float

    def of(self, label: Label) -> float:
        value: float = getattr(self, label)
        return value


class JudgePairs(Message):
    """`POST /nli`."""

    pairs: Annotated[list[Pair], Field(min_length=1, max_length=PAIRS_MAX)]
    #: `loaded`: what `/nli/adapter/load` set; `base`: no adapter; else a path inside the adapters root.
    adapter: str = "loaded"
    #: Opens the adapter where it is sealed.
    key: FileKey | None = None
    representation: bool = False


class Judgement(Message):
    #: Before any temperature; softmax gives the raw probabilities.
    logits: PerLabel
    #: The pair was longer than the model reads; its end was not seen.
    truncated: bool
    #: Base64 of the pair's pooled representation: (H,) float32, little endian, of unit length.
    representation: str | None = None


class ServedBy(Message):
    """What answered: enough to attribute a judgement to exact weights."""

    base_model: str
    #: SHA-256 over weights, tokenizer and label order of the base.
    fingerprint: str
    #: Path inside the adapters root; null: the base alone.
    adapter: str | None
    #: Of the adapter's weights file, as it is in plain.
    adapter_sha256: str | None
    #: The temperature the model was shipped with (calibration version 0); 1.0 when it brought none.
    temperature: Annotated[float, Field(gt=0)]
    device: str


class JudgeReply(Message):
    #: In the order of the request's pairs.
    judgements: list[Judgement]
    served_by: ServedBy


# Embedding texts


class EmbedTexts(Message):
    """`POST /embed`."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=TEXTS_MAX)]


class EmbedReply(Message):
    #: Base64 of (D,) float32, little endian, of unit length; in the order of the texts.
    vectors: list[str]
    dimension: int
    model: str
    fingerprint: str
    device: str


# Intents


#: What a person calls an intent; `unknown` is an answer, never an intent.
IntentName = Annotated[str, Field(min_length=1, max_length=INTENT_CHARS_MAX), AfterValidator(_clean)]


class FitIntents(Message):
    """`POST /intent/fit`. The texts were embedded before, so that each of them is embedded once in its life."""

    #: One for each example; at least two different ones, each at least three times.
    intents: Annotated[list[IntentName], Field(min_length=1, max_length=INTENT_EXAMPLES_MAX)]
    #: Base64 of (N, D) float32, little endian, rows of unit length in the order of `intents`.
    vectors: str
    dimension: Annotated[int, Field(ge=1, le=16_384)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class IntentScores(Message):
    """Of examples that the classifier which answered them had not seen; shares in [0, 1]."""

    n: int
    accuracy: float
    macro_f1: float
    #: Share of the examples that reach the threshold.
    kept: float


class IntentRecall(Message):
    """One intent in the cross-validation."""

    intent: str
    examples: int
    recall: float


class IntentFacts(Message):
    """What is to be known of a classifier beside its weights."""

    #: In the order of the weights' rows.
    intents: list[str]
    #: Confidence is softmax(logits / temperature), its maximum.
    temperature: Annotated[float, Field(gt=0)]
    #: In nats: a text with a smaller logsumexp(logits) is `unknown`; it keeps 95 % of held-out examples.
    threshold: float
    folds: int
    #: Every example answered by a classifier of the other folds.
    cross_validated: IntentScores
    #: A stratified fifth, answered by a classifier, temperature and threshold made without it.
    validation: IntentScores
    #: Of the classifier that answered `validation`, on what it was fitted on.
    train_accuracy: float
    #: `train_accuracy` is above the accuracy in validation by more than chance explains.
    is_overfit: bool
    per_intent: list[IntentRecall]


class FittedIntents(Message):
    #: Base64 of safetensors: `weight` (C, D) and `bias` (C,), float32.
    weights: str
    facts: IntentFacts


# Adapters


class LoadAdapter(Message):
    """`POST /nli/adapter/load`; without a path the worker's default adapter is meant."""

    adapter_path: str | None = None
    #: Opens the adapter where it is sealed.
    key: FileKey | None = None


class AdapterLoaded(Message):
    """A load that is refused says `ok: false` with the reason, and the previous adapter keeps serving."""

    ok: bool
    adapter_path: str | None
    message: str


class AdapterUnloaded(Message):
    ok: bool
    message: str


class AdapterStatus(Message):
    """`GET /nli/adapter/status`."""

    adapter_loaded: bool
    adapter_path: str | None
    base_model: str
    fingerprint: str | None
    device: str | None


# Health


class Queue(Message):
    pairs_waiting: int
    pairs_max: int


class Health(Message):
    """`GET /health`: answered from the first moment, also while the models load."""

    state: WorkerState
    #: Why the state is `failed`.
    problem: str | None
    protocol: int
    pid: int
    version: str
    nli_model: str
    embedding_model: str
    device: str | None
    fingerprint: str | None
    adapter: str | None
    queue: Queue
