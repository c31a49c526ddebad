"""The real process on a real socket: judging, adapters, swaps under load, and every way to end."""

import asyncio
import base64
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from ml_worker.adapters import load_adapter
from ml_worker.nli import NliModel
from schema.vocabulary import LABELS
from schema.wire import JudgeReply, Pair

PAIR = {"premise": "the trial had more patients", "hypothesis": "more patients"}
WAIT_S = 60


def judge(client, pairs=(PAIR,), **options):
    response = client.post("/nli", json={"pairs": list(pairs), **options})
    assert response.status_code == 200, response.text
    return JudgeReply.model_validate_json(response.content)


def expected_logits(base, root, path):
    model = NliModel(base, torch.device("cpu"))
    adapter = load_adapter(base, root, path) if path else None
    (judgement,) = model.judge(model.encode([Pair(**PAIR)]), adapter, representation=False)
    return [judgement.logits.of(label) for label in LABELS]


def test_a_judgement_names_what_served_it_and_equals_the_model_in_process(client, tiny, tiny_folder, adapters_root):
    reply = judge(client)

    assert reply.served_by.model_dump() == {
        "base_model": str(tiny_folder),
        "fingerprint": tiny.fingerprint,
        "adapter": None,
        "adapter_sha256": None,
        "temperature": 1.0,
        "device": "cpu",
    }
    logits = [reply.judgements[0].logits.of(label) for label in LABELS]
    assert logits == pytest.approx(expected_logits(tiny, adapters_root, None), abs=1e-5)


def test_64_pairs_are_judged_in_order_and_65_are_refused(client):
    pairs = [{"premise": "more " * (1 + i % 30), "hypothesis": "patients"} for i in range(64)]
    together = judge(client, pairs).judgements
    assert len(together) == 64
    for i in (0, 29, 63):
        alone = judge(client, [pairs[i]]).judgements[0]
        assert together[i].logits.supports == pytest.approx(alone.logits.supports, abs=1e-4)

    assert client.post("/nli", json={"pairs": [PAIR] * 65}).status_code == 400


def test_the_longest_text_is_truncated_and_says_so(client):
    texts = [{"premise": ("music, " * 10_000)[:65_536], "hypothesis": "empty"}, PAIR]

    assert [judgement.truncated for judgement in judge(client, texts).judgements] == [True, False]


