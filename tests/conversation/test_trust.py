"""What a person relies on, through both real processes: encrypted, exported whole, erased to the byte, on record."""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SECRET = "zebrafish-4711-quartz"
FACT = {"kind": "fact", "category": "work", "key": "codeword", "value": SECRET}
SETTINGS = {
    "tools": "full",
    "training_samples_min": 20,
    "trigger_corrections": 20,
    "gate_accuracy_min": 0.5,
    "gate_agreement_min": 0,
}
CORRECTIONS = 24


def planted(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    )


async def correct(agent):
    fragments = [{"text": f"case {number} of {SECRET}.", "page_id": f"page-{number}"} for number in range(CORRECTIONS)]
    added = await agent("add_evidence", claim=f"a claim of {SECRET}.", fragments=fragments)
    for edge in added["edges"]:
        label = "refutes" if edge["label"] == "supports" else "supports"
        await agent(
            "feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=label, reason=f"knows {SECRET}"
        )


async def train(agent):
    """A training with nothing but the person's yes, as any client may start it; returns its job."""
    started = await agent("finetune", action="start", recipe="small", confirm=True, force=True)

    def ended(answer):
        return answer["jobs"][0]["state"] in ("candidate", "failed", "cancelled")

    [job] = (await agent.until("finetune_status", ended, job_id=started["job_id"], wait_s=20))["jobs"]
    assert job["state"] == "candidate", job
    return job


async def test_what_was_planted_everywhere_is_exported_and_then_in_no_byte_of_the_home(own_house, connect):
    house = own_house.having(**SETTINGS)
    async with connect(house) as agent:
        await agent("remember", memory=FACT)
        await correct(agent)
        job = await train(agent)
        await agent("adapters", action="activate", version=job["version"], force=True, confirm=True)
        # What the worker reads is not encrypted: that is why an erasure must find it.
        assert f"jobs/{job['job_id']}/samples.jsonl" in planted(house.home)

        exported = await agent("privacy", action="export")
        with zipfile.ZipFile(exported["path"]) as archive:
            memory = json.loads(archive.read("memory/local/memory.json"))
            assert f"model_repo/{job['job_id']}/adapter_model.safetensors" in archive.namelist()
        assert [fact["value"] for fact in memory["facts"]] == [SECRET]

        erased = await agent("privacy", action="erase", confirm=True)
        assert [model["version"] for model in erased["stale_models"]] == [job["version"]]
        assert planted(house.home) == []
        assert not (house.home / "adapters" / job["job_id"]).exists()
        assert not list((house.home / "exports").rglob("*.zip"))

        # The same server goes on, with an empty database and the base alone.
        assert (await agent("privacy", action="report"))["report"]["stored"] == {"audit_log": 1}
        assert (await agent("adapters", action="status"))["serving"] == {"adapter": None, "version": None}
        judged = await agent("judge", pairs=[{"premise": "a", "hypothesis": "b"}])
        assert judged["served_by"]["adapter"] is None
        audit = await agent("privacy", action="audit")
        assert (audit["valid"], [event["event"] for event in audit["events"]]) == (True, ["erased"])
        await agent("remember", memory={**FACT, "value": "another"})
    assert planted(house.home) == []


async def test_nothing_on_the_disk_is_readable_and_the_audit_survives_a_restart(own_house, connect):
    house = own_house.having(tools="full")
    async with connect(house) as agent:
        await agent("remember", memory=FACT)
        await agent("privacy", action="consent", purpose="learn_locally", granted=False)
    assert planted(house.home) == []
    assert not any(path.read_bytes().startswith(b"SQLite format 3") for path in house.home.rglob("*.db"))

    async with connect(house) as agent:
        audit = await agent("privacy", action="audit")
        assert (audit["valid"], audit["events"][-1]["event"]) == (True, "consent_revoked")
        refusal = await agent.refusal("finetune", action="start", confirm=True, force=True)
        assert refusal.startswith("E_CONSENT: the person withdrew their consent to learning")


def lyra(house, *words: str, code: int = 0) -> dict:
    """A command as a person types it."""
    done = subprocess.run(
        [sys.executable, "-m", "lyra_mcp", *words, "--json"],
        env=house.environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else {"refused": done.stderr}


async def test_a_person_can_do_all_of_it_from_the_command_line(own_house, connect, tmp_path):
    async with connect(own_house) as agent:
        await agent("remember", memory=FACT)

    def session():
        house = own_house
        assert lyra(house, "key", "status")["source"] == "file"
        assert lyra(house, "privacy", "scan", "ann@example.org")["findings"][0]["type"] == "email"
        assert lyra(house, "privacy", "redact", "ann@example.org")["text"] == "[REDACTED_EMAIL]"
        assert lyra(house, "privacy", "consent", "learn_locally", "--revoke")["consents"][0]["granted"] is False
        assert lyra(house, "privacy", "retention", "set", "--kind", "episode", "--days", "90")["rules"] == {
            "episode": 90
        }
        assert lyra(house, "privacy", "report")["stored"]["facts"] == 1
        assert lyra(house, "privacy", "export", "mine.zip")["rows"]["facts"] == 1
        assert Path(lyra(house, "privacy", "backup", str(tmp_path / "b.lyra"))["path"]).exists()
        assert lyra(house, "key", "rotate")["source"] == "file"
        assert lyra(house, "privacy", "restore", str(tmp_path / "b.lyra"), "--yes")["user"] == "local"
        assert "call again with --yes" in lyra(house, "privacy", "erase", code=1)["refused"]
        assert lyra(house, "privacy", "erase", "--yes")["erased"]["facts"] == 1
        assert lyra(house, "privacy", "restore", str(tmp_path / "b.lyra"), "--yes", code=1)["refused"].startswith(
            "E_STORAGE: the backup was made with a key that is not here"
        )
        return lyra(house, "privacy", "audit")

    audit = await asyncio.to_thread(session)
    assert (audit["valid"], [event["event"] for event in audit["events"]]) == (True, ["erased"])


@pytest.mark.parametrize("words", [("privacy", "erase", "--yes"), ("key", "rotate")])
async def test_what_needs_the_database_alone_says_so_while_a_server_has_it(house, connect, words):
    async with connect(house, tools="full") as agent:
        await agent("remember", memory=FACT)
        refused = await asyncio.to_thread(lyra, house, *words, code=1)
        assert refused["refused"].startswith("E_CONFLICT: another server of this user has the database open")
        assert (await agent("privacy", action="report"))["report"]["stored"]["facts"] == 1
