"""`lyra-worker`: serve one user's models on one Unix socket until nobody needs them.

curl --unix-socket /run/user/1000/lyra/worker.sock http://worker/health
"""

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ml_worker.app import Worker, create_app
from ml_worker.jobs import JobMachine, JobOptions
from ml_worker.lifetime import Lifetime
from ml_worker.model_thread import ModelThread
from ml_worker.options import Options, parse
from ml_worker.sockets import AlreadyServed, BadPlace, listen, only_worker, peer_uid, prepare_directory

LOG_BYTES_MAX, LOG_FILES_KEPT = 1_000_000, 3

#: Requests in the queue may finish so long after SIGTERM; the rest are answered with an error.
GRACE_S = 5

#: Longer than any client keeps an unused connection, so that the worker never closes one being reused.
KEEP_ALIVE_S = 600

log = logging.getLogger(__name__)


def same_user_protocol(uid: int) -> type[asyncio.Protocol]:
    """HTTP for one user: the file modes keep others out, and the kernel's word is asked as well."""

    class SameUserProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
            super().connection_made(transport)
            if (found := peer_uid(transport.get_extra_info("socket"))) != uid:
                log.warning("a connection of user %d is refused", found)
                transport.abort()

    return SameUserProtocol


class Server(uvicorn.Server):
    """Removes its socket as soon as it leaves: a client then starts another worker instead of waiting for this one."""

    def __init__(self, config: uvicorn.Config, lifetime: Lifetime, path: Path) -> None:
        super().__init__(config)
        self._lifetime = lifetime
        self._path = path

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._lifetime.leaving.set()
        await super().shutdown(sockets)


async def serve(options: Options, listener: socket.socket, models: ModelThread) -> None:
    machine = JobMachine(JobOptions(options.jobs_root, options.adapters_root, base=lambda: models.serving))
    lifetime = Lifetime(
        idle_s=options.idle_s,
        linger_s=options.linger_s,
        is_busy=lambda: models.state == "warming" or machine.is_busy,
    )
    machine.reconcile()
    config = uvicorn.Config(
        create_app(Worker(options, models, lifetime), machine),
        loop="asyncio",
        http=same_user_protocol(os.getuid()),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Server(config, lifetime, options.socket)

    async def leave_in_time() -> None:
        log.info("leaving: %s", await lifetime.wait())
        server.should_exit = True

    watch = asyncio.create_task(leave_in_time())
    await server.serve(sockets=[listener])
    watch.cancel()
    await machine.stop()


def set_up_log(path: Path | None) -> None:
    """Ids and counts go there, never texts."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8"
        )
    form = f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, handlers=[handler], format=form)
    logging.captureWarnings(capture=True)


def run(options: Options) -> None:
    """
    Raises:
        BadPlace: the socket must not be there.
        AlreadyServed: another worker is.
    """
    prepare_directory(options.socket)
    with only_worker(options.socket):
        listener = listen(options.socket)
        log.info("listening on %s", options.socket)
        models = ModelThread(options)
        models.start()
        try:
            asyncio.run(serve(options, listener, models))
        except BaseException:
            log.exception("the server ended")  # the exit below would swallow it
            raise
        finally:
            options.socket.unlink(missing_ok=True)
            if not models.stop(timeout_s=GRACE_S):
                # In the middle of an import or a batch: nothing of value would be lost, and waiting helps nobody.
                log.info("left while the model thread was busy")
                logging.shutdown()
                os._exit(0)
        log.info("left")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    os.umask(0o077)
    set_up_log(options.log_file)
    # uvicorn raises the signal again after its clean exit; the default action would skip ours.
    signal.signal(signal.SIGTERM, lambda *_: log.info("leaving: SIGTERM"))
    signal.signal(signal.SIGINT, lambda *_: log.info("leaving: SIGINT"))
    try:
        run(options)
    except AlreadyServed as reason:
        log.info("leaving: %s", reason)
    except BadPlace as error:
        log.error("%s", error)  # noqa: TRY400  # the message says all
        print(f"lyra-worker: {error}", file=sys.stderr)  # noqa: T201  # for whoever starts it by hand
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