def test_a_representation_is_a_unit_vector_of_the_hidden_size(client, tiny):
    (judgement,) = judge(client, representation=True).judgements
    vector = np.frombuffer(base64.b64decode(judgement.representation), dtype="<f4")

    assert vector.shape == (tiny.hidden_size,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert judge(client).judgements[0].representation is None


def test_an_adapter_is_loaded_serves_and_is_unloaded_and_the_base_is_bitwise_back(client, tiny, adapters_root):
    before = judge(client)
    assert client.post("/nli/adapter/load", json={"adapter_path": "one"}).json() == {
        "ok": True,
        "adapter_path": "one",
        "message": "one serves now",
    }
    assert client.get("/nli/adapter/status").json()["adapter_path"] == "one"
    assert client.get("/health").json()["adapter"] == "one"
    adapted = judge(client)
    assert (adapted.served_by.adapter, adapted.served_by.temperature) == ("one", 1.5)
    weights = (adapters_root / "one" / "adapter_model.safetensors").read_bytes()
    assert adapted.served_by.adapter_sha256 == hashlib.sha256(weights).hexdigest()
    assert adapted.judgements != before.judgements
    assert judge(client, adapter="base") == before

    for _ in range(2):
        assert client.post("/nli/adapter/unload").json()["ok"] is True
    assert judge(client) == before
    assert client.get("/nli/adapter/status").json() == {
        "adapter_loaded": False,
        "adapter_path": None,
        "base_model": before.served_by.base_model,
        "fingerprint": tiny.fingerprint,
        "device": "cpu",
    }


def test_a_request_may_name_its_adapter_while_another_is_loaded(client, tiny, adapters_root):
    client.post("/nli/adapter/load", json={"adapter_path": "one"})
    named = judge(client, adapter="two")

    assert named.served_by.adapter == "two"
    logits = [named.judgements[0].logits.of(label) for label in LABELS]
    assert logits == pytest.approx(expected_logits(tiny, adapters_root, "two"), abs=1e-4)
    assert judge(client).served_by.adapter == "one"


def test_an_unknown_adapter_is_a_problem_with_a_code(client):
    response = client.post("/nli", json={"pairs": [PAIR], "adapter": "absent"})

    assert (response.status_code, response.json()["code"]) == (404, "unknown_adapter")


def test_a_refused_load_keeps_the_previous_adapter_serving(client, adapters_root):
    damaged = Path(shutil.copytree(adapters_root / "two", adapters_root / "damaged"))
    os.truncate(damaged / "adapter_model.safetensors", 100)
    client.post("/nli/adapter/load", json={"adapter_path": "one"})

    for path in ("damaged", "absent", "../one", "/etc"):
        refusal = client.post("/nli/adapter/load", json={"adapter_path": path}).json()
        assert (refusal["ok"], refusal["adapter_path"]) == (False, path)
    assert judge(client).served_by.adapter == "one"


def test_a_load_without_a_path_says_so_when_no_default_is_set(client):
    reply = client.post("/nli/adapter/load", json={}).json()

    assert reply["ok"] is False
    assert "LYRA_DEFAULT_ADAPTER" in reply["message"]


async def test_200_concurrent_requests_during_10_swaps_are_each_answered_by_the_version_they_name(
    client, worker, tiny, adapters_root
):
    """No reply may come from half a model: the logits must be exactly those of the adapter in `served_by`."""
    expected = {path: expected_logits(tiny, adapters_root, path) for path in (None, "one", "two")}
    served = []
    async with httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(worker.socket), limits=httpx2.Limits(max_connections=300)),
        base_url="http://worker",
        timeout=WAIT_S,
    ) as asking:

        async def ask():
            response = await asking.post("/nli", json={"pairs": [PAIR]})
            reply = JudgeReply.model_validate_json(response.content)
            logits = [reply.judgements[0].logits.of(label) for label in LABELS]
            assert logits == pytest.approx(expected[reply.served_by.adapter], abs=1e-4)
            served.append(reply.served_by.adapter)

        async def swap():
            for _ in range(10):
                for path in ("one", "two"):
                    assert (await asking.post("/nli/adapter/load", json={"adapter_path": path})).json()["ok"]
                    await asyncio.gather(*(ask() for _ in range(2)))
                assert (await asking.post("/nli/adapter/unload")).json()["ok"]

        await asyncio.gather(swap(), *(ask() for _ in range(200)))

    assert len(served) == 240
    assert {"one", "two"} <= set(served)


def test_builtin_judges_and_embeds_offline_and_leaves_at_sigterm(start_worker):
    worker = start_worker()
    assert worker.wait_for_state("warming")["fingerprint"] is None
    health = worker.wait_for_state("ready")
    client = worker.client()
    reply = judge(
        client,
        [
            {"premise": "A man is playing a guitar on stage.", "hypothesis": "A man makes music."},
            {"premise": "A man is playing a guitar on stage.", "hypothesis": "Nobody is on the stage."},
        ],
    )
    assert reply.served_by.base_model == health["nli_model"] == "builtin"
    agreeing, contradicting = (judgement.logits for judgement in reply.judgements)
    assert agreeing.supports > agreeing.refutes
    assert contradicting.refutes > contradicting.supports

    texts = ["the weather is fine", "it is a sunny day", "the invoice is overdue"]
    embedded = client.post("/embed", json={"texts": texts}).json()
    vectors = np.array([np.frombuffer(base64.b64decode(vector), dtype="<f4") for vector in embedded["vectors"]])
    assert vectors.shape == (3, embedded["dimension"]) == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert embedded["model"] == "builtin"

    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(WAIT_S) == 0
    assert not worker.socket.exists()
    assert "music" not in worker.log
    assert "sunny" not in worker.log


