"""What holds only where there is a GPU; elsewhere these tests are skipped. The tiny models of the other tests."""

import base64

import numpy as np
import pytest
import torch

from ml_worker.adapters import load_adapter
from ml_worker.nli import NliModel
from schema.vocabulary import LABELS
from schema.wire import JudgeReply, Pair

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

PAIRS = [
    Pair(premise=f"the trial had {'more ' * (i % 7)}patients", hypothesis=("more patients", "guitar music")[i % 2])
    for i in range(64)
]
PROBABILITY_DIFFERENCE_MAX = 1e-3


def probabilities(judgements):
    """(N, 3), columns in the order of LABELS."""
    logits = np.array([[judgement.logits.of(label) for label in LABELS] for judgement in judgements])
    return torch.tensor(logits).softmax(-1).numpy()


@pytest.fixture(name="gpu_client")
def _gpu_client(start_worker, tiny_folder, adapters_root):
    worker = start_worker("--nli-model", str(tiny_folder), "--adapters-root", str(adapters_root))
    worker.wait_for_state("ready")
    return worker.client()


@pytest.mark.parametrize("path", [None, "one", "two"])
def test_the_gpu_answers_as_the_cpu_does(gpu_client, tiny, adapters_root, path):
    cpu = NliModel(tiny, torch.device("cpu"))
    adapter = load_adapter(tiny, adapters_root, path) if path else None
    expected = probabilities(cpu.judge(cpu.encode(PAIRS), adapter, representation=False))

    asked = {"pairs": [pair.model_dump() for pair in PAIRS], "adapter": path or "base"}
    reply = JudgeReply.model_validate_json(gpu_client.post("/nli", json=asked).content)

    assert reply.served_by.device == "cuda"
    said = probabilities(reply.judgements)
    assert (said.argmax(-1) == expected.argmax(-1)).all()
    assert np.abs(said - expected).max() < PROBABILITY_DIFFERENCE_MAX


def test_an_adapter_comes_and_goes_on_the_gpu_and_the_base_is_bitwise_back(gpu_client):
    def judge():
        asked = {"pairs": [pair.model_dump() for pair in PAIRS[:8]]}
        return JudgeReply.model_validate_json(gpu_client.post("/nli", json=asked).content)

    before = judge()
    assert gpu_client.post("/nli/adapter/load", json={"adapter_path": "one"}).json()["ok"] is True
    assert judge().judgements != before.judgements
    gpu_client.post("/nli/adapter/unload")

    assert judge() == before


def test_the_builtin_models_judge_and_embed_on_the_gpu(start_worker):
    worker = start_worker()
    worker.wait_for_state("ready")
    client = worker.client()
    texts = ["the weather is fine", "it is a sunny day", "the invoice is overdue"]
    embedded = client.post("/embed", json={"texts": texts}).json()
    vectors = np.array([np.frombuffer(base64.b64decode(vector), dtype="<f4") for vector in embedded["vectors"]])
    pair = {"premise": "A man is playing a guitar on stage.", "hypothesis": "A man makes music."}
    reply = JudgeReply.model_validate_json(client.post("/nli", json={"pairs": [pair]}).content)

    assert embedded["device"] == reply.served_by.device == "cuda"
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    logits = reply.judgements[0].logits
    assert logits.supports > max(logits.refutes, logits.neutral)
