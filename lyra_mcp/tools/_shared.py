"""What the tools' results and parameters have in common."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from mcp.server.mcpserver import Context
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from lyra_mcp.domain.edges import Triple
from lyra_mcp.errors import Invalid
from lyra_mcp.operations.services import Services
from lyra_mcp.operations.serving import BASE
from schema.vocabulary import LABELS

#: The SDK hands this to a tool; it does not appear among the arguments.
Call = Context[Services, object]

Reason = Annotated[str | None, Field(min_length=1, max_length=2_000, description="why; kept with the record")]


#: In an answer, whatever the database and the worker write: null where the base answers alone.
AdapterName = Annotated[str | None, BeforeValidator(lambda name: None if name in {"", BASE} else name)]


class Result(BaseModel):
    """A part of an answer, read from an operation's outcome."""

    model_config = ConfigDict(from_attributes=True)


class Answer(Result):
    """A whole answer: it ends with what a good agent would do now, and leaves out what does not apply."""

    #: Promised names that stand in an answer as null where they were given and have no value.
    NULLABLE: ClassVar[frozenset[str]] = frozenset()

    next_step: str = ""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        required = {name for name, field in type(self).model_fields.items() if field.is_required()}
        shown = required | (self.NULLABLE & self.model_fields_set)
        return {name: value for name, value in serialise(self).items() if value is not None or name in shown}


class ServingView(Result):
    adapter: AdapterName = Field(description="null: none")
    version: int | None


class PerLabel(Result):
    supports: float
    refutes: float
    neutral: float


class Score(Result):
    """A support ratio, not a probability of truth."""

    support_ratio: float
    uncertainty: float
    controversy: float
    supports: int
    refutes: int
    neutral: int


def services(call: Call) -> Services:
    return call.request_context.lifespan_context


def connection(call: Call) -> str | None:
    """Whose last conversation is meant: the one client of stdio, or a session over HTTP; None: it has no session."""
    return "stdio" if call.headers is None else call.headers.get("mcp-session-id")


def refuse_stray(action: str, allowed: Collection[str], **given: object) -> None:
    """Raises Invalid where an argument was given that the action does not read: it would be a wish unheard."""
    stray = sorted(name for name, value in given.items() if value is not None and name not in allowed)
    if stray:
        raise Invalid(f"{action} takes no {' and no '.join(stray)}; leave it out or choose another action")


def per_label(probabilities: Triple) -> PerLabel:
    return PerLabel(**dict(zip(LABELS, probabilities, strict=True)))
