"""The tool `remember`."""

from typing import Annotated, Any, Required, cast

from mcp.types import ToolAnnotations
from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict  # pydantic reads only this one on Python 3.11

from lyra_mcp.domain.memories import ROLES, Role, parse_memory
from lyra_mcp.domain.similar_memories import Relation
from lyra_mcp.operations import remembering
from lyra_mcp.operations.remembering import Remembered
from lyra_mcp.tools._shared import Answer, Call, Result, connection, services
from schema.vocabulary import MEMORY_KINDS, MemoryKind

TITLE = "Remember"
PROFILE = "core"
ANNOTATIONS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


@with_config(ConfigDict(extra="forbid"))
class MessageArgument(TypedDict):
    role: Role
    content: str


@with_config(ConfigDict(extra="forbid"))
class MemoryArgument(TypedDict, total=False):
    """What a kind has no use for is absent; `parse_memory` says which fields a kind needs, and their limits."""

    kind: Required[MemoryKind]
    messages: list[MessageArgument]
    response: str
    model: str
    metadata: dict[str, Any]
    category: str
    key: str
    value: Any
    confidence: float
    source: str
    event_type: str
    description: str
    context: dict[str, Any]
    name: str
    steps: list[str]


_TEXT: dict[str, Any] = {"type": "string"}
#: The same by hand, in a fifth of the words: an agent pays for each of them.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": _TEXT | {"enum": list(MEMORY_KINDS)},
        "messages": {
            "type": "array",
            "items": {"type": "object", "properties": {"role": _TEXT | {"enum": list(ROLES)}, "content": _TEXT}},
        },
        "response": _TEXT,
        "model": _TEXT,
        "metadata": {"type": "object"},
        "category": _TEXT,
        "key": _TEXT,
        "value": {},
        "confidence": {"type": "number"},
        "source": _TEXT,
        "event_type": _TEXT,
        "description": _TEXT,
        "context": {"type": "object"},
        "name": _TEXT,
        "steps": {"type": "array", "items": _TEXT},
    },
    "required": ["kind"],
    "additionalProperties": False,
}


class SimilarView(Result):
    id: str
    relation: Relation
    similarity: float | None


class RememberAnswer(Answer):
    id: str
    kind: MemoryKind
    similar: list[SimilarView]
    supersedes: str | None = Field(None, description="hidden from recall by this one, and kept")
    redacted: list[str] = Field(description="kinds of private data in it, masked before training or sending")
    use_count: int | None = Field(None, description="of the workflow")


async def remember(
    call: Call,
    memory: Annotated[MemoryArgument, WithJsonSchema(SCHEMA), Field(description="see above")],
    idempotency_key: Annotated[str | None, Field(min_length=1, max_length=200)] = None,
) -> RememberAnswer:
    """Keep something word for word; recall() finds it; `similar` may contradict it.

    conversation: messages, response, model?, metadata?
    fact: category, key, value, confidence?, source?; another value of the key supersedes.
    episode: event_type, description, context? (context.workflow: which one was used)
    workflow: name, steps; the same name is a new version.
    Example: remember(memory={"kind": "fact", "category": "work", "key": "role", "value": "nurse"})
    """
    given = cast("dict[str, Any]", dict(memory))
    remembered = await remembering.remember(
        services(call),
        parse_memory(given.pop("kind"), given),
        idempotency_key=idempotency_key,
        connection=connection(call),
    )
    answer = RememberAnswer.model_validate(remembered)
    return answer.model_copy(update={"next_step": _next_step(remembered)})


def _next_step(remembered: Remembered) -> str:
    if not remembered.is_new:
        return "This very fact holds already; nothing was written."
    if any(one.relation == "contradicts" for one in remembered.similar):
        return (
            f"This contradicts {remembered.supersedes}, which no longer counts; say so if that may surprise the person."
        )
    if any(one.relation == "same" for one in remembered.similar):
        return "The same was remembered before; forget(ids=[...]) removes what is there twice."
    return ""
