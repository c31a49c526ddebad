"""Closed word lists. The same words stand as CHECKs in the SQL; a test compares the two."""

from typing import Literal, get_args

Label = Literal["supports", "refutes", "neutral"]
LABELS: tuple[Label, ...] = get_args(Label)

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
