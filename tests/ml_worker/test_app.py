"""The HTTP face over a real Unix socket, its models replaced by a gate that a test opens."""

import asyncio
import json
import os
import threading
from concurrent.futures import Future

import httpx2
import pytest
import uvicorn

from ml_worker.__main__ import Server, same_user_protocol
from ml_worker.app import Worker, create_app
from ml_worker.errors import Failed, Warming
from ml_worker.lifetime import Lifetime
from ml_worker.options import parse
from ml_worker.queue import ModelQueue
from schema.wire import PROTOCOL, EmbedReply, Problem

WAIT_S = 10
PAIR = {"premise": "a b", "hypothesis": "c"}


class GatedModels:
    """Stands for the model thread: the queue is real, nobody serves it; a test looks at what waits."""

    def __init__(self) -> None:
        self.queue = ModelQueue(pairs_max=64)
        self.state, self.problem = "ready", None
        self.serving = None

    def require_serving(self):
        if self.state == "warming":
            raise Warming("the models are loading")
        if self.state == "failed":
            raise Failed(f"the worker has no model: {self.problem}")
        return self

    def embed(self, texts):
        return EmbedReply(vectors=["AAAA"] * len(texts), dimension=1, model="gated", fingerprint="f", device="cpu")


class Served:
    """A uvicorn server on a thread of its own."""

    def __init__(self, socket, models, uid):
        self.models = models
        self.lifetime = Lifetime(idle_s=60, linger_s=60)
        self.socket = socket
        app = create_app(Worker(parse(["--socket", str(socket)]), models, self.lifetime))
        config = uvicorn.Config(
            app, uds=str(socket), http=same_user_protocol(uid), loop="asyncio", lifespan="off", log_config=None
        )
        self.server = Server(config, self.lifetime, socket)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def client(self):
        return httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(self.socket)), base_url="http://worker", timeout=WAIT_S
        )


def wait_for(fact, *, timeout_s=WAIT_S):
    """Until the fact holds, bounded."""
    pause = threading.Event()
    for _ in range(int(timeout_s / 0.01)):
        if fact():
            return
        pause.wait(0.01)
    raise AssertionError("the fact did not come about")


@pytest.fixture(name="serve")
def _serve(socket_folder):
    made = []

    def serve(uid=None):
        served = Served(socket_folder / "app.sock", GatedModels(), os.getuid() if uid is None else uid)
        made.append(served)
        served.thread.start()
        wait_for(lambda: served.server.started)
        return served

    yield serve
    for served in made:
        served.models.queue.close("the test ends")
        served.server.should_exit = True
        served.thread.join(WAIT_S)
        assert not served.thread.is_alive()


@pytest.fixture(name="served")
def _served(serve):
    return serve()


def problem(response, status):
    assert response.status_code == status, response.text
    return Problem.model_validate_json(response.content)


def post_in_background(served, path, body):
    """The reply of a request that is being made on another thread."""
    reply: Future[httpx2.Response] = Future()

    def post():
        try:
            with served.client() as client:
                reply.set_result(client.post(path, json=body))
        except httpx2.HTTPError as error:
            reply.set_exception(error)

    threading.Thread(target=post, daemon=True).start()
    return reply


def test_health_is_answered_in_every_state(served):
    with served.client() as client:
        for state, reason in (("warming", None), ("failed", "no such model"), ("ready", None)):
            served.models.state, served.models.problem = state, reason
            health = client.get("/health").json()
            assert (health["state"], health["problem"], health["protocol"]) == (state, reason, PROTOCOL)
            assert health["queue"] == {"pairs_waiting": 0, "pairs_max": 64}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/nli", {"pairs": [PAIR]}),
        ("/embed", {"texts": ["a"]}),
        ("/nli/adapter/load", {}),
        ("/nli/adapter/unload", None),
    ],
)
def test_work_is_refused_while_the_models_warm_up_or_have_failed(path, body, served):
    with served.client() as client:
        served.models.state = "warming"
        assert problem(client.post(path, json=body), 503).code == "warming"
        served.models.state, served.models.problem = "failed", "no such model"
        found = problem(client.post(path, json=body), 500)
    assert (found.code, found.message) == ("failed", "the worker has no model: no such model")


