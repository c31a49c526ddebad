"""The bounded queue in front of the one model thread: token-budget batches, and exactly one reply for each request."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ml_worker.errors import Busy, Failed, OutOfMemory, WorkerError
from schema.wire import PAIRS_MAX, Judgement, JudgeReply, Pair, ServedBy

if TYPE_CHECKING:
    from ml_worker.adapters import Adapter
    from ml_worker.nli import EncodedPair

PAIRS_WAITING_MAX = 512
#: Padded tokens. Measured on a CPU (docs/experiments.md): 1024 judges a quarter more pairs per second than 4096,
#: because less is padding and a batch stays in the cache, and a newcomer waits for a quarter of the time.
BATCH_TOKENS_MAX = 1024

#: A pair shorter than the batch's longest by more than this factor waits for the next batch: on a CPU padding
#: costs as much as text.
PADDING_RATIO_MAX = 2

log = logging.getLogger(__name__)
T = TypeVar("T")


class Judge(Protocol):
    """What the model thread brings; called from that thread alone."""

    def resolve(self, adapter: str, key: bytes | None) -> "Adapter | None": ...

    def encode(self, pairs: Sequence[Pair]) -> "list[EncodedPair]": ...

    def judge(
        self, encoded: "Sequence[EncodedPair]", adapter: "Adapter | None", *, representation: bool
    ) -> list[Judgement]: ...

    def served_by(self, adapter: "Adapter | None") -> ServedBy: ...


@dataclass(eq=False)
class _Entry:
    """Something that waits; its future is set exactly once, or cancelled by a caller who left."""

    size: int
    future: Future[Any] = field(default_factory=Future, init=False)

    def settle(self, result: Any) -> None:
        try:
            if isinstance(result, BaseException):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)
        except InvalidStateError:
            log.info("a caller left before the answer")


@dataclass(eq=False)
class _Call(_Entry):
    call: Callable[[], Any]


@dataclass(eq=False)
class _Request(_Entry):
    pairs: Sequence[Pair]
    adapter_name: str
    key: bytes | None = field(repr=False)
    representation: bool
    #: Resolved once, so that all pairs of a request are judged by the same weights.
    adapter: "Adapter | None" = None
    encoded: "list[EncodedPair] | None" = None
    judgements: dict[int, Judgement] = field(default_factory=dict)


@dataclass(frozen=True)
class _Item:
    """One pair of a request."""

    request: _Request
    index: int
    encoded: "EncodedPair"


class ModelQueue:
    def __init__(self, *, pairs_max: int = PAIRS_WAITING_MAX, batch_tokens_max: int = BATCH_TOKENS_MAX) -> None:
        assert pairs_max >= PAIRS_MAX, "a whole request must fit"
        self.pairs_max = pairs_max
        self._batch_tokens_max = batch_tokens_max
        self._entries: list[_Entry] = []
        self._closed = False
        self._changed = threading.Condition()

    # Called from any thread

    @property
    def pairs_waiting(self) -> int:
        with self._changed:
            return sum(entry.size for entry in self._entries)

    def judge(
        self, pairs: Sequence[Pair], adapter: str, *, representation: bool, key: bytes | None = None
    ) -> Future[JudgeReply]:
        """Cancel the future when the caller has left; `key` opens an adapter that is sealed.

        Raises:
            Busy: the queue is full.
        """
        return self._put(
            _Request(size=len(pairs), pairs=pairs, adapter_name=adapter, key=key, representation=representation),
            first=False,
        )

    def run(self, call: Callable[[], T], *, size: int = 0, first: bool = False) -> Future[T]:
        """Run on the model thread, between batches; `size` counts against the queue's bound like pairs.

        Raises:
            Busy: the queue is full.
        """
        return self._put(_Call(size=size, call=call), first=first)

    def close(self, reason: str) -> None:
        """Answer everything that waits with an error, and let the model thread end."""
        with self._changed:
            self._closed = True
            entries, self._entries = self._entries, []
            self._changed.notify_all()
        for entry in entries:
            entry.settle(Failed(reason))

    def _put(self, entry: _Entry, *, first: bool) -> Future[Any]:
        entry.future.add_done_callback(lambda _: self._forget(entry))
        with self._changed:
            if self._closed:
                raise Failed("the worker is leaving; start another")
            waiting = sum(each.size for each in self._entries)
            if entry.size and waiting + entry.size > self.pairs_max:
                raise Busy(f"{waiting} of at most {self.pairs_max} pairs are waiting; try again in a moment")
            self._entries.insert(0 if first else len(self._entries), entry)
            self._changed.notify()
        return entry.future

    def _forget(self, entry: _Entry) -> None:
        """Answered, or its caller left: either way nobody waits any more."""
        with self._changed:
            if entry in self._entries:
                self._entries.remove(entry)

    # Called from the model thread

    def serve(self, judge: Judge) -> None:
        """Work until closed."""
        while (head := self._next()) is not None:
            if isinstance(head, _Call):
                _run(head)
            elif isinstance(head, _Request):
                self._advance(judge, head)

    def _next(self) -> _Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._entries)
            return None if self._closed else self._entries[0]

    def _advance(self, judge: Judge, head: _Request) -> None:
        """Judge one batch that holds at least one pair of the oldest request."""
        with self._changed:
            requests = [entry for entry in self._entries if isinstance(entry, _Request)]
        for request in requests:
            if request.encoded is None and request.adapter_name == head.adapter_name:
                _prepare(judge, request)
        if head.future.done():  # refused while preparing, or its caller left
            return
        together = [each for each in requests if each.encoded is not None and each.adapter is head.adapter]
        _judge_items(judge, self._choose(head, together))

    def _choose(self, head: _Request, requests: list[_Request]) -> list[_Item]:
        """A window of the waiting pairs, sorted by length, around the longest pair of `head`."""
        items = sorted(
            (item for request in requests for item in _open_items(request)),
            key=lambda item: item.encoded.length,
            reverse=True,
        )
        position = next((i for i, item in enumerate(items) if item.request is head), None)
        if position is None:  # its caller left just now
            return []
        fits = self._batch_tokens_max
        own = items[position].encoded.length
        start = position
        while start > 0:
            longest = items[start - 1].encoded.length
            if longest > own * PADDING_RATIO_MAX or longest * (position - start + 2) > fits:
                break
            start -= 1
        longest = items[start].encoded.length
        end = position + 1
        while end < len(items):
            if items[end].encoded.length * PADDING_RATIO_MAX < longest or longest * (end - start + 1) > fits:
                break
            end += 1
        return items[start:end]


def _run(entry: _Call) -> None:
    try:
        result = entry.call()
    except WorkerError as error:
        entry.settle(error)
    except Exception as error:  # the caller must be answered and the thread must live on
        log.exception("a call on the model thread failed")
        entry.settle(Failed(f"the worker failed: {type(error).__name__}; see its log"))
    else:
        entry.settle(result)


def _prepare(judge: Judge, request: _Request) -> None:
    """Resolve the adapter and encode the pairs; a failure answers this request alone."""
    if request.future.done():
        return
    try:
        request.adapter = judge.resolve(request.adapter_name, request.key)
        request.encoded = judge.encode(request.pairs)
    except WorkerError as error:
        request.settle(error)
    except Exception as error:  # as in _run
        log.exception("a request could not be encoded")
        request.settle(Failed(f"the worker failed: {type(error).__name__}; see its log"))


def _open_items(request: _Request) -> Iterator[_Item]:
    """The pairs not judged yet; none when nobody waits for them."""
    if request.encoded is None or request.future.done():
        return
    for index, encoded in enumerate(request.encoded):
        if index not in request.judgements:
            yield _Item(request, index, encoded)


def _judge_items(judge: Judge, items: list[_Item]) -> None:
    """Judge a batch; where memory is short, its halves; a failure answers every request in it."""
    items = [item for item in items if not item.request.future.done()]
    if not items:
        return
    adapter = items[0].request.adapter
    representation = any(item.request.representation for item in items)
    try:
        judgements = judge.judge([item.encoded for item in items], adapter, representation=representation)
    except OutOfMemory as error:
        if len(items) == 1:
            items[0].request.settle(error)
            return
        log.warning("%d pairs do not fit into memory, trying halves", len(items))
        middle = len(items) // 2
        _judge_items(judge, items[:middle])
        _judge_items(judge, items[middle:])
    except WorkerError as error:
        _fail(items, error)
    except Exception as error:  # as in _run
        log.exception("a batch of %d pairs failed", len(items))
        _fail(items, Failed(f"the worker failed: {type(error).__name__}; see its log"))
    else:
        _deliver(judge, items, judgements)


def _fail(items: list[_Item], error: WorkerError) -> None:
    for request in {item.request for item in items}:
        request.settle(error)


def _deliver(judge: Judge, items: list[_Item], judgements: list[Judgement]) -> None:
    """Keep each judgement with its request, and answer the requests that are complete."""
    for item, judgement in zip(items, judgements, strict=True):
        wanted = judgement if item.request.representation else judgement.model_copy(update={"representation": None})
        item.request.judgements[item.index] = wanted
    for request in {item.request for item in items}:
        if len(request.judgements) == len(request.pairs):
            ordered = [request.judgements[index] for index in range(len(request.pairs))]
            request.settle(JudgeReply(judgements=ordered, served_by=judge.served_by(request.adapter)))
