"""`@auto_finetune`: keeps every answer of a function as a conversation, takes ratings, and says when there is enough.

It reads nothing from standard input and starts nothing: a proposal waits for a person. Training a chat model is not
part of this version.
"""

import functools
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from lyra_mcp.assistant.background import Background
from lyra_mcp.assistant.calls import Asked, Caller
from lyra_mcp.domain.memories import check_rating
from lyra_mcp.errors import Invalid, LyraError, NotFound
from lyra_mcp.operations.assistant import (
    MIN_RATING,
    THRESHOLD,
    AssistantStatus,
    check_limits,
    leave_out_unsafe,
    propose_training,
    read_assistant_status,
)
from lyra_mcp.operations.rating import rate
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.services import Services, build_services
from lyra_mcp.settings import USER_PATTERN, Settings

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: For all wrappers of a program.
BACKGROUND = Background(lambda settings: replace(build_services(settings), actor="python"))


class PrivacyFilter(Protocol):
    def is_safe(self, data: dict[str, Any], /) -> bool:
        """Whether a training may see it: `{messages, response, model, rating, comment, metadata, created_at}`."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T_co]):
    result: T_co
    #: None: there was nothing to keep, or it could not be kept, which the log says.
    conversation_id: str | None


class Wrapped(Protocol[P, T_co]):
    """A function that is kept an eye on."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...

    def ask(self, *args: P.args, **kwargs: P.kwargs) -> Answered[T_co]:
        """Call it, and get the conversation's id beside the result: for servers, where others call in between."""

    def feedback(self, rating: int, comment: str | None = None, *, conversation_id: str | None = None) -> str:
        """Rate from 1 to 5: by its id, or the last conversation of the caller's own thread or task; returns the id."""

    def status(self) -> AssistantStatus: ...

    def last_conversation_id(self) -> str | None: ...