def test_a_full_queue_is_busy_at_once(served):
    waiting = post_in_background(served, "/nli", {"pairs": [PAIR] * 64})
    wait_for(lambda: served.models.queue.pairs_waiting == 64)
    with served.client() as client:
        assert problem(client.post("/nli", json={"pairs": [PAIR]}), 503).code == "busy"
        assert problem(client.post("/embed", json={"texts": ["a"]}), 503).code == "busy"
    served.models.queue.close("the worker is leaving")

    assert problem(waiting.result(WAIT_S), 500).message == "the worker is leaving"


async def test_a_client_that_leaves_takes_its_pairs_out_of_the_queue(served):
    async with httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(served.socket)), base_url="http://worker"
    ) as client:
        asking = asyncio.create_task(client.post("/nli", json={"pairs": [PAIR] * 60}))
        await asyncio.to_thread(wait_for, lambda: served.models.queue.pairs_waiting == 60)
        asking.cancel()
        await asyncio.to_thread(wait_for, lambda: served.models.queue.pairs_waiting == 0)


def test_presence_is_open_until_either_side_leaves(served):
    with served.client() as client:
        with client.stream("GET", "/presence") as first:
            lines = first.iter_lines()  # kept: a collected iterator closes the stream
            assert next(lines) == "present"
            assert served.lifetime.presences == 1
            with served.client() as other, other.stream("GET", "/presence") as second:
                others = second.iter_lines()
                assert next(others) == "present"
                assert served.lifetime.presences == 2
            wait_for(lambda: served.lifetime.presences == 1)
        wait_for(lambda: served.lifetime.presences == 0)


def test_a_leaving_worker_ends_the_presences(served):
    with served.client() as client, client.stream("GET", "/presence") as response:
        lines = response.iter_lines()
        next(lines)
        served.server.should_exit = True

        assert list(lines) == []


@pytest.mark.parametrize(
    ("body", "mistake"),
    [
        ({"pairs": [PAIR] * 65}, "pairs: List should have at most 64 items"),
        ({"pairs": []}, "pairs: List should have at least 1 item"),
        ({"pairs": [{"premise": " \n", "hypothesis": "c"}]}, "pairs.0.premise: Value error, must not be empty"),
        ({"pairs": [{"premise": "a\0", "hypothesis": "c"}]}, "must not contain NUL"),
        ({"pairs": [{"premise": "a" * 65_537, "hypothesis": "c"}]}, "at most 65536 characters"),
        ({"pairs": [{"premise": "a"}]}, "pairs.0.hypothesis: Field required"),
        ({"pairs": [PAIR], "pair": 1}, "pair: Extra inputs are not permitted"),
        ({"pairs": [{"premise": 1, "hypothesis": "c"}]}, "pairs.0.premise: Input should be a valid string"),
        ({}, "pairs: Field required"),
        ([], "body"),
    ],
)
def test_an_invalid_request_names_the_place_and_the_rule(body, mistake, served):
    with served.client() as client:
        found = problem(client.post("/nli", json=body), 400)
    assert found.code == "invalid"
    assert mistake in found.message


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b'{"pairs":[{"premise":"\\ud800","hypothesis":"c"}]}'])
def test_bytes_that_are_no_valid_request_are_invalid_not_a_crash(content, served):
    with served.client() as client:
        response = client.post("/nli", content=content, headers={"content-type": "application/json"})
    assert problem(response, 400).code == "invalid"


def test_a_problem_with_many_mistakes_stays_short_and_quotes_no_text(served):
    pairs = [{"premise": "my secret\0", "hypothesis": "c"}] * 64
    with served.client() as client:
        found = problem(client.post("/nli", json={"pairs": pairs}), 400)
    assert found.message.endswith("; and 61 more")
    assert "secret" not in found.message


def test_an_unknown_route_is_a_problem_too(served):
    with served.client() as client:
        assert problem(client.get("/judge"), 404).code == "invalid"
        assert problem(client.get("/nli"), 405).code == "invalid"


def test_the_openapi_document_describes_every_route(served):
    with served.client() as client:
        document = json.loads(client.get("/openapi.json").content)
    assert {"/health", "/nli", "/embed", "/nli/adapter/load", "/nli/adapter/unload"} <= set(document["paths"])
    assert {"/nli/adapter/status", "/presence"} <= set(document["paths"])


def test_a_connection_of_another_user_is_closed_unanswered(serve):
    served = serve(uid=os.getuid() + 1)
    with served.client() as client, pytest.raises(httpx2.TransportError):
        client.get("/health")
