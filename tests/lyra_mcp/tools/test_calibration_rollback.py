"""Going back to an earlier calibration asks the person, in whatever way the client can."""

import pytest


async def fitted(agent):
    """Twelve right and eight wrong at 96 % confidence: a fit that is kept, version 1."""
    added = await agent.add(*[f"text number {number} margin=4" for number in range(20)])
    for number, edge in enumerate(added["edges"]):
        label = "supports" if number % 5 < 3 else "refutes"
        await agent.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=label)
    assert (await agent.call("calibration_metrics", action="fit"))["fit"]["is_kept"]


async def serving(agent):
    return (await agent.call("calibration_metrics", action="get_stats"))["serving"]["calibration_version"]


async def test_a_person_who_agrees_gets_the_earlier_calibration(connect, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await fitted(agent)
        answer = await agent.call("calibration_rollback", reason="overconfident")

        assert (answer["from_version"], answer["to_version"], await serving(agent)) == (1, 0, 0)
        assert questions == ["Go back from calibration version 1 to version 0?"]
        stats = await agent.call("calibration_metrics", action="get_stats")
        assert (stats["events"][-1]["action"], stats["events"][-1]["reason"]) == ("rollback", "overconfident")


@pytest.mark.parametrize(("action", "content"), [("decline", None), ("cancel", None), ("accept", {"confirm": False})])
async def test_a_person_who_does_not_agree_changes_nothing(connect, person, action, content):
    async with connect(**person(action, content)) as agent:
        await fitted(agent)
        text = await agent.refused("calibration_rollback")

        assert text == f"E_CONFIRM: the person did not agree ({action}); nothing was changed"
        assert await serving(agent) == 1


async def test_a_client_that_cannot_ask_is_told_to_ask_and_confirm(connect):
    async with connect() as agent:
        await fitted(agent)
        text = await agent.refused("calibration_rollback")
        assert text == (
            "E_CONFIRM: Go back from calibration version 1 to version 0? "
            "Ask the person, then call calibration_rollback again with confirm=true"
        )
        assert await serving(agent) == 1

        answer = await agent.call("calibration_rollback", version=0, confirm=True)
        assert (answer["from_version"], answer["to_version"]) == (1, 0)


async def test_confirm_is_enough_also_where_the_client_could_ask(connect, person, questions):
    async with connect(**person("decline")) as agent:
        await fitted(agent)
        await agent.call("calibration_rollback", confirm=True)

        assert (questions, await serving(agent)) == ([], 0)


async def test_nobody_is_asked_about_what_cannot_be(connect, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await fitted(agent)
        unknown = await agent.refused("calibration_rollback", version=9)
        same = await agent.refused("calibration_rollback", version=1)
        await agent.call("calibration_rollback")
        nothing = await agent.refused("calibration_rollback")

    assert unknown.startswith("E_NOT_FOUND: no calibration version 9; there are 0, 1")
    assert same.startswith("E_CONFLICT: version 1 serves already")
    assert nothing.startswith("E_CONFLICT: version 0, the model's own calibration, serves already")
    assert len(questions) == 1
