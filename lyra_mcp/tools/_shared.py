"""What the tools' results and parameters have in common."""

from typing import Annotated

from mcp.server.mcpserver import Context
from pydantic import BaseModel, ConfigDict, Field

from lyra_mcp.domain.edges import Triple
from lyra_mcp.operations.services import Services
from schema.vocabulary import LABELS

#: The SDK hands this to a tool; it does not appear among the arguments.
Call = Context[Services, object]

Reason = Annotated[
    str | None, Field(min_length=1, max_length=2_000, description="why; kept with the record")
]


class Result(BaseModel):
    """A part of an answer, read from an operation's outcome."""

    model_config = ConfigDict(from_attributes=True)


class Answer(Result):
    """A whole answer: it ends with what a good agent would do now."""

    next_step: str = ""


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


def per_label(probabilities: Triple) -> PerLabel:
    return PerLabel(**dict(zip(LABELS, probabilities, strict=True)))
