"""adapters through a real client, in both eras of the protocol."""

import json
from hashlib import sha256

import pytest

from schema.jobs import NLI_LORA_RECIPES


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 10})


async def test_a_version_is_activated_and_taken_back_by_the_person(connect, machine, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct()
        job = await agent.train(machine)
        questions.clear()
        activated = await agent.call("adapters", action="activate", version=1, reason="better")
        [shown] = (await agent.call("adapters", action="list"))["versions"]
        served = (await agent.call("finetune_status"))["serving"]
        back = await agent.call("adapters", action="rollback", reason="worse")
        listed = await agent.call("adapters", action="list")

    assert questions == ["Let version 1 serve?", "Go back from version 1 to the base alone?"]
    assert (activated.get("from_version"), activated["to_version"]) == (None, 1)
    assert (shown["aliases"], shown["gate"]["passed"], shown["correction_rate"]) == (["champion"], True, None)
    assert served == {"adapter": job["job_id"], "version": 1}
    assert (back["from_version"], back["message"]) == (1, "Now the base alone serves.")
    assert [(event["action"], event["reason"]) for event in listed["events"]] == [
        ("activate", "better"),
        ("rollback", "worse"),
    ]
    assert listed["serving"] == {"adapter": None, "version": None}


async def test_a_version_shows_from_what_it_came(connect, machine, settings):
    """Recipe, data, base and weights are those of the job's folder."""
    async with connect() as agent:
        await agent.correct()
        job = await agent.train(machine)
        [version] = (await agent.call("adapters", action="list"))["versions"]

    folder = settings.jobs_root / job["job_id"]
    request = json.loads((folder / "request.json").read_bytes())
    assert {name: version[name] for name in ("recipe_name", "recipe", "fingerprint", "samples_sha256")} == {
        "recipe_name": request["recipe_name"],
        "recipe": NLI_LORA_RECIPES[request["recipe_name"]].model_dump(),
        "fingerprint": request["fingerprint"],
        "samples_sha256": sha256((folder / "samples.jsonl").read_bytes()).hexdigest(),
    }
    weights = settings.adapters_root / version["adapter_path"] / "adapter_model.safetensors"
    assert version["adapter_sha256"] == sha256(weights.read_bytes()).hexdigest()
    assert version["parent_version"] is None


async def test_a_training_that_ended_unwatched_is_a_version_for_whoever_asks(connect, machine):
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True, force=True))["job_id"]
        machine.finish(job_id)
    async with connect() as another:
        [version] = (await another.call("adapters", action="list"))["versions"]

    assert (version["version"], version["job_id"], version["aliases"]) == (1, job_id, ["candidate"])


async def test_a_person_who_does_not_agree_lets_nothing_serve(connect, machine, person):
    async with connect(**person("decline")) as agent:
        await agent.correct()
        await agent.train(machine)
        text = await agent.refused("adapters", action="activate", version=1)
        status = await agent.call("adapters", action="status")

    assert text == "E_CONFIRM: the person did not agree (decline); nothing was changed"
    assert status["serving"] == {"adapter": None, "version": None}


async def test_a_version_that_failed_the_gate_is_refused_before_anybody_is_asked(connect, machine, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct()
        job = await agent.train(machine, candidate_right=0.5)
        text = await agent.refused("adapters", action="activate", version=1)
        assert questions == []
        await agent.call("adapters", action="activate", version=1, force=True, reason="I know better")

    assert (job["state"], job["gate"]["passed"]) == ("candidate", False)
    assert text.startswith("E_CONFLICT: version 1 did not pass the gate (holdout_accuracy)")
    assert questions == ["Let version 1 serve, although it did not pass the gate (holdout_accuracy)?"]


async def test_a_client_that_cannot_ask_confirms(connect, machine):
    async with connect() as agent:
        await agent.correct()
        await agent.train(machine)
        text = await agent.refused("adapters", action="activate", version=1)
        await agent.call("adapters", action="activate", version=1, confirm=True)
        back = await agent.refused("adapters", action="rollback")

    assert text == "E_CONFIRM: Let version 1 serve? Ask the person, then call adapters again with confirm=true"
    assert back.startswith("E_CONFIRM: Go back from version 1 to the base alone? Ask the person")


async def test_an_adapter_is_loaded_and_unloaded_by_hand_without_asking(connect, machine, person, questions):
    async with connect(**person("decline")) as agent:
        await agent.correct()
        job = await agent.train(machine)
        loaded = await agent.call("adapters", action="load", adapter_path=job["job_id"])
        status = await agent.call("adapters", action="status")
        judged = await agent.call("judge", pairs=[{"premise": "new", "hypothesis": "new"}])
        await agent.call("adapters", action="unload")
        unloaded = await agent.call("adapters", action="unload")
        after = await agent.call("adapters", action="status")

    assert (loaded["adapter_path"], judged["served_by"]["adapter"]) == (job["job_id"], job["job_id"])
    assert (status["adapter_loaded"], status["adapter_path"], status["base_model"]) == (True, job["job_id"], "keywords")
    assert (unloaded["message"], after["adapter_loaded"], questions) == ("the base alone serves", False, [])


async def test_two_versions_are_compared(connect, machine):
    async with connect() as agent:
        await agent.correct()
        await agent.train(machine)
        compared = await agent.call("adapters", action="compare", version=1)

    assert (compared["comparison"]["other"], compared["comparison"]["same_data"]) == (None, True)
    assert compared["comparison"]["changes"][0] == {
        "name": "accuracy",
        "before": 0.5,
        "after": 1.0,
        "change": 0.5,
        "change_percent": 100.0,
    }


async def test_pruning_asks_only_where_there_is_something_to_delete(connect, machine, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct()
        assert (await agent.call("adapters", action="prune"))["pruned"] == []
        for _ in range(4):
            await agent.train(machine)
        pruned = await agent.call("adapters", action="prune")

    assert (pruned["pruned"], questions) == ([1], ["Delete the files of version 1?"])


async def test_the_trend_is_null_until_both_sides_have_reviews(connect, machine):
    async with connect() as agent:
        await agent.correct()
        await agent.train(machine)
        await agent.call("adapters", action="activate", version=1, confirm=True)
        [before] = (await agent.call("adapters", action="list"))["versions"]
        edge_id = await agent.add_edge("quite another text")
        await agent.call("feedback", action="edge_correct", edge_id=edge_id, correct_label="supports")
        [after] = (await agent.call("adapters", action="list"))["versions"]

    assert (before["correction_rate"], before["correction_rate_trend"]) == (None, None)
    assert (after["correction_rate"], after["correction_rate_trend"]) == (0.0, -1.0)
