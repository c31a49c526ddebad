"""What a call of a wrapped function asked, and what it answered, as an exchange."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lyra_mcp.domain.exchanges import mend, read_messages
from lyra_mcp.domain.memories import Message, NewConversation
from lyra_mcp.errors import Invalid

#: Arguments that are about a call and not for the function, unless it names them.
MESSAGES, MODEL = "_messages", "_model"
OWNERS = frozenset({"self", "cls"})


@dataclass(frozen=True, slots=True)
class Asked:
    messages: tuple[Message, ...]
    model: str | None
    #: What the function is called with.
    kwargs: Mapping[str, Any]

    def answered(self, result: object) -> NewConversation | None:
        """None: nothing was answered, so there is nothing to keep.

        Raises:
            Invalid: it cannot be kept.
        """
        response = mend(_as_text(result))
        if not response.strip():
            return None
        return NewConversation(self.messages, response, self.model)


class Caller:
    """Reads the calls of one function."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._name = getattr(function, "__name__", "call")
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        self._hidden = {name for name in (MESSAGES, MODEL) if not takes_any and name not in parameters}

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Asked:
        """
        Raises:
            Invalid: `_messages` or `_model` cannot be kept; the function was not called.
        """
        model = kwargs.get(MODEL)
        if model is not None and not isinstance(model, str):
            raise Invalid(f"{MODEL} must be the name of a model")
        passed = {name: value for name, value in kwargs.items() if name not in self._hidden}
        if given := kwargs.get(MESSAGES):
            messages = tuple(Message(message.role, mend(message.content)) for message in read_messages(given))
        else:
            messages = (Message("user", mend(self._as_question(args, passed))),)
        asked = Asked(messages, model, passed)
        asked.answered("-")  # else it would be found after the answer was paid for
        return asked

    def _as_question(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The one text that was passed, or every argument under its name."""
        try:
            bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError:  # the function itself says it better
            return f"{self._name}()"
        named = {name: value for name, value in bound.items() if name not in {*OWNERS, MESSAGES, MODEL}}
        if [*map(type, named.values())] == [str]:
            [text] = named.values()
            return str(text) if text.strip() else f"{self._name}()"
        lines = [f"{name}: {_as_text(value)}" for name, value in named.items()]
        return "\n".join(lines) or f"{self._name}()"


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
