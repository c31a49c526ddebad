"""What can be remembered: four kinds with their limits, kept word for word, and what is searched of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from lyra_mcp.errors import Invalid
from schema.vocabulary import MEMORY_KINDS, MemoryKind
from schema.wire import TEXT_CHARS_MAX

#: Of one memory with everything that belongs to it, as UTF-8.
MEMORY_BYTES_MAX = 2_000_000
#: Of a name: a category, a key, a type of event, a model.
NAME_CHARS_MAX = 200
MESSAGES_MAX = 5_000
STEPS_MAX = 500
#: How deep objects and lists may lie in each other.
DEPTH_MAX = 16
PREVIEW_CHARS = 300
RATING_MIN, RATING_MAX = 1, 5

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class NewConversation:
    """Raises Invalid where it could not be kept word for word; so do the other kinds."""

    kind: ClassVar[MemoryKind] = "conversation"
    messages: Sequence[Message]
    response: str
    model: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_count("messages", self.messages, MESSAGES_MAX)
        for number, message in enumerate(self.messages):
            if message.role not in ROLES:
                raise Invalid(f"messages.{number}.role must be one of {', '.join(ROLES)}; choose one and call again")
            _check_text(f"messages.{number}.content", message.content)
        _check_text("response", self.response)
        _check_name("model", self.model)
        _check_object("metadata", self.metadata)
        _check_size(self.response, self.metadata, *(message.content for message in self.messages))

    @property
    def topic(self) -> str | None:
        return _topic_in(self.metadata)

    @property
    def text(self) -> str:
        said = [f"{message.role}: {message.content}" for message in self.messages]
        return "\n".join([*said, f"assistant: {self.response}"])


@dataclass(frozen=True, slots=True)
class NewFact:
    kind: ClassVar[MemoryKind] = "fact"
    category: str
    key: str
    #: Anything JSON can say, but null.
    value: Any
    confidence: float = 1.0
    source: str | None = None

    def __post_init__(self) -> None:
        _check_name("category", self.category)
        _check_name("key", self.key)
        if self.value is None:
            raise Invalid("value must not be null; forget(ids=[...]) removes a fact")
        if isinstance(self.value, str):
            _check_text("value", self.value)
        _check_json("value", self.value)
        if isinstance(self.confidence, bool) or not 0.0 <= self.confidence <= 1.0:
            raise Invalid("confidence must lie in [0, 1]; correct it and call again")
        if self.source is not None:
            _check_text("source", self.source)
        _check_size(self.value, self.source)

    @property
    def topic(self) -> str | None:
        return self.category

    @property
    def text(self) -> str:
        return f"{self.category} {self.key}: {_readable(self.value)}"


@dataclass(frozen=True, slots=True)
class NewEpisode:
    kind: ClassVar[MemoryKind] = "episode"
    event_type: str
    description: str
    context: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("event_type", self.event_type)
        _check_text("description", self.description)
        _check_object("context", self.context)
        _check_size(self.description, self.context)

    @property
    def topic(self) -> str | None:
        return _topic_in(self.context) or self.event_type

    @property
    def text(self) -> str:
        around = [f"{name}: {_readable(value)}" for name, value in self.context.items()]
        return "\n".join([f"{self.description} ({self.event_type})", *around])

    @property
    def uses_workflow(self) -> str | None:
        """The name of the workflow that was carried out: what its use_count counts."""
        name = self.context.get("workflow")
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class NewWorkflow:
    kind: ClassVar[MemoryKind] = "workflow"
    name: str
    steps: Sequence[str]

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        _check_count("steps", self.steps, STEPS_MAX)
        for number, step in enumerate(self.steps):
            _check_text(f"steps.{number}", step)
        _check_size(*self.steps)

    @property
    def topic(self) -> str | None:
        return self.name

    @property
    def text(self) -> str:
        return "\n".join([self.name, *(f"{number}. {step}" for number, step in enumerate(self.steps, start=1))])


NewMemory = NewConversation | NewFact | NewEpisode | NewWorkflow

#: The fields of each kind: those it needs, and those it may have.
FIELDS: dict[MemoryKind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "conversation": (("messages", "response"), ("model", "metadata")),
    "fact": (("category", "key", "value"), ("confidence", "source")),
    "episode": (("event_type", "description"), ("context",)),
    "workflow": (("name", "steps"), ()),
}
_CLASSES: dict[MemoryKind, type[NewMemory]] = {
    "conversation": NewConversation,
    "fact": NewFact,
    "episode": NewEpisode,
    "workflow": NewWorkflow,
}
assert set(FIELDS) == set(_CLASSES) == set(MEMORY_KINDS)


def parse_memory(kind: MemoryKind, given: Mapping[str, Any]) -> NewMemory:
    """Read a memory whose fields have the right types.

    Raises:
        Invalid: a field is missing, belongs to another kind, or cannot be kept.
    """
    needed, optional = FIELDS[kind]
    missing = [name for name in needed if name not in given]
    if missing:
        raise Invalid(f"{_a(kind)} needs {' and '.join(needed)}; add {' and '.join(missing)} and call again")
    stray = sorted(set(given) - {*needed, *optional})
    if stray:
        raise Invalid(f"{_a(kind)} takes no {' and no '.join(stray)}; leave it out or choose another kind")
    fields = dict(given)
    if kind == "conversation":
        fields["messages"] = tuple(Message(said["role"], said["content"]) for said in given["messages"])
    return _CLASSES[kind](**fields)


def _a(kind: MemoryKind) -> str:
    return f"an {kind}" if kind == "episode" else f"a {kind}"


def searchable(text: str) -> str:
    """What the index and the encoder read of a text: the beginning and the end where it is too long for them."""
    if len(text) <= TEXT_CHARS_MAX:
        return text
    half = TEXT_CHARS_MAX // 2 - 2
    return f"{text[:half]}\n…\n{text[-half:]}"


def preview(text: str, chars_max: int = PREVIEW_CHARS) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 4 * chars_max].split())
    return line if len(line) <= chars_max else f"{line[:chars_max]}…"


def canonical(value: object) -> str:
    """The same JSON for the same value, with every character as it is."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def check_rating(rating: object) -> None:
    """Raises Invalid unless it is a whole number from 1 to 5; true is none."""
    if type(rating) is not int or not RATING_MIN <= rating <= RATING_MAX:
        raise Invalid("a rating must be a whole number from 1 to 5; correct it and call again")


