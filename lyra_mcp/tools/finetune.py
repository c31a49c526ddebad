"""The tool `finetune`."""

from typing import Annotated, Literal

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.errors import Invalid, NeedsConfirmation
from lyra_mcp.operations import finetuning
from lyra_mcp.operations.finetuning import Plan
from lyra_mcp.operations.idempotency import Key, once
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.training_data import TrainingData
from lyra_mcp.tools._confirmation import Confirmation, can_ask, require
from lyra_mcp.tools._jobs import TriggersView, next_step_of, triggers_view
from lyra_mcp.tools._shared import Answer, Call, refuse_stray, services
from schema.jobs import NliLoraRecipe, dominant_domain
from schema.vocabulary import JobKind, JobState

TITLE = "Retrain from corrections"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)

ActionName = Literal["plan", "start", "cancel", "resume"]
#: The arguments each action takes beside `kind`.
ALLOWED: dict[ActionName, frozenset[str]] = {
    "plan": frozenset({"recipe"}),
    "start": frozenset({"recipe", "confirm", "force", "idempotency_key"}),
    "cancel": frozenset({"job_id"}),
    "resume": frozenset({"job_id"}),
}
DEFAULT_RECIPE = "default"
#: Ids of quarantined samples that a plan names.
QUARANTINED_SHOWN = 10


class FinetuneAnswer(Answer):
    NULLABLE = frozenset({"estimate_s"})

    action: ActionName
    job_id: str | None = None
    state: JobState | None = None
    eligible: bool | None = None
    obstacle: str | None = None
    triggers: TriggersView | None = None
    data: dict[str, int] | None = Field(None, description="samples by source")
    excluded: dict[str, int] | None = Field(None, description="pairs left out, by reason")
    cost: float | None = Field(None, description="in US dollars; local training costs nothing")
    estimate_s: float | None = Field(None, description="null: not estimated")
    device: str | None = None
    warnings: list[str] | None = None
    recipe_name: str | None = None
    recipe: NliLoraRecipe | None = None


async def ask(
    call: Call,
    action: ActionName,
    recipe: str | None = None,
    job_id: str | None = None,
    confirm: bool = False,
    force: bool = False,
    idempotency_key: str | None = None,
) -> Elicit[Confirmation] | Confirmation:
    """Only a start needs the person's consent; they decide knowing what it takes."""
    given = {"recipe": recipe, "job_id": job_id, "idempotency_key": idempotency_key}
    refuse_stray(action, ALLOWED[action], **given, confirm=confirm or None, force=force or None)
    if action != "start" or confirm:
        return Confirmation(confirm=True)
    planned = await finetuning.plan(services(call), recipe_name=recipe or DEFAULT_RECIPE)
    if planned.obstacle or not (planned.triggers.ready or force):
        return Confirmation(confirm=True)  # the start itself says what stands in the way
    question = f"Train an adapter on {planned.data.reviewed} reviews, {_duration(planned)}?"
    if not can_ask(call):
        raise NeedsConfirmation(f"{question} Ask the person, then call finetune again with confirm=true")
    return Elicit(question, Confirmation)


async def finetune(
    call: Call,
    action: ActionName,
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    kind: JobKind = "nli_lora",
    recipe: Annotated[
        str | None, Field(description="default, small (about a hundred samples), or seed (the design document's)")
    ] = None,
    job_id: Annotated[str | None, Field(description="for cancel and resume")] = None,
    confirm: Annotated[bool, Field(description="true when the person has agreed")] = False,
    force: Annotated[bool, Field(description="start although the triggers are not all met")] = False,
    idempotency_key: Annotated[
        str | None, Field(min_length=1, max_length=200, description="the same key starts one job")
    ] = None,
) -> FinetuneAnswer:
    """Train a LoRA adapter of the judging model on people's corrections, locally, in the background.

    plan: what would be trained, on what, how long; starts nothing. start: asks the person; where the client cannot,
    ask them yourself and pass confirm=true. Follow it with finetune_status. The result serves only after the gate and
    adapters(action="activate"). cancel, resume: by job_id. Example: finetune(action="plan")
    """
    del kind, confirm  # one kind so far; `ask` reads confirm
    lyra = services(call)
    recipe_name = recipe or DEFAULT_RECIPE
    match action:
        case "plan":
            return _planned(await finetuning.plan(lyra, recipe_name=recipe_name))
        case "start":
            require(answer)
            key = Key("finetune", idempotency_key, {"action": action, "recipe": recipe_name, "force": force})
            started = await once(lyra, key, lambda: _start(lyra, key, recipe=recipe_name, force=force))
            return FinetuneAnswer(
                action=action,
                job_id=started["job_id"],
                state=started["state"],
                next_step=f"finetune_status(job_id='{started['job_id']}', wait_s=45) waits for it.",
            )
        case "cancel" | "resume":
            if job_id is None:
                raise Invalid(f"{action} needs job_id; finetune_status() lists jobs")
            watched = await (finetuning.cancel if action == "cancel" else finetuning.resume)(lyra, job_id)
            return FinetuneAnswer(
                action=action, job_id=job_id, state=watched.job.state, next_step=next_step_of(watched)
            )


async def _start(lyra: Services, key: Key, *, recipe: str, force: bool) -> dict[str, str]:
    job = await finetuning.start(lyra, recipe_name=recipe, force=force, key=key)
    return {"job_id": job.job_id, "state": job.state}


def _planned(planned: Plan) -> FinetuneAnswer:
    eligible = not planned.obstacle
    if not eligible:
        next_step = planned.obstacle
    elif not planned.triggers.ready:
        next_step = "Not all triggers are met: more corrections first, or start with force=true."
    else:
        next_step = "Show this to the person; finetune(action='start') trains."
    return FinetuneAnswer(
        action="plan",
        eligible=eligible,
        obstacle=planned.obstacle or None,
        triggers=triggers_view(planned.triggers),
        data=planned.data.counts,
        excluded=planned.data.excluded,
        cost=0.0,
        estimate_s=planned.preflight.estimate_s if eligible else None,
        device=planned.preflight.device,
        warnings=[*planned.preflight.warnings, *_balance_warnings(planned.data), *_privacy_warnings(planned.data)],
        recipe_name=planned.recipe_name,
        recipe=planned.recipe,
        next_step=next_step,
    )


def _balance_warnings(data: TrainingData) -> list[str]:
    if (dominant := dominant_domain(data.samples)) is None:
        return []
    domain, share = dominant
    return [f"{share:.0%} of the samples with a source come from {domain}: the training may learn the site"]


def _privacy_warnings(data: TrainingData) -> list[str]:
    warnings = []
    if data.redacted:
        warnings.append(f"{data.redacted} samples hold private data; tags such as [REDACTED_EMAIL] stand in its place")
    if data.quarantined:
        some = ", ".join(data.quarantined[:QUARANTINED_SHOWN])
        warnings.append(
            f"{len(data.quarantined)} samples hold private data and wait for the person: {some};"
            " with LYRA_REDACTION_MODE=redact they are trained on with tags in its place"
        )
    return warnings


def _duration(planned: Plan) -> str:
    seconds = planned.preflight.estimate_s
    if seconds is None:
        about = "some minutes"
    else:
        minutes = max(1, round(seconds / 60))
        about = "about a minute" if minutes == 1 else f"about {minutes} minutes"
    return f"for {about} on the {planned.preflight.device}"
