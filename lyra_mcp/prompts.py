"""Prompts: ready conversations a person can start."""

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from lyra_mcp.domain.prompting import BUDGET_TOKENS
from lyra_mcp.operations.preferring import read_prefix
from lyra_mcp.operations.prompt_building import build_prompt
from lyra_mcp.operations.services import Services

Call = Context[Services, object]


def register(server: MCPServer[Services]) -> None:
    server.prompt(title="Correction session")(correction_session)
    server.prompt(title="Personal system prompt")(personal_system_prompt)


def correction_session(count: str = "10", topic: str = "") -> str:
    """Go through the next edges worth a look, one by one, with a person."""
    about = (
        f" Only claims about {topic} matter today: find them with get_claims(query=...) and pass claim_id."
        if topic
        else ""
    )
    return f"""\
Let us check what Lyra believes. Call review_queue(limit={count}).{about}

For each item show me the premise and the hypothesis as quotations, Lyra's label and how sure it is, and ask me: does
the premise support the hypothesis, refute it, or say nothing about it? Do not argue for Lyra's label and do not
answer for me. Hand each answer back with feedback(action="edge_correct", edge_id=..., correct_label=...), also when
Lyra was right; if I change my mind, feedback(action="edge_retract", review_id=...). If I am unsure, skip the item.

At the end call calibration_metrics(action="evaluate") and tell me in two sentences how often Lyra was right and
whether its confidences can be believed, with the number of reviews behind it."""


async def personal_system_prompt(call: Call, task: str = "") -> str:
    """How I want answers, from what I said and how I rated; with a task also what is remembered about it."""
    lyra = call.request_context.lifespan_context
    if not task.strip():
        return await read_prefix(lyra)
    return (await build_prompt(lyra, task, budget_tokens=BUDGET_TOKENS)).prompt.text
