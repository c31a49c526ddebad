"""What was remembered is found again through a real server and the worker with the shipped encoder."""

import json
import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture(name="memory_house")
def _memory_house(tmp_path, opened, tiny_model):
    with opened(tmp_path, nli_model=tiny_model) as house:
        yield house


def _episode(text):
    return {"kind": "episode", "event_type": "dialog", "description": text}


def _is_ready(answer):
    return answer["index_state"] == "ready" and "degraded" not in answer


async def test_remembered_found_superseded_and_found_without_a_worker(memory_house, connect, waiting):
    async with connect(memory_house) as agent:
        assert not memory_house.workers(), "nothing was remembered yet"
        told = await agent("remember", memory=_episode("Ann: I moved to Lisbon to work as a nurse."))
        await agent("remember", memory=_episode("Ben: The weather was terrible on Sunday."))
        at_once = await agent("recall", query="Why did Ann go to Lisbon?", limit=1)
        assert [hit["id"] for hit in at_once["hits"]] == [told["id"]]

        settled = await agent.until("recall", _is_ready, query="What is Ann's occupation?", limit=1)
        assert [hit["id"] for hit in settled["hits"]] == [told["id"]]
        assert "meaning " in settled["hits"][0]["why"]

        fact = {"kind": "fact", "category": "home", "key": "city"}
        old = await agent("remember", memory={**fact, "value": "Lisbon"})
        new = await agent("remember", memory={**fact, "value": "Porto"})
        found = [hit["id"] for hit in (await agent("recall", query="home city Lisbon Porto"))["hits"]]
        assert new["id"] in found
        assert old["id"] not in found

        [worker] = memory_house.workers()
        os.kill(worker, signal.SIGKILL)
        waiting(lambda: not memory_house.workers(), timeout_s=10)
        without = await agent("recall", query="Lisbon nurse", limit=1)
        assert [hit["id"] for hit in without["hits"]] == [told["id"]]


async def test_the_index_is_made_anew_by_command(memory_house, connect):
    async with connect(memory_house) as agent:
        await agent("remember", memory=_episode("Ann: I moved to Lisbon."))
        await agent.until("recall", _is_ready, query="Lisbon")

    command = [sys.executable, "-m", "lyra_mcp", "memory", "reindex", "--json"]
    done = subprocess.run(command, env=memory_house.environment(), capture_output=True, check=True)  # noqa: ASYNC221 - nothing else runs here

    said = json.loads(done.stdout)
    assert (said["model"], said["embedded"]) == ("builtin", 0)
