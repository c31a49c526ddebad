"""Exchanges: what was asked and what was answered, as they come from and go to files; and the plain form of one.

A long conversation of another program becomes one exchange for each answer, with the name of the conversation and the
turn in its metadata: each is found, rated and shown as an example by itself, and nothing is stored twice.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from lyra_mcp.domain.memories import ROLES, Message, NewConversation, Role, check_rating
from lyra_mcp.errors import Invalid

Record: TypeAlias = Mapping[str, Any]

#: What other programs call our roles.
ROLE_NAMES: dict[str, Role] = {
    **{role: role for role in ROLES},
    "human": "user",
    "developer": "system",
    "function": "tool",
}
#: What the plain form has; anything else in a record goes into the metadata.
PLAIN_FIELDS = ("messages", "response", "model", "rating", "comment", "metadata", "created_at")
#: Between the texts of one turn that a program wrote in parts.
PARTS = "\n\n"
NUL = "\0"


@dataclass(frozen=True, slots=True)
class Exchange:
    messages: tuple[Message, ...]
    response: str
    model: str | None = None
    #: From 1 to 5.
    rating: int | None = None
    comment: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    #: Aware, UTC, in the form of `operations.services.as_text`; None: the file does not say.
    created_at: str | None = None

    def conversation(self) -> NewConversation:
        """Raises Invalid where it cannot be kept."""
        return NewConversation(self.messages, self.response, self.model, self.metadata)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of another program's conversation, in the order of the branch that was shown last."""

    role: Role
    text: str
    model: str | None = None
    created_at: str | None = None


def pair_turns(turns: Sequence[Turn], *, metadata: Mapping[str, Any], created_at: str | None) -> Iterator[Exchange]:
    """One exchange for each answer: the messages since the answer before, and the answer, its parts joined."""
    asked: list[Message] = []
    answered: list[Turn] = []
    number = 0
    for turn in [*turns, None]:
        if turn is not None and turn.role == "assistant":
            answered.append(turn)
            continue
        if answered and asked:
            number += 1
            yield _exchange(asked, answered, {**metadata, "turn": number}, created_at)
        if answered:
            asked, answered = [], []
        if turn is not None:
            asked.append(Message(turn.role, turn.text))


def _exchange(asked: list[Message], answered: list[Turn], metadata: dict[str, Any], created_at: str | None) -> Exchange:
    said = answered[-1]
    text = PARTS.join(turn.text for turn in answered)
    return Exchange(tuple(asked), text, said.model, metadata=metadata, created_at=said.created_at or created_at)


def read_plain(record: Record) -> Exchange:
    """`{messages, response, model, rating, comment, metadata, created_at}`; all but the messages may be missing.

    Without `response` the last message must be the assistant's, as in files for fine-tuning.

    Raises:
        Invalid: it is no such record; the message says why.
    """
    messages = read_messages(record.get("messages"))
    response = record.get("response")
    if response is None:
        if messages[-1].role != "assistant":
            raise Invalid("there is no response: neither the field, nor an assistant's message at the end")
        *messages, last = messages
        response = last.content
    if not isinstance(response, str):
        raise Invalid(f"response is a {kind_of(response)} and no text")
    if not messages:
        raise Invalid("messages has nothing but the answer")
    rating, comment = record.get("rating"), _text_or_none(record, "comment")
    if rating is not None:
        check_rating(rating)
    unknown = {name: value for name, value in record.items() if name not in PLAIN_FIELDS}
    if rating is None and comment is not None:  # a comment stands beside a rating, or nowhere
        unknown, comment = {**unknown, "comment": comment}, None
    metadata = {**_metadata(record.get("metadata")), **unknown}
    created_at = read_moment(record.get("created_at"))
    return Exchange(tuple(messages), response, _text_or_none(record, "model"), rating, comment, metadata, created_at)


def write_plain(exchange: Exchange) -> dict[str, Any]:
    """What `read_plain` reads back as the same exchange."""
    written = asdict(exchange)
    written["messages"] = [*written["messages"]]
    return {name: written[name] for name in PLAIN_FIELDS}


def read_messages(found: object) -> list[Message]:
    """Raises Invalid unless it is a list of objects with role and content."""
    if not isinstance(found, list) or not found:
        raise Invalid(f"messages is a {kind_of(found)} and no list with messages")
    return [_message(number, message) for number, message in enumerate(found)]


def _message(number: int, found: object) -> Message:
    if not isinstance(found, dict):
        raise Invalid(f"messages.{number} is a {kind_of(found)} and no object with role and content")
    role, content = found.get("role"), found.get("content")
    if not isinstance(role, str) or role not in ROLE_NAMES:
        raise Invalid(f"messages.{number}.role is {role!r:.40}; it can be {', '.join(sorted(ROLE_NAMES))}")
    if isinstance(content, list):
        content = PARTS.join(_parts(content))
    if not isinstance(content, str):
        raise Invalid(f"messages.{number}.content is a {kind_of(content)} and no text")
    return Message(ROLE_NAMES[role], content)


def _parts(content: Sequence[object]) -> Iterator[str]:
    """The texts of a message in parts; a picture or a sound is named in their place."""
    for part in content:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            yield part["text"]
        elif isinstance(part, dict):
            yield f"[{part.get('type', 'attachment')}]"


def _metadata(found: object) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Invalid(f"metadata is a {kind_of(found)} and no object")
    return found


def _text_or_none(record: Record, name: str) -> str | None:
    found = record.get(name)
    if found is not None and not isinstance(found, str):
        raise Invalid(f"{name} is a {kind_of(found)} and no text")
    return found or None


def read_moment(found: object) -> str | None:
    """An ISO 8601 text or seconds since 1970, as our own text in UTC; a text without a zone is taken as UTC.

    Raises:
        Invalid: it is neither.
    """
    if found is None or found == "":
        return None
    try:
        if isinstance(found, str):
            moment = datetime.fromisoformat(found)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        elif isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            moment = datetime.fromtimestamp(found, UTC)
        else:
            raise Invalid(f"the time {found!r:.40} is neither ISO 8601 nor seconds since 1970")
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError) as error:
        raise Invalid(f"the time {found!r:.40} is neither ISO 8601 nor seconds since 1970") from error


def kind_of(found: object) -> str:
    """What JSON calls it."""
    if found is None:
        return "null"
    if isinstance(found, bool):
        return "boolean"
    names = ((str, "text"), (int | float, "number"), (list, "list"), (dict, "object"))
    return next((name for kind, name in names if isinstance(found, kind)), type(found).__name__)


def mend(text: str) -> str:
    """Without NUL and with U+FFFD for half characters: what no database can hold."""
    return text.replace(NUL, "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