def _topic_in(fields: Mapping[str, Any]) -> str | None:
    topic = fields.get("topic")
    return topic if isinstance(topic, str) and 0 < len(topic) <= NAME_CHARS_MAX else None


def _readable(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise Invalid(f"{name} must be text; correct it and call again")
    if not text.strip():
        raise Invalid(f"{name} must not be empty or only white space; write it and call again")
    _check_characters(name, text)


def _check_characters(name: str, text: str) -> None:
    if "\0" in text:
        raise Invalid(f"{name} must not contain NUL characters; remove them and call again")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(f"{name} must be valid Unicode; remove the lone surrogate and call again") from error


def _check_name(name: str, value: str | None) -> None:
    if value is None:
        return
    _check_text(name, value)
    if len(value) > NAME_CHARS_MAX:
        raise Invalid(f"{name} may have {NAME_CHARS_MAX} characters; shorten it and call again")


def _check_count(name: str, items: Sequence[object], items_max: int) -> None:
    if not items:
        raise Invalid(f"{name} must not be empty; add at least one and call again")
    if len(items) > items_max:
        raise Invalid(f"{name} may have {items_max} items; split it into several memories")


def _check_object(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} must be a JSON object; correct it and call again")
    _check_json(name, value)


def _check_json(name: str, value: object) -> None:
    """Without recursion: how deep it goes is the question."""
    waiting = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise Invalid(f"{name} may be nested {DEPTH_MAX} deep; flatten it and call again")
        if isinstance(part, str):
            _check_characters(name, part)
        elif isinstance(part, Mapping):
            waiting += [(inner, depth + 1) for pair in part.items() for inner in pair]
        elif isinstance(part, list | tuple):
            waiting += [(inner, depth + 1) for inner in part]
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{name} must be plain JSON, without NaN and infinity; correct it and call again") from error


def _check_size(*parts: object) -> None:
    size = sum(len(part.encode() if isinstance(part, str) else canonical(part).encode()) for part in parts if part)
    if size > MEMORY_BYTES_MAX:
        raise Invalid(
            f"a memory may have {MEMORY_BYTES_MAX:,} bytes and this one has {size:,}; split it into several memories"
        )
