"""The nouns of retraining: a job, the version it made, and what became of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lyra_mcp.domain.promotion import Gate
from schema.vocabulary import AliasAction, JobKind, JobState

#: Of the newest versions, so many are never pruned.
KEPT_MIN = 3

#: States in which something will still happen by itself.
UNDER_WAY: frozenset[JobState] = frozenset(
    {"planned", "awaiting_approval", "preparing", "training", "evaluating", "gated"}
)
#: States that may still change without the server: an interrupted job can be found alive again.
WATCHED: frozenset[JobState] = UNDER_WAY | {"interrupted"}
#: A cancelled job is not: its checkpoints are gone.
RESUMABLE: frozenset[JobState] = frozenset({"interrupted", "failed"})


@dataclass(frozen=True, slots=True)
class Job:
    job_id: str
    kind: JobKind
    state: JobState
    base_model: str
    fingerprint: str
    recipe_name: str
    samples_sha256: str
    samples: int
    champion_version: int | None
    problem: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class HoldoutScores:
    """How one model did on a version's hold-out."""

    n: int
    accuracy: float
    brier: float
    nll: float
    ece: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class ModelVersion:
    kind: JobKind
    version: int
    job_id: str
    adapter_path: str
    adapter_sha256: str
    base_model: str
    fingerprint: str
    #: The champion it was compared with; null: the base alone.
    parent_version: int | None
    samples_sha256: str
    samples: int
    recipe_name: str
    #: As JSON text.
    recipe: str
    base: HoldoutScores
    candidate: HoldoutScores
    gate: Gate
    created_at: str
    is_pruned: bool


@dataclass(frozen=True, slots=True)
class AliasEvent:
    action: AliasAction
    from_version: int | None
    to_version: int | None
    forced: bool
    reason: str | None
    created_at: str


def objection(version: ModelVersion, champion: ModelVersion | None) -> str:
    """What speaks against letting a version serve in the champion's place; empty where nothing does.

    The gate compared it with what served when its training began, which may be another by now. `champion`: what serves
    today on the version's base; None: the base alone, with which every version was compared as well.
    """
    if not version.gate.passed:
        failed = ", ".join(condition.name for condition in version.gate.conditions if not condition.met)
        return f"did not pass the gate ({failed})"
    if champion is None:
        is_worse = version.candidate.accuracy < version.base.accuracy or version.candidate.brier > version.base.brier
        return "is worse than the base alone on its hold-out" if is_worse else ""
    if champion.version in (version.version, version.parent_version):
        return ""
    compared = "the base alone" if version.parent_version is None else f"version {version.parent_version}"
    return f"was compared with {compared}, and version {champion.version} serves now"


def rollback_target(events: Sequence[AliasEvent], *, pruned: Collection[int] = ()) -> int | None:
    """The version that served before the present one and still has its files; None is the base alone.

    Rollbacks undo activations like brackets close: two in a row go back two activations, not back and forth.
    """
    champions: list[int | None] = [None]
    for event in events:
        if event.action == "activate":
            champions.append(event.to_version)
        else:
            champions.pop()
            # A rollback may have passed over versions whose files were pruned.
            while champions[-1] != event.to_version:
                champions.pop()
    return next((version for version in reversed(champions[:-1]) if version not in pruned), None)


def prunable(versions: Sequence[ModelVersion], *, aliased: Collection[int]) -> list[ModelVersion]:
    """What may be deleted: all but the newest three, what an alias names, and the parents of these, not further up."""
    whole = sorted((version for version in versions if not version.is_pruned), key=lambda version: version.version)
    newest = {version.version for version in whole[-KEPT_MIN:]}
    kept = newest | set(aliased)
    parents = {version.parent_version for version in whole if version.version in kept}
    return [version for version in whole if version.version not in kept | parents]
