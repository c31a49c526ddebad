"""With LYRA_ENCRYPT_FILES a whole training, from the correction to the rollback, leaves nothing on the disk to read."""

import json
import os
import threading
import zipfile
from pathlib import Path

import psutil
import pytest

SECRET = "zebrafish-4711-quartz"
PASSPHRASE = "a long passphrase"
SETTINGS = {
    "tools": "full",
    "encrypt_files": True,
    "passphrase": PASSPHRASE,
    "training_samples_min": 20,
    "trigger_corrections": 20,
    "gate_accuracy_min": 0.5,
    "gate_agreement_min": 0,
    "worker_linger_s": 2,
}
LABELS = ("supports", "refutes", "neutral")
UNSEEN = [{"premise": f"case {number} of {SECRET} and q{number % 7}.", "hypothesis": "a claim."} for number in range(9)]


def is_safetensors(content: bytes) -> bool:
    size = int.from_bytes(content[:8], "little")
    try:
        return 0 < size <= len(content) - 8 and isinstance(json.loads(content[8 : 8 + size]), dict)
    except ValueError:
        return False


def readable(folder: Path) -> set[str]:
    """Files below a folder that show the planted text, or tensors as a training or an adapter holds them."""
    found = set()
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    for path in files:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # renamed or removed since it was listed
        if SECRET.encode() in content or b".lora_A." in content or is_safetensors(content):
            found.add(path.relative_to(folder).as_posix())
    return found


@pytest.fixture(name="watched")
def _watched():
    """Look at a folder again and again until the test's end; what was ever readable there."""
    seen, ended, threads = set(), threading.Event(), []

    def watch(folder):
        def look():
            while not ended.is_set():
                seen.update(readable(folder))
                ended.wait(0.1)  # each look reads every file

        threads.append(threading.Thread(target=look))
        threads[-1].start()
        return seen

    yield watch
    ended.set()
    for thread in threads:
        thread.join(20)


def correct(server):
    fragments = [{"text": f"case {number} of {SECRET} and q{number % 7}."} for number in range(40)]
    added = server.answer("add_evidence", claim="a claim.", fragments=fragments)
    said = [edge["label"] for edge in added["edges"]]
    label = min(LABELS, key=said.count)
    for edge in added["edges"]:
        server.answer("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=label)


def status_of(server, job_id, wait_s=0):
    [job] = server.answer("finetune_status", job_id=job_id, wait_s=wait_s)["jobs"]
    return job


def reach(server, job_id, state):
    while (job := status_of(server, job_id, wait_s=5))["state"] != state:
        assert job["state"] in ("preparing", "training", "evaluating"), job  # bounded by pytest's timeout
    return job


def answers(server):
    judged = server.answer("judge", pairs=UNSEEN)
    return [one["probabilities"] for one in judged["results"]], judged["served_by"]["adapter"]


def child_of(house, job_id, waiting):
    """The training child, once it trains."""
    path = house.home / "jobs" / job_id / "state.json"

    def trains():
        state = json.loads(path.read_bytes()) if path.exists() else {"state": "waiting"}
        assert state["state"] in ("waiting", "preparing", "training"), state
        return state["state"] == "training"

    waiting(trains, timeout_s=60)
    return psutil.Process(json.loads(path.read_bytes())["pid"])


def test_correct_train_interrupt_resume_activate_restart_export_and_roll_back(own_house, host, watched, waiting):
    house = own_house.having(**SETTINGS)
    server = host(house)
    base, _ = answers(server)
    seen = watched(house.home)
    correct(server)
    job_id = server.answer("finetune", action="start", recipe="small", confirm=True, force=True)["job_id"]
    folder = house.home / "jobs" / job_id

    child_of(house, job_id, waiting).terminate()
    reach(server, job_id, "interrupted")
    checkpoints = {path.name for path in folder.glob("checkpoints/step-*/*")}
    server.answer("finetune", action="resume", job_id=job_id)
    job = reach(server, job_id, "candidate")
    left = {path.name for path in folder.rglob("*") if path.is_file()}

    server.answer("adapters", action="activate", version=job["version"], force=True, confirm=True)
    trained = answers(server)
    log = server.request("resources/read", {"uri": f"job://{job_id}/log"})["result"]["contents"][0]["text"]
    psutil.Process(server.answer("server_status")["worker"]["pid"]).kill()
    server.kill()
    server = host(house)
    again = answers(server)
    exported = Path(server.answer("privacy", action="export")["path"])
    server.answer("adapters", action="rollback", confirm=True)

    assert seen == set()
    assert checkpoints == {"tensors.safetensors.sealed", "state.pt.sealed", "manifest.json"}
    sealed = {"samples.jsonl", "report.json", "report.html", "log", "adapter_model.safetensors"}
    assert left >= {f"{name}.sealed" for name in sealed}
    assert left.isdisjoint(sealed)
    assert (log.count("interrupted"), "evaluated" in log) == (1, True)
    assert (trained[1], again == trained, trained[0] != base) == (job_id, True, True)
    assert answers(server) == (base, None)
    assert not zipfile.is_zipfile(exported)
