"""Conversations as other programs export them: Claude's list of messages, ChatGPT's tree of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from lyra_mcp.domain.exchanges import (
    PARTS,
    Exchange,
    Record,
    Turn,
    kind_of,
    mend,
    pair_turns,
    read_moment,
    read_plain,
)
from lyra_mcp.domain.memories import Message, Role
from lyra_mcp.errors import Invalid

Form = Literal["claude", "chatgpt", "plain"]

#: Claude's name for the one who asks.
CLAUDE_ROLES: dict[str, Role] = {"human": "user", "user": "user", "assistant": "assistant"}
#: Whose messages ChatGPT shows; the role comes unchecked.
CHATGPT_ROLES: dict[object, Role] = {"user": "user", "assistant": "assistant"}
#: What ChatGPT shows as text; the rest is its notes to itself and to its tools.
CHATGPT_SHOWN = frozenset({"text", "multimodal_text"})


def form_of(record: object) -> Form:
    """Which program wrote a record.

    Raises:
        Invalid: none that is known.
    """
    if not isinstance(record, dict):
        raise Invalid(f"it is a {kind_of(record)} and no object")
    if "chat_messages" in record:
        return "claude"
    if "mapping" in record:
        return "chatgpt"
    if "messages" in record:
        return "plain"
    raise Invalid("it has neither chat_messages (Claude), nor mapping (ChatGPT), nor messages (plain)")


def read_record(record: Record) -> tuple[list[Exchange], bool]:
    """The exchanges of one record, and whether characters that cannot be kept were mended.

    Raises:
        Invalid: it holds none that can be kept; the message says why.
    """
    found = list(READERS[form_of(record)](record))
    exchanges = [_mended(exchange) for exchange in found]
    kept = [exchange for exchange in exchanges if _is_said(exchange)]
    if not kept:
        raise Invalid("there is no question with an answer in it")
    return kept, exchanges != found


def _is_said(exchange: Exchange) -> bool:
    return bool(exchange.messages and exchange.response.strip())


def _mended(exchange: Exchange) -> Exchange:
    said = [Message(message.role, mend(message.content)) for message in exchange.messages]
    messages = tuple(message for message in said if message.content.strip())
    return replace(
        exchange,
        messages=messages,
        response=mend(exchange.response),
        model=exchange.model and mend(exchange.model),
        comment=exchange.comment and mend(exchange.comment),
        metadata=_mended_value(exchange.metadata),
    )


def _mended_value(value: Any) -> Any:
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, dict):
        return {mend(name): _mended_value(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_mended_value(each) for each in value]
    return value


# Claude


def _claude(record: Record) -> Iterator[Exchange]:
    messages = record["chat_messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Invalid("chat_messages is no list of messages")
    turns = [turn for message in _claude_branch(messages) if (turn := _claude_turn(message)).text.strip()]
    about = {"source": "claude", "conversation": record.get("uuid"), "title": record.get("name") or None}
    model = record.get("model")
    turns = [replace(turn, model=model) if isinstance(model, str) else turn for turn in turns]
    return pair_turns(turns, metadata=_known(about), created_at=read_moment(record.get("created_at")))


def _claude_branch(messages: Sequence[Record]) -> list[Record]:
    """The messages that lead to the last one; an export without parents is one branch already."""
    by_id = {name: message for message in messages if isinstance(name := message.get("uuid"), str)}
    if not any(message.get("parent_message_uuid") in by_id for message in messages):
        return list(messages)
    return _way_up(messages[-1].get("uuid"), by_id, "parent_message_uuid")


def _claude_turn(message: Record) -> Turn:
    role = CLAUDE_ROLES.get(str(message.get("sender")))
    if role is None:
        raise Invalid(f"a message's sender is {message.get('sender')!r:.40}, which is neither human nor assistant")
    content = message.get("content")
    shown = [
        part["text"]
        for part in (content if isinstance(content, list) else [])
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    ]
    text = PARTS.join(each for each in shown if each) or message.get("text") or ""
    if not isinstance(text, str):
        raise Invalid(f"a message's text is a {kind_of(text)}")
    attached = [
        f"{file.get('file_name') or 'attachment'}:\n{file['extracted_content']}"
        for file in message.get("attachments") or []
        if isinstance(file, dict) and isinstance(file.get("extracted_content"), str) and file["extracted_content"]
    ]
    return Turn(role, PARTS.join([*([text] if text else []), *attached]), None, read_moment(message.get("created_at")))


# ChatGPT


def _chatgpt(record: Record) -> Iterator[Exchange]:
    mapping = record["mapping"]
    if not isinstance(mapping, dict) or not all(isinstance(node, dict) for node in mapping.values()):
        raise Invalid("mapping is no object of nodes")
    about = {
        "source": "chatgpt",
        "conversation": record.get("conversation_id") or record.get("id"),
        "title": record.get("title") or None,
    }
    model = record.get("default_model_slug")
    turns = [
        turn
        for node in _way_up(_current_node(record, mapping), mapping, "parent")
        if (turn := _chatgpt_turn(node.get("message"), model if isinstance(model, str) else None))
    ]
    return pair_turns(turns, metadata=_known(about), created_at=read_moment(record.get("create_time")))


def _current_node(record: Record, mapping: dict[str, Any]) -> str | None:
    """The end of the branch that was shown last; where the export does not say, the newest end."""
    current = record.get("current_node")
    if isinstance(current, str) and current in mapping:
        return current
    ends = [name for name, node in mapping.items() if not node.get("children")]
    return max(ends, key=lambda name: _time_of(mapping[name]), default=None)


def _time_of(node: Record) -> float:
    message = node.get("message")
    time = message.get("create_time") if isinstance(message, dict) else None
    return float(time) if isinstance(time, int | float) else 0.0


def _chatgpt_turn(message: object, model: str | None) -> Turn | None:
    """None for what was not shown: hidden prompts, calls of tools and their answers, thoughts."""
    if not isinstance(message, dict):
        return None
    author, content, metadata = (message.get(name) or {} for name in ("author", "content", "metadata"))
    if not all(isinstance(part, dict) for part in (author, content, metadata)):
        raise Invalid("a message's author, content or metadata is no object")
    is_hidden = metadata.get("is_visually_hidden_from_conversation") or message.get("weight") == 0
    role = CHATGPT_ROLES.get(author.get("role"))
    is_for_a_tool = message.get("recipient") not in {"all", None}
    if role is None or is_hidden or is_for_a_tool or content.get("content_type") not in CHATGPT_SHOWN:
        return None
    text = PARTS.join(part for part in _chatgpt_parts(content.get("parts")) if part)
    if not text.strip():
        return None
    answered_by = metadata.get("model_slug")
    answered_by = answered_by if isinstance(answered_by, str) else model
    return Turn(role, text, answered_by, read_moment(message.get("create_time")))


def _chatgpt_parts(parts: object) -> Iterator[str]:
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and isinstance(part.get("text"), str):  # what was said aloud
            yield part["text"]
        elif isinstance(part, dict):
            yield f"[{part.get('content_type', 'attachment')}]"


# Both


def _way_up(start: object, by_id: dict[Any, Any], parent: str) -> list[Any]:
    """The nodes from the root to `start`.

    Raises:
        Invalid: the parents go round in a circle.
    """
    way, seen = [], set()
    while start in by_id:
        if start in seen:
            raise Invalid("its messages are one another's parents")
        seen.add(start)
        way.append(by_id[start])
        start = by_id[start].get(parent)
    return way[::-1]


def _known(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if isinstance(value, str)}


READERS: dict[Form, Callable[[Record], Iterable[Exchange]]] = {
    "claude": _claude,
    "chatgpt": _chatgpt,
    "plain": lambda record: [read_plain(record)],
}
