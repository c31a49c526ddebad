"""The tool `calibration_rollback`."""

from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.errors import NeedsConfirmation
from lyra_mcp.operations.calibration import plan_rollback, roll_back
from lyra_mcp.tools._confirmation import Confirmation, can_ask, require
from lyra_mcp.tools._shared import Answer, Call, Reason, services

TITLE = "Roll calibration back"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)


class RollbackAnswer(Answer):
    from_version: int
    to_version: int


async def ask(call: Call, version: int | None = None, confirm: bool = False) -> Elicit[Confirmation] | Confirmation:
    """Let the person decide, once it is clear what would happen."""
    from_version, to_version = await plan_rollback(services(call), version=version)
    if confirm:
        return Confirmation(confirm=True)
    question = f"Go back from calibration version {from_version} to version {to_version}?"
    if not can_ask(call):
        raise NeedsConfirmation(f"{question} Ask the person, then call calibration_rollback again with confirm=true")
    return Elicit(question, Confirmation)


async def calibration_rollback(
    call: Call,
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    version: Annotated[int | None, Field(ge=0, description="default: the one before; 0: the model's own")] = None,
    reason: Reason = None,
    confirm: Annotated[bool, Field(description="true when the person has agreed")] = False,
) -> RollbackAnswer:
    """Let an earlier calibration serve again. Confidences change at once; labels never do, and nothing is deleted.

    Asks the person; where the client cannot, ask them yourself and pass confirm=true.
    Example: calibration_rollback(reason="overconfident on new topics", confirm=true)
    """
    del confirm  # read by `ask`
    require(answer)
    from_version, to_version = await roll_back(services(call), version=version, reason=reason)
    return RollbackAnswer(
        from_version=from_version,
        to_version=to_version,
        next_step="calibration_metrics(action='evaluate') measures the confidences as they are now.",
    )
