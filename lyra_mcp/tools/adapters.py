"""The tool `adapters`."""

from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.errors import Invalid, NeedsConfirmation
from lyra_mcp.operations import adapters as operations
from lyra_mcp.operations.adapters import Comparison, Registry, VersionView, correction_rate
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.operations.services import Services
from lyra_mcp.tools._confirmation import Confirmation, can_ask, require
from lyra_mcp.tools._jobs import GateView, JobMetrics, metrics_view
from lyra_mcp.tools._shared import Answer, Call, Reason, Result, ServingView, refuse_stray, services
from schema.jobs import NliLoraRecipe
from schema.vocabulary import Alias, AliasAction, JobKind

TITLE = "Adapters and versions"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)

ActionName = Literal["list", "status", "load", "unload", "activate", "rollback", "compare", "prune"]
#: The arguments each action takes beside `model`.
ALLOWED: dict[ActionName, frozenset[str]] = {
    "list": frozenset(),
    "status": frozenset(),
    "load": frozenset({"adapter_path"}),
    "unload": frozenset(),
    "activate": frozenset({"version", "reason", "force", "confirm"}),
    "rollback": frozenset({"reason", "confirm"}),
    "compare": frozenset({"version", "other"}),
    "prune": frozenset({"confirm"}),
}


class VersionAnswer(Result):
    version: int
    job_id: str
    adapter_path: str
    aliases: list[Alias]
    created_at: str
    samples: int
    samples_sha256: str
    recipe_name: str
    recipe: NliLoraRecipe
    fingerprint: str = Field(description="of the base it was trained on")
    adapter_sha256: str
    parent_version: int | None = Field(description="the champion it was compared with; null: the base")
    is_pruned: bool
    gate: GateView
    metrics: JobMetrics
    reviewed: int
    corrected: int
    correction_rate: float | None
    correction_rate_trend: float | None = Field(description="against the version before; null until both have reviews")


class Event(Result):
    action: AliasAction
    from_version: int | None
    to_version: int | None
    forced: bool
    reason: str | None
    created_at: str


class ChangeView(Result):
    name: str
    before: float
    after: float
    change: float
    change_percent: float | None


class ComparisonView(Result):
    version: int
    other: int | None = Field(description="null: the base on the same hold-out")
    same_data: bool
    changes: list[ChangeView]


class AdaptersAnswer(Answer):
    action: ActionName
    versions: list[VersionAnswer] | None = None
    events: list[Event] | None = None
    serving: ServingView | None = None
    adapter_loaded: bool | None = None
    adapter_path: str | None = None
    base_model: str | None = None
    message: str | None = None
    from_version: int | None = None
    to_version: int | None = None
    comparison: ComparisonView | None = None
    pruned: list[int] | None = None


async def ask(
    call: Call,
    action: ActionName,
    version: int | None = None,
    other: int | None = None,
    adapter_path: str | None = None,
    reason: str | None = None,
    force: bool = False,
    confirm: bool = False,
) -> Elicit[Confirmation] | Confirmation:
    """The person decides what serves and what is deleted; they are asked about nothing that cannot be."""
    given = {"version": version, "other": other, "adapter_path": adapter_path, "reason": reason}
    refuse_stray(action, ALLOWED[action], **given, force=force or None, confirm=confirm or None)
    await reconcile(services(call))  # what ended since the last call becomes a version first
    question = "" if confirm else await _question(services(call), action, version, force=force)
    if not question:
        return Confirmation(confirm=True)
    if not can_ask(call):
        raise NeedsConfirmation(f"{question} Ask the person, then call adapters again with confirm=true")
    return Elicit(question, Confirmation)


