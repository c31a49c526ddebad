"""Forgetting asks the person, shows them what would go, and tells what is gone."""

import pytest
from mcp import MCPError

EPISODE = {"kind": "episode", "event_type": "meeting", "description": "The standup\nmoved to Tuesday."}


@pytest.fixture
def remember():
    async def remember(agent, **memory):
        return (await agent.call("remember", memory={**EPISODE, **memory}))["id"]

    return remember


async def is_there(agent, memory_id):
    try:
        await agent.client.read_resource(f"memory://{memory_id}")
    except MCPError as error:
        return "E_NOT_FOUND" not in str(error)
    return True


async def test_a_person_who_agrees_has_it_forgotten(connect, person, questions, remember):
    async with connect(**person("accept", {"confirm": True})) as agent:
        memory_id = await remember(agent)
        answer = await agent.call("forget", ids=[memory_id, "mem_x"], reason="no longer true")

        assert answer == {"forgotten": [memory_id], "not_found": ["mem_x"], "next_step": ""}
        assert questions == ["Forget for good: episode “The standup moved to Tuesday. (meeting)”?"]
        assert not await is_there(agent, memory_id)


@pytest.mark.parametrize(("action", "content"), [("decline", None), ("cancel", None), ("accept", {"confirm": False})])
async def test_a_person_who_does_not_agree_changes_nothing(connect, person, remember, action, content):
    async with connect(**person(action, content)) as agent:
        memory_id = await remember(agent)
        text = await agent.refused("forget", ids=[memory_id])

        assert text == f"E_CONFIRM: the person did not agree ({action}); nothing was changed"
        assert await is_there(agent, memory_id)


async def test_a_client_that_cannot_ask_is_told_to_ask_and_confirm(connect, remember):
    async with connect() as agent:
        ids = [await remember(agent, description=f"note {number} " + "x" * 200) for number in range(7)]
        text = await agent.refused("forget", ids=ids)

        assert text.startswith("E_CONFIRM: Forget for good: episode “note 0 xxx")
        assert text.endswith("; and 2 more? Ask the person, then call forget again with confirm=true")
        assert len(text) < 700
        assert await is_there(agent, ids[0])
        assert (await agent.call("forget", ids=ids, confirm=True))["forgotten"] == ids


async def test_nobody_is_asked_about_what_is_not_there(connect, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        answer = await agent.call("forget", ids=["mem_x"])

    assert (answer["forgotten"], answer["not_found"], questions) == ([], ["mem_x"], [])
    assert "recall(query=...)" in answer["next_step"]


async def test_what_counts_again_is_said(connect, remember):
    async with connect() as agent:
        fact = {"kind": "fact", "category": "c", "key": "k"}
        old, new = [(await agent.call("remember", memory={**fact, "value": value}))["id"] for value in ("a", "b")]
        answer = await agent.call("forget", ids=[new], confirm=True)

    assert (answer["forgotten"], answer["restored"]) == ([new], [old])
    assert "Earlier values count again" in answer["next_step"]


@pytest.mark.parametrize("ids", [[], ["x"] * 101, [""], "mem_x", [5]])
async def test_ids_that_make_no_sense_are_refused(connect, ids):
    async with connect() as agent:
        assert (await agent.refused("forget", ids=ids)).startswith("E_INVALID: ids")
