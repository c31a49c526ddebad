"""Ask the person before something is undone: through the client where it can ask, else through the agent."""

from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from pydantic import BaseModel, Field

from lyra_mcp.errors import NeedsConfirmation
from lyra_mcp.tools._shared import Call


class Confirmation(BaseModel):
    confirm: bool = Field(description="go ahead?")


def can_ask(call: Call) -> bool:
    """Whether the client can show the person a form."""
    capabilities = call.request_context.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.url is None or elicitation.form is not None)


def require(answer: ElicitationResult[Confirmation]) -> None:
    """Raises NeedsConfirmation unless the person said yes."""
    if not (isinstance(answer, AcceptedElicitation) and answer.data.confirm):
        raise NeedsConfirmation(f"the person did not agree ({answer.action}); nothing was changed")
