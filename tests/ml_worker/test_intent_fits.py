"""`POST /intent/fit` of a real worker: a process for each request, which stands in nobody's way."""

import base64
import threading
import time

import httpx2
import numpy as np
import psutil
import pytest

from schema.wire import FittedIntents, Problem

PAIR = {"premise": "the trial", "hypothesis": "more patients"}


def body(count, *, names=2, dimension=8, **changes):
    vectors = np.random.default_rng(0).standard_normal((count, dimension)).astype("<f4")
    intents = [f"intent {number % names}" for number in range(count)]
    encoded = base64.b64encode(vectors.tobytes()).decode()
    return {"intents": intents, "vectors": encoded, "dimension": dimension, **changes}


def fits_of(worker):
    """The processes of the worker that fit."""
    return [child for child in psutil.Process(worker.process.pid).children() if "ml_worker.intents" in child.cmdline()]


def wait_until(fact, *, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come about"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"intents": ["a"] * 12}, "at least 2 intents"),
        ({"intents": ["a"] * 11 + ["b"]}, "1 intents have fewer than 3 examples"),
        ({"dimension": 9}, "must hold 12 times 9 numbers"),
        ({"vectors": "%"}, "must be base64"),
        ({"intents": []}, "intents: "),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(client, changes, said):
    response = client.post("/intent/fit", json={**body(12), **changes})

    assert response.status_code == 400
    assert said in Problem.model_validate_json(response.content).message


def test_judging_goes_on_while_a_classifier_is_fitted_and_who_leaves_ends_it(worker, client):
    """A fit of so many random vectors takes minutes."""
    large = body(12_000, names=300, dimension=256)
    ended = threading.Event()

    def ask_and_leave():
        with worker.client() as impatient:
            impatient.timeout = httpx2.Timeout(60, read=8)
            with pytest.raises(httpx2.ReadTimeout):
                impatient.post("/intent/fit", json=large)
        ended.set()

    thread = threading.Thread(target=ask_and_leave)
    thread.start()
    wait_until(lambda: fits_of(worker))
    assert client.post("/nli", json={"pairs": [PAIR]}).status_code == 200
    assert fits_of(worker)
    thread.join()

    assert ended.is_set()
    wait_until(lambda: not fits_of(worker))


def test_the_fit_comes_from_a_process_of_its_own(client):
    fitted = FittedIntents.model_validate_json(client.post("/intent/fit", json=body(40)).content)

    assert fitted.facts.intents == ["intent 0", "intent 1"]
    assert fitted.facts.validation.n == 8


def test_a_fit_that_dies_is_a_failure_and_not_an_empty_answer(client):
    broken = np.full((12, 8), np.nan, dtype="<f4")

    response = client.post("/intent/fit", json=body(12, vectors=base64.b64encode(broken.tobytes()).decode()))

    assert response.status_code == 500
    assert "could not be fitted" in Problem.model_validate_json(response.content).message
