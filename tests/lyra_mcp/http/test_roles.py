"""Every role and every tool: what the table allows is allowed, and nothing else."""

import pytest

from lyra_mcp.domain.roles import NEEDED, ROLES, least_role, may, needed_role
from lyra_mcp.tools import find_tools

TOOLS = {tool.name: tool for tool in find_tools("full")}


def actions_of(tool):
    return tool.parameters["properties"].get("action", {}).get("enum", [None])


CALLS = [(name, action) for name, tool in TOOLS.items() for action in actions_of(tool)]


@pytest.mark.parametrize(("name", "action"), CALLS)
def test_every_tool_and_every_action_has_a_place(name, action):
    assert name in NEEDED
    if not isinstance(NEEDED[name], str):
        assert action in NEEDED[name], "an action without a place is the owner's alone; say so in the table"


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_the_places_agree_with_the_hints(tool):
    needed = {needed_role(tool.name, action) for action in actions_of(tool)}

    if tool.annotations.read_only_hint:
        assert needed == {"reader"}
    else:
        assert needed != {"reader"}
    if tool.annotations.destructive_hint:
        assert "owner" in needed


def test_what_nobody_thought_of_is_the_owners():
    assert needed_role("no_such_tool", None) == "owner"
    assert needed_role("adapters", "no_such_action") == "owner"
    assert needed_role("adapters", None) == "owner"
    assert needed_role("adapters", ["list"]) == "owner"
    assert least_role("no_such_tool") == "owner"
    assert [may(role, "trainer") for role in ROLES] == [False, True, True]


async def test_every_role_meets_exactly_its_tools(serving, era):
    async with serving() as site:
        for role in ROLES:
            async with site.agent(site.token("alice", role), mode=era) as agent:
                listed = {tool.name for tool in (await agent.client.list_tools()).tools}
                allowed = {
                    (name, action): "E_FORBIDDEN"
                    not in await agent.text(name, **({"action": action} if action else {}))
                    for name, action in CALLS
                }

            assert allowed == {(name, action): may(role, needed_role(name, action)) for name, action in CALLS}
            assert listed == {name for name in TOOLS if may(role, least_role(name))}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adapters.prune", {}),
        ("adapters.prune", {"action": "list"}),
        ("adapters.list", {"action": "prune"}),
        ("adapters", {"action": "prune "}),
        ("adapters", {"action": ["prune"]}),
        ("adapters", {"action": '"prune"'}),
        ("adapters", {}),
        ("calibration_rollback", {"confirm": True}),
        ("calibration_rollback.", {"confirm": True}),
        ("forget", {"ids": ["x"]}),
        ("privacy.erase", {"confirm": True}),
    ],
)
async def test_no_spelling_of_a_call_goes_around_the_role(serving, era, name, arguments):
    async with serving() as site, site.agent(site.token("alice", "reader"), mode=era) as agent:
        said = await agent.text(name, **arguments)

    assert "E_FORBIDDEN" in said or ("E_INVALID" in said and "leave out action" in said)


async def test_the_role_is_the_tokens_at_each_request(serving):
    async with serving() as site:
        reader, trainer = site.token("alice", "reader"), site.token("alice", "trainer")
        async with site.agent(trainer) as agent:
            added = await agent.call("add_evidence", claim="Hers.", fragments=[{"text": "it is so"}])
        async with site.agent(reader) as agent:
            [claim] = (await agent.call("get_claims", claim_id=added["claim_id"]))["claims"]
            refused = await agent.text("feedback", action="claim_reject", claim_id=added["claim_id"], reason="no")
            [unchanged] = (await agent.call("get_claims", claim_id=added["claim_id"]))["claims"]

    assert refused.count("this needs the role trainer, and the token has reader") == 1
    assert claim == unchanged
