"""The tool `finetune_status`."""

from typing import Annotated

from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.versions import UNDER_WAY
from lyra_mcp.operations import finetuning, watching
from lyra_mcp.operations.adapters import read_serving
from lyra_mcp.tools._jobs import JobView, TriggersView, job_view, next_step_of, triggers_view
from lyra_mcp.tools._shared import Answer, Call, ServingView, services
from schema.jobs import JobStatus

TITLE = "Retraining status"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
JOBS_SHOWN = 10


class FinetuneStatusAnswer(Answer):
    triggers: TriggersView
    ready: bool = Field(description="all triggers are met; nothing starts by itself")
    jobs: list[JobView]
    serving: ServingView


async def finetune_status(
    call: Call,
    job_id: Annotated[str | None, Field(description="only this job")] = None,
    wait_s: Annotated[float, Field(ge=0, le=45, description="wait so long for the job under way to need somebody")] = 0,
) -> FinetuneStatusAnswer:
    """Is it worth retraining, how far are the jobs, and what serves now. Never starts a training.

    triggers: new corrections, correction rate, days since the last training, each with its threshold.
    Example: finetune_status(job_id="job_1f2e3d4c5b6a", wait_s=45)
    """
    lyra = services(call)

    told = -1

    async def tell(run: JobStatus) -> None:
        """The protocol wants every notification to be further than the one before."""
        nonlocal told
        if run.step > told:
            told = run.step
            await call.report_progress(run.step, run.steps, run.state)

    watched = [] if job_id else await watching.watch_all(lyra, limit=JOBS_SHOWN)
    awaited = job_id or next((one.job.job_id for one in watched if one.job.state in UNDER_WAY), None)
    if awaited and (job_id or wait_s):
        ended = await watching.wait(lyra, awaited, wait_s=wait_s, progress=tell)
        watched = [ended] if job_id else await watching.watch_all(lyra, limit=JOBS_SHOWN)
    triggers = await finetuning.read_current_triggers(lyra)
    if watched:
        next_step = next_step_of(watched[0])
    else:
        next_step = "finetune(action='plan') shows what would be trained." if triggers.ready else ""
    return FinetuneStatusAnswer(
        triggers=triggers_view(triggers),
        ready=triggers.ready,
        jobs=[job_view(one) for one in watched],
        serving=ServingView.model_validate(await read_serving(lyra)),
        next_step=next_step,
    )
