"""The one thread that touches models: it imports, loads, then works off the queue."""

import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ml_worker.errors import BaseRefused, Failed, Warming
from ml_worker.options import Options
from ml_worker.queue import ModelQueue
from schema.vocabulary import WorkerState

if TYPE_CHECKING:
    from ml_worker.serving import Serving

log = logging.getLogger(__name__)


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Look for none while modules and models are loaded, which takes a sixth of that time, nor among them later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class ModelThread:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._serving: Serving | None = None
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self.queue = ModelQueue(pairs_max=options.pairs_max, batch_tokens_max=options.batch_tokens_max)
        self.state: WorkerState = "warming"
        self.problem: str | None = None

    def start(self) -> None:
        self._thread.start()

    @property
    def serving(self) -> "Serving | None":
        """None until the models are loaded."""
        return self._serving

    def require_serving(self) -> "Serving":
        """
        Raises:
            Warming: the models are loading.
            Failed: they could not be loaded.
        """
        if self.state == "failed":
            raise Failed(f"the worker has no model: {self.problem}")
        if self._serving is None:
            raise Warming("the models are loading; try again in a few seconds, GET /health says when")
        return self._serving

    def stop(self, *, timeout_s: float) -> bool:
        """Whether the thread has ended in time."""
        self.queue.close("the worker is leaving; ask again, a new one will answer")
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._warm_up()
            assert self._serving is not None
            self.queue.serve(self._serving)
        except BaseRefused as error:
            log.error("the base model is refused: %s", error)  # noqa: TRY400  # the message says all
            self._fail(str(error))
        except Exception as error:
            log.exception("the model thread ended")
            self._fail(f"{type(error).__name__}: {error}")

    def _warm_up(self) -> None:
        with _nothing_is_garbage():
            from ml_worker.serving import Serving  # noqa: PLC0415  # torch takes seconds, and the socket answers first

            self._serving = Serving(self._options)
        self.state = "ready"
        log.info("ready: %s on %s", self._options.nli_model, self._serving.device)

    def _fail(self, problem: str) -> None:
        self.state, self.problem = "failed", problem
        self.queue.close(f"the worker has no model: {problem}")
