"""From corrections to a better model that serves, and back: both real processes, a tiny model, and everybody killed."""

import json
import os
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Tokenizer

LABELS = ("supports", "refutes", "neutral")
SETTINGS = {
    "training_samples_min": 20,
    "trigger_corrections": 20,
    "gate_accuracy_min": 0.5,
    "gate_agreement_min": 0,
    # Two starts of a worker in one test: it shall not leave between them, nor stay long after.
    "worker_linger_s": 2,
}
CORRECTIONS = 40


def text(number):
    return f"case {number} is zz and q{number % 7}."


def pairs(numbers):
    return [{"premise": text(number), "hypothesis": "a claim."} for number in numbers]


#: Numbers of the corrected cases; those of the same rule that are never corrected lie between them.
CORRECTED = range(100, 100 + 13 * CORRECTIONS, 13)
UNSEEN = pairs(range(365, 365 + 13 * 20, 13))


def answers(server):
    """What the model says of unseen pairs, and which adapter said it."""
    judged = server.answer("judge", pairs=UNSEEN)
    return [(one["label"], one["probabilities"]) for one in judged["results"]], judged["served_by"]["adapter"]


def share(said, label):
    return sum(one == label for one, _ in said) / len(said)


def correct_by_one_rule(server):
    """Whatever the model said of such pairs most often was wrong; returns what people say instead."""
    added = server.answer("add_evidence", claim="a claim.", fragments=[{"text": text(n)} for n in CORRECTED])
    said = [edge["label"] for edge in added["edges"]]
    label = min(LABELS, key=said.count)
    for edge in added["edges"]:
        server.answer("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=label)
    return label


def start(server):
    """With the recipe for few and short pairs: `default` keeps half of the change, too little for a tiny model."""
    return server.answer("finetune", action="start", recipe="small", confirm=True, force=True)["job_id"]


def status_of(server, job_id, wait_s=0):
    [job] = server.answer("finetune_status", job_id=job_id, wait_s=wait_s)["jobs"]
    return job


def finished(server, job_id):
    while (job := status_of(server, job_id, wait_s=45))["state"] in ("preparing", "training", "evaluating"):
        pass  # bounded by pytest's timeout; each round waits for the job
    assert job["state"] == "candidate", job
    return job


@pytest.fixture(name="training_of")
def _training_of(waiting):
    """The training child of a job, stopped as soon as it trains, so that a test can decide what becomes of it."""
    stopped = []

    def stop(house, job_id):
        folder = house.home / "jobs" / job_id

        def trains():
            try:
                state = json.loads((folder / "state.json").read_bytes())
            except FileNotFoundError:
                return None
            assert state["state"] in ("waiting", "preparing", "training"), state
            return state["pid"] if state["state"] == "training" else None

        waiting(trains, timeout_s=60)
        child = psutil.Process(trains())
        child.suspend()
        stopped.append(child)
        return child

    yield stop
    for child in stopped:
        if child.is_running():
            child.kill()


def loop(server):
    """Correct, train, activate, judge, roll back; returns what was seen on the way."""
    before, _ = answers(server)
    label = correct_by_one_rule(server)
    plan = server.answer("finetune", action="plan")
    job_id = start(server)
    job = finished(server, job_id)
    activated = server.answer("adapters", action="activate", version=job["version"], force=True, confirm=True)
    after, adapter = answers(server)
    server.answer("adapters", action="rollback", confirm=True)
    back, base = answers(server)
    return {
        "plan": (plan["eligible"], plan["data"]),
        "activated": (activated.get("from_version"), activated["to_version"]),
        "served_by": (adapter == job_id, base),
        "learned": share(after, label) > share(before, label) and share(after, label) > 0.8,
        "back": back == before,
        "job": job,
    }


WANTED = {
    "plan": (True, {"correction": CORRECTIONS}),
    "activated": (None, 1),
    "served_by": (True, None),
    "learned": True,
    "back": True,
}


def test_whoever_is_killed_the_training_ends_with_one_version(own_house, host, training_of):
    house = own_house.having(**SETTINGS)
    server = host(house)
    before, _ = answers(server)
    correct_by_one_rule(server)
    job_id = start(server)

    training_of(house, job_id).kill()
    assert finetune_until(server, job_id, "interrupted")["problem"] is None
    server.answer("finetune", action="resume", job_id=job_id)

    child = training_of(house, job_id)
    worker = psutil.Process(server.answer("server_status")["worker"]["pid"])
    worker.kill()
    worker.wait(30)
    assert status_of(server, job_id)["state"] == "training"  # the child lives on
    child.kill()
    assert finetune_until(server, job_id, "interrupted")["state"] == "interrupted"
    assert answers(server) == (before, None)
    server.answer("finetune", action="resume", job_id=job_id)

    child = training_of(house, job_id)
    server.kill()
    child.resume()
    server = host(house)
    job = finished(server, job_id)

    assert (job["version"], len(server.answer("adapters", action="list")["versions"])) == (1, 1)
    assert answers(server) == (before, None)


def finetune_until(server, job_id, state):
    while (job := status_of(server, job_id, wait_s=5))["state"] != state:
        assert job["state"] == "training"  # bounded by pytest's timeout
    return job


def write_deberta(folder: Path) -> Path:
    """The architecture of the published NLI models, small and with random weights."""
    torch.manual_seed(5)
    letters = string.ascii_lowercase + string.digits + ".,"
    vocab = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
    vocab += [(prefix + letter, -3.0) for prefix in ("", "\N{LOWER ONE EIGHTH BLOCK}") for letter in letters]
    vocab += [("\N{LOWER ONE EIGHTH BLOCK}", -5.0), ("[MASK]", 0.0)]
    DebertaV2Tokenizer(vocab=vocab, unk_id=3, model_max_length=128).save_pretrained(folder)
    names = ("contradiction", "entailment", "neutral")
    config = DebertaV2Config(
        vocab_size=len(vocab),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=128,
        initializer_range=0.1,
        relative_attention=True,
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_size=128,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_the_same_loop_runs_on_a_deberta(opened, host, tmp_path):
    with opened(tmp_path, nli_model=write_deberta(tmp_path / "deberta"), **SETTINGS) as house:
        server = host(house)
        seen = loop(server)
        seen.pop("job")
        server.close()

    assert seen == WANTED


NO_NETWORK = Path(__file__).parent / "no_network"


@dataclass(frozen=True)
class Guard:
    """Gives what runs in a house no network but the loopback where this machine lets us, and records who tries."""

    record: Path

    def around(self, house):
        roots = [str(NO_NETWORK), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = {
            "PYTHONPATH": os.pathsep.join(roots),
            "NO_NETWORK_RECORD": str(self.record),
            # What keeps silent only because it was told to is not what this is about.
            "HF_HUB_OFFLINE": "0",
            "TRANSFORMERS_OFFLINE": "0",
        }
        # A network namespace of its own also stops what is no Python; not every machine allows one.
        namespace = ("unshare", "--map-root-user", "--net")
        is_allowed = shutil.which("unshare") and not subprocess.run([*namespace, "true"], check=False).returncode
        return replace(house, variables=variables, prefix=namespace if is_allowed else ())

    def lines(self):
        return [json.loads(line) for line in self.record.read_text().splitlines()]


def test_the_guard_stops_and_records_whoever_reaches_out(own_house, tmp_path):
    guard = Guard(tmp_path / "record")
    program = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=guard.around(own_house).environment(), capture_output=True, check=False
    )

    assert b"there is no network here" in done.stderr
    assert [line["tried"] for line in guard.lines() if "tried" in line] == ["192.0.2.1"]


@pytest.fixture(name="life", scope="module")
def _life(opened, module_host, tmp_path_factory, tiny_model):
    """Everything once, without a network: what was seen, what served before and after both processes were killed."""
    root = tmp_path_factory.mktemp("life")
    guard = Guard(root / "record")
    with opened(root, nli_model=tiny_model, **SETTINGS, tools="full") as opened_house:
        house = guard.around(opened_house)
        server = module_host(house)
        remembered = live_with_it(server)
        seen = loop(server)
        server.answer("adapters", action="activate", version=1, force=True, confirm=True)
        served = answers(server)
        psutil.Process(server.answer("server_status")["worker"]["pid"]).kill()
        server.kill()
        server = module_host(house)
        served_again = answers(server)
        server.close()
    return {"remembered": remembered, "seen": seen, "served": (served, served_again), "lines": guard.lines()}


def test_corrections_become_a_model_that_serves_and_one_call_takes_it_back(life):
    seen = dict(life["seen"])
    job = seen.pop("job")

    assert seen == WANTED
    assert [condition["name"] for condition in job["gate"]["conditions"]] == [
        "holdout_accuracy",
        "accuracy_gain_over_champion",
        "brier_gain_over_champion",
        "agreement_with_base",
    ]
    before, after = life["served"]
    assert after == before
    assert before[1] == job["job_id"]


def test_the_whole_loop_runs_where_there_is_no_network(life):
    """Conversations, recall, prompts, intents, corrections, a training that serves: no process even tries."""
    assert life["remembered"] == {"example": 5, "intent": "boats", "exported": True}
    commands = [" ".join(line["guarded"]) for line in life["lines"] if "guarded" in line]
    for part in ("lyra_mcp serve", "-m ml_worker", "ml_worker.training.run"):
        assert any(part in command for command in commands), part
    assert [line for line in life["lines"] if "tried" in line] == []


def live_with_it(server):
    """Everything beside the corrections; returns what was shown, recognised and written."""
    asked = [{"role": "user", "content": "Where does our sailing boat lie?"}]
    memory = {"kind": "conversation", "messages": asked, "response": "At the pier in Porto."}
    server.answer("remember", memory=memory)
    server.answer("feedback", action="rate", rating=5)
    while not any("meaning" in hit["why"] for hit in server.answer("recall", query="the yacht's mooring")["hits"]):
        pass  # bounded by pytest's timeout: the vectors follow
    examples = server.answer("prompt_context", task="the boat")["examples"]
    for number in range(30):
        for intent, text in (("boats", f"sail the boat to harbour {number}"), ("meals", f"cook soup for {number}")):
            server.answer("intent", action="add_example", text=text, intent=intent)
    server.answer("intent", action="train")
    guessed = server.answer("intent", action="predict", text="sail the boat to harbour 99")
    exported = server.answer("privacy", action="export")
    return {
        "example": examples[0]["rating"],
        "intent": guessed["intent"],
        "exported": Path(exported["path"]).is_file(),
    }
