"""A worker without a model, run as a real process: its answers can be read off its input, and it misbehaves on demand.

"not" in a premise refutes, any other premise supports. A premise in brackets asks for a fault, see `_judge`.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path

from schema import wire

FINGERPRINT = "f" * 64
STARTED = time.monotonic()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("socket", "nli-model", "embedding-model", "adapters-root", "jobs-root", "default-adapter", "log-file"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--idle-s", type=float)
    parser.add_argument("--linger-s", type=float)
    # What the tests ask of it.
    parser.add_argument("--journal", type=Path, required=True, help="each start adds its process id as a line")
    parser.add_argument("--warming-s", type=float, default=0.0)
    parser.add_argument("--fail-while", type=Path, help="the models cannot be loaded while this file exists")
    parser.add_argument("--exit-with", help="say this and end with code 1 before listening")
    parser.add_argument("--never-listen", action="store_true")
    parser.add_argument("--listen-after", type=Path, help="wait for this file before listening")
    parser.add_argument("--protocol", type=int, default=wire.PROTOCOL)
    return parser.parse_args()


class Worker:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.presences = 0
        self.is_failed = options.fail_while is not None and options.fail_while.exists()
        self.adapter: str | None = None
        self.leave = asyncio.Event()

    def remove_socket(self) -> None:
        Path(self.options.socket).unlink(missing_ok=True)

    def served_by(self) -> wire.ServedBy:
        return wire.ServedBy(
            base_model="scripted",
            fingerprint=FINGERPRINT,
            adapter=self.adapter,
            adapter_sha256=None,
            temperature=1.0,
            device="cpu",
        )

    def health(self) -> wire.Health:
        is_warming = time.monotonic() - STARTED < self.options.warming_s
        return wire.Health(
            state="failed" if self.is_failed else "warming" if is_warming else "ready",
            problem="the folder holds no model" if self.is_failed else None,
            protocol=self.options.protocol,
            pid=os.getpid(),
            version="0",
            nli_model=self.options.nli_model,
            embedding_model=self.options.embedding_model,
            device="cpu",
            fingerprint=FINGERPRINT,
            adapter=self.adapter,
            queue=wire.Queue(pairs_waiting=0, pairs_max=8),
        )

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        if path == "/presence":
            await self._hold(reader, writer)
        else:
            status, content = await self._reply(method, path, body)
            writer.write(_response(status, content))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.presences += 1
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n.")
        with contextlib.suppress(ConnectionError):
            await reader.read()  # until the server has gone
        self.presences -= 1
        await asyncio.sleep(self.options.linger_s)
        if self.presences == 0:
            self.leave.set()

    async def _reply(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/health":
            return _ok(self.health())
        if path == "/nli":
            return await self._judge(wire.JudgePairs.model_validate_json(body))
        if path == "/embed":
            return self._embed(wire.EmbedTexts.model_validate_json(body))
        if path == "/nli/adapter/load":
            return self._load(wire.LoadAdapter.model_validate_json(body))
        if path == "/nli/adapter/unload":
            self.adapter = None
            return _ok(wire.AdapterUnloaded(ok=True, message="the base serves"))
        assert path == "/nli/adapter/status"
        return _ok(
            wire.AdapterStatus(
                adapter_loaded=self.adapter is not None,
                adapter_path=self.adapter,
                base_model="scripted",
                fingerprint=FINGERPRINT,
                device="cpu",
            )
        )

    def _load(self, request: wire.LoadAdapter) -> tuple[int, bytes]:
        if request.adapter_path == "broken":
            return _ok(wire.AdapterLoaded(ok=False, adapter_path=self.adapter, message="it is truncated"))
        self.adapter = request.adapter_path or self.options.default_adapter
        return _ok(wire.AdapterLoaded(ok=True, adapter_path=self.adapter, message="loaded"))

    async def _judge(self, request: wire.JudgePairs) -> tuple[int, bytes]:
        premise = request.pairs[0].premise
        if premise == "[die]":
            os.kill(os.getpid(), signal.SIGKILL)
        if premise == "[hang]":
            await asyncio.Event().wait()
        if premise == "[garbage]":
            return 200, b'{"judgements": "none"'
        if premise == "[broken problem]":
            return 500, b"Internal Server Error"
        if premise.startswith("[problem "):
            code = premise[len("[problem ") : -1]
            return 503, wire.Problem(code=code, message=f"it is {code}").model_dump_json().encode()
        pairs = request.pairs[1:] if premise == "[few]" else request.pairs
        judgements = [
            {
                "logits": _logits(pair.premise),
                "truncated": False,
                "representation": _vector(2) if request.representation and premise != "[bare]" else None,
            }
            for pair in pairs
        ]
        reply = {"judgements": judgements, "served_by": self.served_by().model_dump()}
        return 200, json.dumps(reply).encode()

    def _embed(self, request: wire.EmbedTexts) -> tuple[int, bytes]:
        vector = {"[few]": None, "[no base64]": "%", "[short]": _vector(3)}.get(request.texts[0], _vector(4))
        vectors = [] if vector is None else [vector] * len(request.texts)
        return _ok(
            wire.EmbedReply(vectors=vectors, dimension=4, model="scripted", fingerprint=FINGERPRINT, device="cpu")
        )


def _logits(premise: str) -> dict[str, float]:
    sure = float("nan") if premise == "[nan]" else 4.0
    is_refuting = "not" in premise.split()
    return {"supports": 0.0 if is_refuting else sure, "refutes": sure if is_refuting else 0.0, "neutral": 0.0}


def _vector(dimension: int) -> str:
    return base64.b64encode(struct.pack(f"<{dimension}f", 1.0, *[0.0] * (dimension - 1))).decode()


def _ok(message: wire.Message) -> tuple[int, bytes]:
    return 200, message.model_dump_json().encode()


def _response(status: int, content: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(content), content)


async def main(options: argparse.Namespace) -> None:
    worker = Worker(options)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.leave.set)
    server = await asyncio.start_unix_server(worker.answer, options.socket)
    async with server:
        await worker.leave.wait()
        # Stop listening first; whoever starts the next worker may already wait for that.
        worker.remove_socket()
        os._exit(0)


if __name__ == "__main__":
    options = parse()
    with options.journal.open("a") as journal:
        journal.write(f"{os.getpid()}\n")
    if options.exit_with:
        sys.exit(options.exit_with)
    while options.never_listen or (options.listen_after and not options.listen_after.exists()):
        time.sleep(0.01)
    asyncio.run(main(options))
