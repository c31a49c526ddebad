"""HTTP on the wire, with an end to patience: a client that sends a request's head byte by byte keeps no connection."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(head_timeout_s: float) -> type[H11Protocol]:
    """uvicorn waits for the head of a request for ever. This one closes after one to two times the timeout."""

    class ImpatientProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            self._look_again()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _look_again(self) -> None:
            self._timer = self.loop.call_later(head_timeout_s, self._look, self.cycle)

        def _look(self, cycle: Any) -> None:
            # `IDLE`: no request is whole; the same cycle as before: none was whole in between either.
            if self.conn.their_state is h11.IDLE and self.cycle is cycle:
                self.transport.close()
            else:
                self._look_again()

    return ImpatientProtocol