def test_a_worker_killed_in_the_middle_of_a_batch_leaves_its_callers_with_an_error(
    start_worker, tiny_folder, adapters_root
):
    worker = start_worker("--nli-model", str(tiny_folder), "--adapters-root", str(adapters_root))
    worker.wait_for_state("ready")
    errors = []

    def ask():
        try:
            judge(worker.client(), [{"premise": "music, " * 9000, "hypothesis": "empty"}] * 64)
        except httpx2.TransportError as error:
            errors.append(error)

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for caller in callers:
        caller.start()
    watch = worker.client()
    for _ in range(10_000):
        if watch.get("/health").json()["queue"]["pairs_waiting"] > 64:
            break
    worker.process.kill()
    worker.process.wait(WAIT_S)
    for caller in callers:
        caller.join(WAIT_S)

    assert len(errors) == 3
    assert worker.socket.exists()  # stale: nobody could remove it

    successor = start_worker("--nli-model", str(tiny_folder))
    assert successor.wait_for_state("ready")["pid"] == successor.process.pid


def test_the_default_adapter_is_loaded_when_no_path_is_named(start_worker, tiny_folder, adapters_root):
    worker = start_worker(
        "--nli-model", str(tiny_folder), "--adapters-root", str(adapters_root), "--default-adapter", "two"
    )
    worker.wait_for_state("ready")
    client = worker.client()
    assert judge(client).served_by.adapter is None
    loaded = client.post("/nli/adapter/load", json={}).json()

    assert (loaded["ok"], loaded["adapter_path"]) == (True, "two")
    assert judge(client).served_by.adapter == "two"


def test_a_model_that_cannot_be_loaded_makes_the_worker_say_why(start_worker, tmp_path):
    worker = start_worker("--nli-model", str(tmp_path / "absent"))
    health = worker.wait_for_state("failed")

    assert "no folder" in health["problem"]
    response = worker.client().post("/nli", json={"pairs": [PAIR]})
    assert (response.status_code, response.json()["code"]) == (500, "failed")


def test_a_second_worker_for_the_same_socket_leaves_at_once(worker):
    command = [sys.executable, "-m", "ml_worker", "--socket", str(worker.socket)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert second.returncode == 0
    assert "another worker serves" in second.stderr
    assert worker.client().get("/health").json()["state"] == "ready"


def test_two_workers_started_at_once_become_one(start_worker, tiny_folder):
    first, second = (start_worker("--nli-model", str(tiny_folder)) for _ in range(2))
    ended = set()
    pause = threading.Event()
    for _ in range(1000):
        ended = {one for one in (first.process, second.process) if one.poll() is not None}
        if ended:
            break
        pause.wait(0.05)

    assert [one.returncode for one in ended] == [0]
    (living,) = {first.process, second.process} - ended
    alive = first if living is first.process else second
    assert alive.wait_for_state("ready")["pid"] == living.pid


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--idle-s", "0.5"), "nothing was asked"), (("--linger-s", "0.5"), "no server was present")],
)
def test_a_worker_nobody_needs_leaves_and_removes_its_socket(options, reason, start_worker, tiny_folder):
    worker = start_worker("--nli-model", str(tiny_folder), *options)

    assert worker.process.wait(WAIT_S) == 0
    assert not worker.socket.exists()
    assert reason in worker.log


def test_a_worker_leaves_when_its_last_server_has_gone(start_worker, tiny_folder):
    worker = start_worker("--nli-model", str(tiny_folder), "--linger-s", "3")
    worker.wait_for_state("warming")
    with worker.client().stream("GET", "/presence") as presence:
        lines = presence.iter_lines()  # kept: a collected iterator closes the stream
        assert next(lines) == "present"
        worker.wait_for_state("ready")

    assert worker.process.wait(WAIT_S) == 0
    assert "no server was present for 3 s" in worker.log


def test_a_socket_path_that_is_too_long_is_refused_with_the_setting_to_change(tmp_path):
    path = tmp_path / ("x" * 100) / "w.sock"
    command = [sys.executable, "-m", "ml_worker", "--socket", str(path)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert refused.returncode == 2
    assert "LYRA_RUNTIME_DIR" in refused.stderr
    assert not path.parent.exists()
