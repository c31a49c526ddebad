"""Tiny models, the command `lyra-mcp`, and a hub on the loopback that speaks the real client's protocol."""

import asyncio
import hashlib
import json
import logging
import os
import struct
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.tiny_model import write_tiny_model
from lyra_mcp.cli import app

NAME = "somebody/tiny-nli"
COMMIT = "a" * 40
#: Written byte by byte: what the command reads must not depend on the library that the worker writes with.
HEADER = {"classifier.weight": {"dtype": "F32", "shape": [3, 40_000], "data_offsets": [0, 480_000]}}
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "dtype": "float32",
    "id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"},
}


def safetensors(header=HEADER):
    text = json.dumps(header).encode()
    size = max(tensor["data_offsets"][1] for tensor in header.values())
    return struct.pack("<Q", len(text)) + text + bytes(i % 251 for i in range(size))


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors": safetensors(),
}
REST = {"README.md": b"# Tiny", "pytorch_model.bin": b"\x80pickle", "onnx/model.safetensors": b"another"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Hub:
    """What the server offers, and how it fails."""

    name: str = NAME
    commit: str = COMMIT
    #: What a pull should bring, and all there is.
    wanted: dict = field(default_factory=lambda: dict(FILES))
    files: dict = field(default_factory=lambda: {**FILES, **REST})
    #: Sent in the place of a file's bytes.
    sends: dict = field(default_factory=dict)
    #: So many times, the weights do not arrive from this byte on.
    cut_at: int = 0
    cuts: int = 0
    fetched: list = field(default_factory=list)
    url: str = ""

    def describe(self, name):
        content = self.files[name]
        large = name.endswith(("safetensors", "bin"))
        return {"size": len(content), "oid": git_sha1(content)} | (
            {"lfs": {"sha256": sha256(content), "oid": sha256(content), "size": len(content), "pointerSize": 130}}
            if large
            else {}
        )


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/{NAME}/resolve/{COMMIT}/"))
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            self._json([{"type": "file", "path": name, **self.hub.describe(name)} for name in self.hub.files])
        elif path in {f"/api/models/{NAME}", f"/api/models/{NAME}/revision/{COMMIT}"}:
            siblings = [
                {"rfilename": n, "blobId": self.hub.describe(n)["oid"], **self.hub.describe(n)} for n in self.hub.files
            ]
            self._json({"id": NAME, "sha": COMMIT, "siblings": siblings})
        else:
            code = "RevisionNotFound" if path.startswith(f"/api/models/{NAME}/") else "RepoNotFound"
            self._json({"error": "not found"}, status=HTTPStatus.NOT_FOUND, headers={"X-Error-Code": code})

    def _json(self, content, *, status=HTTPStatus.OK, headers=()):
        body = json.dumps(content).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": len(body), **dict(headers)})
        self._body(body)

    def _file(self, name):
        content = self.hub.sends.get(name, self.hub.files[name])
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        about = self.hub.describe(name)
        etag = about.get("lfs", {}).get("sha256") or about["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if "lfs" in about:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": about["size"]}
        if self.command == "GET":
            self.hub.fetched.append(name)
        part = content[start:]
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK, {**headers, "Content-Length": len(part)})
        if self.hub.cuts and name == "model.safetensors" and self.command == "GET":
            self.hub.cuts -= 1
            self._body(content[start : self.hub.cut_at])
            self.close_connection = True
        else:
            self._body(part)

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _body(self, body):
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(name="hub")
def _hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.hub = Hub(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.hub
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="home")
def _home(tmp_path):
    return tmp_path / "home"


@pytest.fixture(name="lyra_mcp")
def _lyra_mcp(tmp_path, home):
    """Run `lyra-mcp` in this process, in a home of its own: (exit code, standard output, standard error)."""
    prefixes = ("LYRA_", "OPENAI_", "HF_", "HUGGINGFACE_")
    clean = {name: None for name in os.environ if name.upper().startswith(prefixes)}
    places = {"LYRA_HOME": str(home), "LYRA_RUNTIME_DIR": str(tmp_path / "run"), "LYRA_KEY_SOURCE": "file"}
    nowhere = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": "http://127.0.0.1:9"}

    def run(*arguments, typed="", **environment):
        done = CliRunner().invoke(app, arguments, env={**clean, **places, **nowhere, **environment}, input=typed)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    log = logging.getLogger("lyra_mcp")
    level = log.level
    yield run
    log.setLevel(level)  # a command may set it for the rest of its process


@pytest.fixture(name="models")
def _models(lyra_mcp):
    """Run `lyra-mcp models`: (exit code, the JSON or text of standard output, standard error)."""

    async def run(*arguments, hub=None, **settings):
        place = {"HF_ENDPOINT": hub.url} if hub else {}
        code, text, errors = await asyncio.to_thread(lyra_mcp, "models", *arguments, **place, **settings)
        return code, json.loads(text) if "--json" in arguments and text else text, errors

    return run


@pytest.fixture(name="write_model", scope="session")
def _write_model():
    def write(folder, **changes):
        folder.mkdir(parents=True)
        for name, content in FILES.items():
            (folder / name).write_bytes(content)
        (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
        return folder

    return write


@pytest.fixture(name="tiny_model", scope="session")
def _tiny_model(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"), hidden=32, layers=1, spread=0.3)
