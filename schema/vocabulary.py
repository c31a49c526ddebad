"""Closed word lists. The same words stand as CHECKs in the SQL; a test compares the two."""

from typing import Literal, get_args

Label = Literal["supports", "refutes", "neutral"]
LABELS: tuple[Label, ...] = get_args(Label)

#: What model authors call our labels, in lower case.
LABEL_NAMES: dict[str, Label] = {
    "entailment": "supports",
    "entail": "supports",
    "supports": "supports",
    "contradiction": "refutes",
    "refutes": "refutes",
    "neutral": "neutral",
}

EdgeKind = Literal["nli", "cites"]
EDGE_KINDS: tuple[EdgeKind, ...] = get_args(EdgeKind)

#: Where an edge's effective label comes from: the model, a review of this edge, or a review of the same pair.
LabelSource = Literal["model", "review", "memory"]
LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)

ClaimStatus = Literal["adopted", "rejected"]
CLAIM_STATUSES: tuple[ClaimStatus, ...] = get_args(ClaimStatus)

#: Who reviewed.
SourceType = Literal["human", "agent", "code"]
SOURCE_TYPES: tuple[SourceType, ...] = get_args(SourceType)

#: How an edge came up for review: queue (uncertain or random audit), or somebody's own choice.
SelectedBy = Literal["uncertain", "random", "choice"]
SELECTED_BY: tuple[SelectedBy, ...] = get_args(SelectedBy)

DomainDecision = Literal["block", "unblock"]
DOMAIN_DECISIONS: tuple[DomainDecision, ...] = get_args(DomainDecision)

CalibrationAction = Literal["fit", "rollback"]
CALIBRATION_ACTIONS: tuple[CalibrationAction, ...] = get_args(CalibrationAction)

#: `warming`: the models are loading; `failed`: they could not be loaded, and the worker says why.
WorkerState = Literal["warming", "ready", "failed"]
WORKER_STATES: tuple[WorkerState, ...] = get_args(WorkerState)

#: What can be trained.
JobKind = Literal["nli_lora"]
JOB_KINDS: tuple[JobKind, ...] = get_args(JobKind)

#: A job's whole life, as the server keeps it.
JobState = Literal[
    "planned",
    "awaiting_approval",
    "preparing",
    "training",
    "evaluating",
    "gated",
    "candidate",
    "champion",
    "retired",
    "cancelled",
    "failed",
    "interrupted",
]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)

#: The part of it the worker sees. `waiting`: another job trains; `evaluated`: the gate may decide;
#: `interrupted`: stopped or killed, and resumable.
RunState = Literal["waiting", "preparing", "training", "evaluating", "evaluated", "cancelled", "failed", "interrupted"]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
FINAL_RUN_STATES: frozenset[RunState] = frozenset({"evaluated", "cancelled", "failed", "interrupted"})

#: `correction`: the person changed the model's label; `confirmed`: the person agreed with it.
SampleSource = Literal["correction", "confirmed", "unreviewed"]
SAMPLE_SOURCES: tuple[SampleSource, ...] = get_args(SampleSource)

#: Which samples an epoch draws: each once, or every label, or every domain, equally often.
Sampling = Literal["natural", "class_balanced", "domain_balanced"]

SplitPart = Literal["train", "validation", "holdout"]
SPLIT_PARTS: tuple[SplitPart, ...] = get_args(SplitPart)

#: Names that point to a version. `previous`: what a rollback brings back.
Alias = Literal["champion", "candidate", "previous"]
ALIASES: tuple[Alias, ...] = get_args(Alias)

AliasAction = Literal["activate", "rollback"]
ALIAS_ACTIONS: tuple[AliasAction, ...] = get_args(AliasAction)

# Memory

MemoryKind = Literal["conversation", "fact", "episode", "workflow"]
MEMORY_KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)

# Personalization

PreferenceChange = Literal["set", "reset", "undo"]
PREFERENCE_CHANGES: tuple[PreferenceChange, ...] = get_args(PreferenceChange)

#: Where a preference was learned from: a rating credited to the setting in force, or a hint in the words.
EvidenceOrigin = Literal["rating", "hint"]
EVIDENCE_ORIGINS: tuple[EvidenceOrigin, ...] = get_args(EvidenceOrigin)

# Trust

#: What a person can agree to. `send`: to one named provider.
Purpose = Literal["store", "learn_locally", "send", "federate"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
