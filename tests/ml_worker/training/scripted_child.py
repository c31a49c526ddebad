"""Stands in for a training whose learning does not matter: it starts in no time, and goes through the same states.

It trains until its folder holds a file `may-end`, or until it is asked to stop.
"""

import os
import signal
import sys
import time
from pathlib import Path

from ml_worker.job_folders import JobFolder
from schema.sealing import KEY_BYTES
from schema.vocabulary import RunState


def main(path: Path, *, has_key: bool) -> int:
    folder = JobFolder(path, sys.stdin.buffer.read(KEY_BYTES) if has_key else None)
    folder.verify_key()
    found = folder.read_status()
    assert found is not None, "the machine writes the first state"
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_stop.append(number))

    def enter(state: RunState, pid: int | None = os.getpid()) -> None:
        folder.write_status(found.model_copy(update={"state": state, "pid": pid}))

    enter("training")
    while not (asked_to_stop or (path / "may-end").exists()):
        time.sleep(0.01)
    if not asked_to_stop:
        enter("evaluating")
        enter("evaluated", pid=None)
        return 0
    enter("cancelled" if folder.cancel.exists() else "interrupted", pid=None)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), has_key="--key-on-stdin" in sys.argv))