class WrappedAsync(Protocol[P, T_co]):
    """Likewise, of an async function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T_co]: ...

    def ask(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, Answered[T_co]]: ...

    def feedback(
        self, rating: int, comment: str | None = None, *, conversation_id: str | None = None
    ) -> Coroutine[Any, Any, str]: ...

    def status(self) -> Coroutine[Any, Any, AssistantStatus]: ...

    def last_conversation_id(self) -> str | None: ...


#: The last conversation of each wrapper, in the context of the caller: a thread's own, a task's own.
_LAST: ContextVar[Mapping["Collector", str | None]] = ContextVar("lyra_last_conversations", default={})  # noqa: B039 - only ever replaced


@dataclass(frozen=True, eq=False)
class Collector:
    """What all calls of one wrapper share."""

    background: Background
    user_id: str
    threshold: int
    min_rating: int
    privacy_filter: PrivacyFilter | None
    given: Settings | None

    @functools.cached_property
    def settings(self) -> Settings:
        if self.given is not None:
            return self.given.model_copy(update={"user": self.user_id})
        return Settings(user=self.user_id)

    @property
    def last(self) -> str | None:
        return _LAST.get().get(self)

    def note(self, conversation_id: str | None) -> None:
        _LAST.set({**_LAST.get(), self: conversation_id})

    def keeping(self, asked: Asked, result: object) -> Callable[[Services], Awaitable[str | None]]:
        """The operation that keeps an answer. Failures go to the log: they must not cost the caller the answer."""

        async def keep(services: Services) -> str | None:
            kept = None
            try:
                if (conversation := asked.answered(result)) is not None:
                    kept = (await remember(services, conversation)).id
                    await self.screen(services, kept)
                    await self.propose(services)
            except LyraError as error:
                what = "a conversation was not kept" if kept is None else "no training could be proposed"
                log.error("%s for %s: %s", what, self.user_id, error)  # noqa: TRY400 - the world's failure, no bug
            except Exception:  # a privacy filter is somebody else's code
                log.exception("keeping a conversation of %s failed", self.user_id)
            return kept

        return keep

    def rating(
        self, conversation_id: str | None, rating: int, comment: str | None
    ) -> Callable[[Services], Awaitable[str]]:
        """
        Raises:
            Invalid: it is no rating.
            NotFound: the caller has had no conversation.
        """
        check_rating(rating)
        chosen = conversation_id or self.last
        if chosen is None:
            raise NotFound("this thread or task has had no conversation yet; pass conversation_id, which ask() returns")

        async def operation(services: Services) -> str:
            rated = await rate(services, chosen, rating, comment)
            if comment:
                await self.screen(services, rated)
            await self.propose(services)
            return rated

        return operation

    async def screen(self, services: Services, conversation_id: str) -> None:
        if self.privacy_filter is not None:
            await leave_out_unsafe(services, conversation_id, self.privacy_filter.is_safe)

    async def propose(self, services: Services) -> None:
        await propose_training(services, threshold=self.threshold, min_rating=self.min_rating)

    async def read_status(self, services: Services) -> AssistantStatus:
        return await read_assistant_status(services, threshold=self.threshold, min_rating=self.min_rating)


class Decorator(Protocol):
    @overload
    def __call__(  # type: ignore[overload-overlap]  # an async function is a callable too; the first counts
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> WrappedAsync[P, T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> Wrapped[P, T]: ...


def auto_finetune(
    user_id: str,
    threshold: int = THRESHOLD,
    min_rating: int = MIN_RATING,
    auto_approve: bool = False,
    privacy_filter: PrivacyFilter | None = None,
    *,
    settings: Settings | None = None,
    background: Background = BACKGROUND,
) -> Decorator:
    """Keep every answer of a function, for its user, and propose a training at `threshold` well rated ones.

    `_messages` and `_model` say what was really asked of which model; without them the arguments do. `settings`
    replaces what the environment says, but for the user.

    Raises:
        Invalid: an argument makes no sense, or asks for what is not there.
    """
    if not isinstance(user_id, str) or not re.fullmatch(USER_PATTERN, user_id):
        raise Invalid(f"user_id is {user_id!r:.80}; it can have letters, digits and . _ -, at most 64")
    check_limits(threshold, min_rating)
    if auto_approve:
        raise Invalid("auto_approve has nothing to approve yet: no chat model is trained; status() tells of proposals")
    collector = Collector(background, user_id, threshold, min_rating, privacy_filter, settings)

    def decorate(function: Callable[..., Any]) -> Any:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise Invalid("a function that yields its answer in pieces cannot be wrapped; wrap one that returns it")
        caller = Caller(function)
        if inspect.iscoroutinefunction(function):
            return _wrap_async(function, caller, collector)
        return _wrap(function, caller, collector)

    return cast(Decorator, decorate)


def _wrap(function: Callable[..., Any], caller: Caller, collector: Collector) -> Any:
    background = collector.background

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ask(*args, **kwargs).result

    def ask(*args: Any, **kwargs: Any) -> Answered[Any]:
        asked, settings = caller.read(args, kwargs), collector.settings
        collector.note(None)  # what fails from here on must not be rated as the one before
        result = function(*args, **asked.kwargs)
        conversation_id = background.run(settings, collector.keeping(asked, result))
        collector.note(conversation_id)
        return Answered(result, conversation_id)

    def feedback(rating: int, comment: str | None = None, *, conversation_id: str | None = None) -> str:
        return background.run(collector.settings, collector.rating(conversation_id, rating, comment))

    def status() -> AssistantStatus:
        return background.run(collector.settings, collector.read_status)

    return _with(wrapper, collector, ask=ask, feedback=feedback, status=status)


def _wrap_async(function: Callable[..., Any], caller: Caller, collector: Collector) -> Any:
    background = collector.background

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return (await ask(*args, **kwargs)).result

    async def ask(*args: Any, **kwargs: Any) -> Answered[Any]:
        asked, settings = caller.read(args, kwargs), collector.settings
        collector.note(None)
        result = await function(*args, **asked.kwargs)
        conversation_id = await background.run_async(settings, collector.keeping(asked, result))
        collector.note(conversation_id)
        return Answered(result, conversation_id)

    async def feedback(rating: int, comment: str | None = None, *, conversation_id: str | None = None) -> str:
        return await background.run_async(collector.settings, collector.rating(conversation_id, rating, comment))

    async def status() -> AssistantStatus:
        return await background.run_async(collector.settings, collector.read_status)

    return _with(wrapper, collector, ask=ask, feedback=feedback, status=status)


def _with(wrapper: Any, collector: Collector, **functions: Callable[..., Any]) -> Any:
    for name, function in functions.items():
        setattr(wrapper, name, function)
    wrapper.last_conversation_id = lambda: collector.last
    return wrapper
