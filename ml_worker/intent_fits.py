"""Runs `ml_worker.intents` once for each request: the process is killed when its caller leaves."""

import asyncio
import base64
import binascii
import logging
import os
import sys
from collections import Counter
from contextlib import suppress

from pydantic import ValidationError

from ml_worker.errors import Busy, Failed, Invalid
from schema.wire import FitIntents, FittedIntents

log = logging.getLogger(__name__)

#: Each holds its examples in memory, and the machine has other things to do.
FITS_MAX = 2
EXAMPLES_OF_EACH_MIN, INTENTS_MIN = 3, 2
FLOAT32_BYTES = 4
#: With more threads than free cores a fit takes twenty times as long, and its last bits are left to chance.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class IntentFits:
    """Lives on the event loop."""

    def __init__(self) -> None:
        self._running = 0

    async def run(self, order: FitIntents) -> FittedIntents:
        """Fit in a process of its own; cancelling kills it.

        Raises:
            Invalid: too few intents, or of one too few examples, or not the vectors that the request announces.
            Busy: others are being fitted.
            Failed: the process died.
        """
        _check(order)
        if self._running >= FITS_MAX:
            raise Busy(f"{FITS_MAX} classifiers are being fitted already; try again in a moment")
        self._running += 1
        try:
            return await _run(order)
        finally:
            self._running -= 1


def _check(order: FitIntents) -> None:
    counts = Counter(order.intents)
    if len(counts) < INTENTS_MIN:
        raise Invalid(f"a classifier needs at least {INTENTS_MIN} intents")
    if few := sum(count < EXAMPLES_OF_EACH_MIN for count in counts.values()):
        raise Invalid(f"{few} intents have fewer than {EXAMPLES_OF_EACH_MIN} examples")
    try:
        size = len(base64.b64decode(order.vectors, validate=True))
    except binascii.Error as error:
        raise Invalid("vectors: must be base64") from error
    if size != FLOAT32_BYTES * order.dimension * len(order.intents):
        raise Invalid(f"vectors: must hold {len(order.intents)} times {order.dimension} numbers of 4 bytes")


async def _run(order: FitIntents) -> FittedIntents:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "ml_worker.intents"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **ONE_THREAD},
    )
    try:
        said, complaint = await process.communicate(order.model_dump_json().encode())
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        log.error("the fit ended with code %d: %s", process.returncode, complaint.decode(errors="replace")[-2000:])
        raise Failed(f"the classifier could not be fitted (code {process.returncode}); see the worker's log")
    try:
        return FittedIntents.model_validate_json(said)
    except ValidationError as error:
        raise Failed(
            "the classifier came out with numbers that are not finite; train again with other examples"
        ) from error
