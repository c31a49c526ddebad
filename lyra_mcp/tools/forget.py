"""The tool `forget`."""

from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Elicit, Resolve
from mcp.types import ToolAnnotations
from pydantic import Field

from lyra_mcp.domain.memories import preview
from lyra_mcp.errors import NeedsConfirmation
from lyra_mcp.operations import forgetting
from lyra_mcp.tools._confirmation import Confirmation, can_ask, require
from lyra_mcp.tools._shared import Answer, Call, Reason, services

TITLE = "Forget"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)

IDS_MAX = 100
#: What the question shows of each memory, and of how many.
SHOWN_CHARS = 80
SHOWN_MAX = 5

Ids = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(min_length=1, max_length=IDS_MAX, description="from remember or recall"),
]


class ForgetAnswer(Answer):
    forgotten: list[str]
    not_found: list[str]
    restored: list[str] | None = Field(None, description="earlier values and versions that count again")


async def ask(call: Call, ids: Ids, confirm: bool = False) -> Elicit[Confirmation] | Confirmation:
    """Show the person what would go; where nothing would, there is nothing to ask."""
    found = await forgetting.find_memories(services(call), ids)
    if confirm or not found:
        return Confirmation(confirm=True)
    shown = "; ".join(f"{memory.kind} “{preview(memory.text, SHOWN_CHARS)}”" for memory in found[:SHOWN_MAX])
    more = f"; and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
    question = f"Forget for good: {shown}{more}?"
    if not can_ask(call):
        raise NeedsConfirmation(f"{question} Ask the person, then call forget again with confirm=true")
    return Elicit(question, Confirmation)


async def forget(
    call: Call,
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask)],
    ids: Ids,
    reason: Reason = None,
    confirm: Annotated[bool, Field(description="true when the person has agreed")] = False,
) -> ForgetAnswer:
    """Delete memories for good, with their ratings and index entries. recall() shows the ids.

    An earlier value of a fact, or version of a workflow, counts again (`restored`); forget it too if it shall go.
    Asks the person; where the client cannot, ask them yourself and pass confirm=true.
    Example: forget(ids=["mem_1f2e3d4c5b6a"], reason="no longer true", confirm=true)
    """
    del confirm  # read by `ask`
    require(answer)
    done = await forgetting.forget(services(call), ids, reason=reason)
    return ForgetAnswer(
        forgotten=list(done.forgotten),
        not_found=list(done.not_found),
        restored=list(done.restored) or None,
        next_step=_next_step(done),
    )


def _next_step(done: forgetting.Forgotten) -> str:
    if done.restored:
        return "Earlier values count again; forget them too if the person wants all of it gone."
    if done.not_found and not done.forgotten:
        return "None of these ids exists; recall(query=...) shows the ids there are."
    return ""