async def adapters(
    call: Call,
    action: ActionName,
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    model: Annotated[JobKind, Field(description="which kind of model")] = "nli_lora",
    version: Annotated[int | None, Field(ge=1, description="for activate and compare")] = None,
    other: Annotated[int | None, Field(ge=1, description="for compare; default: the base")] = None,
    adapter_path: Annotated[str | None, Field(description="for load: inside the adapters folder")] = None,
    reason: Reason = None,
    force: Annotated[bool, Field(description="activate although the gate failed; kept on record")] = False,
    confirm: Annotated[bool, Field(description="true when the person has agreed")] = False,
) -> AdaptersAnswer:
    """Which trained versions exist, which one serves, and how to change that.

    list: versions with gate, scores, recipe and correction rate. activate(version): let one serve. rollback: what
    served before. compare(version, other). prune: delete the files of old versions. status / load / unload: an adapter
    by hand, until this server ends. activate, rollback and prune ask the person.
    Example: adapters(action="rollback", reason="worse on trials", confirm=true)
    """
    del model, confirm  # one kind so far; `ask` reads confirm
    require(answer)
    lyra = services(call)
    match action:
        case "list":
            return _listed(await operations.read_registry(lyra))
        case "status":
            return await _status(lyra)
        case "load":
            return AdaptersAnswer(action=action, adapter_path=await operations.load(lyra, adapter_path))
        case "unload":
            return AdaptersAnswer(action=action, message=await operations.unload(lyra))
        case "activate":
            before, after = await operations.activate(lyra, _needed(version), reason=reason, force=force)
            return AdaptersAnswer(
                action=action,
                from_version=before,
                to_version=after,
                message="It serves from the next call on, with its own calibration; earlier fits do not apply.",
                next_step="adapters(action='rollback') goes back; calibration_metrics(action='evaluate') watches it.",
            )
        case "rollback":
            was, now = await operations.roll_back(lyra, reason=reason)
            return AdaptersAnswer(
                action=action,
                from_version=was,
                to_version=now,
                message=f"Now {_named(lyra, now)} serves.",
            )
        case "compare":
            return _compared(await operations.compare(lyra, _needed(version), other))
        case "prune":
            return AdaptersAnswer(action=action, pruned=await operations.prune(lyra))


def _needed(version: int | None) -> int:
    if version is None:
        raise Invalid("a version is needed; adapters(action='list') shows versions")
    return version


async def _question(lyra: Services, action: ActionName, version: int | None, *, force: bool) -> str:
    match action:
        case "activate":
            planned = await operations.plan_activation(lyra, _needed(version), force=force)
            return f"Let version {version} serve{planned.objection and f', although it {planned.objection}'}?"
        case "rollback":
            was, now = await operations.plan_rollback(lyra)
            return f"Go back from version {was} to {_named(lyra, now)}?"
        case "prune":
            doomed = [str(one.version) for one in await operations.plan_prune(lyra)]
            return f"Delete the files of version {', '.join(doomed)}?" if doomed else ""
        case _:
            return ""


def _named(lyra: Services, number: int | None) -> str:
    """What serves once an alias points to this version, or to none."""
    if number is not None:
        return f"version {number}"
    default = lyra.settings.default_adapter
    return f"adapter {default} of LYRA_DEFAULT_ADAPTER" if default else "the base alone"


async def _status(lyra: Services) -> AdaptersAnswer:
    status = await operations.read_worker_status(lyra)
    return AdaptersAnswer(
        action="status",
        serving=ServingView.model_validate(await operations.read_serving(lyra)),
        adapter_loaded=status.adapter_loaded if status else None,
        adapter_path=status.adapter_path if status else None,
        base_model=status.base_model if status else None,
        message=None if status else "no worker is running; the next judge() starts one",
    )


def _listed(registry: Registry) -> AdaptersAnswer:
    # Of what served before, on the same base.
    rates = {fingerprint: correction_rate(counts) for fingerprint, counts in registry.bases.items()}
    views = []
    for view in reversed(registry.versions):  # oldest first, so that each is compared with the one before it
        fingerprint = view.version.fingerprint
        answer = _version(view, rates[fingerprint])
        rates[fingerprint] = answer.correction_rate if answer.correction_rate is not None else rates[fingerprint]
        views.append(answer)
    return AdaptersAnswer(
        action="list",
        versions=views[::-1],
        events=[Event.model_validate(event) for event in registry.events],
        serving=ServingView.model_validate(registry.serving),
        next_step="" if views else "No version yet; finetune(action='plan') shows what could be trained.",
    )


def _version(view: VersionView, rate_before: float | None) -> VersionAnswer:
    version = view.version
    rate = correction_rate((view.reviewed, view.corrected))
    return VersionAnswer(
        version=version.version,
        job_id=version.job_id,
        adapter_path=version.adapter_path,
        aliases=view.aliases,
        created_at=version.created_at,
        samples=version.samples,
        samples_sha256=version.samples_sha256,
        recipe_name=version.recipe_name,
        recipe=NliLoraRecipe.model_validate_json(version.recipe),
        fingerprint=version.fingerprint,
        adapter_sha256=version.adapter_sha256,
        parent_version=version.parent_version,
        is_pruned=version.is_pruned,
        gate=GateView.model_validate(version.gate),
        metrics=metrics_view(version),
        reviewed=view.reviewed,
        corrected=view.corrected,
        correction_rate=rate,
        correction_rate_trend=None if rate is None or rate_before is None else rate - rate_before,
    )


def _compared(comparison: Comparison) -> AdaptersAnswer:
    return AdaptersAnswer(
        action="compare",
        comparison=ComparisonView.model_validate(comparison),
        next_step="" if comparison.same_data else "The hold-outs differ: trust each version's gate more than this.",
    )
