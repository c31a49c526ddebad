"""When a worker leaves: nobody asked for long, or every server that used it has gone."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK_S = 1.0
#: Until somebody has come once, the worker waits at least this long: who started it is on the way.
FIRST_VISIT_S = 10.0


class Lifetime:
    """Counts requests and present servers; lives on the event loop."""

    def __init__(
        self,
        *,
        idle_s: float,
        linger_s: float,
        #: The models load (those who wait for them ask nothing else), or a training goes on.
        is_busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_s = idle_s
        self._linger_s = linger_s
        self._is_busy = is_busy
        self._clock = clock
        self._asked_at = self._present_at = self._busy_at = clock()
        self._requests = 0
        self._presences = 0
        self._was_visited = False
        #: Set when the worker leaves: open presences end then.
        self.leaving = asyncio.Event()

    @property
    def presences(self) -> int:
        return self._presences

    @contextmanager
    def request(self) -> Iterator[None]:
        """Somebody asks for work; questions after health do not count."""
        self._requests += 1
        self._was_visited = True
        try:
            yield
        finally:
            self._requests -= 1
            self._asked_at = self._clock()

    @contextmanager
    def presence(self) -> Iterator[None]:
        """A server is there."""
        self._presences += 1
        self._was_visited = True
        self._asked_at = self._clock()
        try:
            yield
        finally:
            self._presences -= 1
            self._present_at = self._clock()

    def reason_to_leave(self) -> str | None:
        now = self._clock()
        if self._requests:
            return None
        if self._is_busy():
            self._busy_at = now
            return None
        if now - max(self._asked_at, self._busy_at) >= self._idle_s:
            return f"nothing was asked for {self._idle_s:g} s"
        #: A caller without presence (curl) keeps the worker for as long as one that has just left.
        linger_s = self._linger_s if self._was_visited else max(self._linger_s, FIRST_VISIT_S)
        if not self._presences and now - max(self._present_at, self._asked_at, self._busy_at) >= linger_s:
            return f"no server was present for {linger_s:g} s"
        return None

    async def wait(self) -> str:
        """Return when it is time to leave, and say why."""
        tick_s = min(TICK_S, self._idle_s / 4, max(self._linger_s / 4, 0.01))
        while (reason := self.reason_to_leave()) is None:  # noqa: ASYNC110  # time itself is what is waited for
            await asyncio.sleep(tick_s)
        return reason
