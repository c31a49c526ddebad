"""Two users and every tool: no argument of one reaches what belongs to the other."""

import asyncio
import json
import re
from collections import defaultdict

import pytest
from mcp.shared.exceptions import MCPError

from lyra_mcp.tools import find_tools

TOOLS = {tool.name: tool for tool in find_tools("full")}
#: In every text of Alice's, and nowhere else.
MARK = re.compile(r"zanzibar \d")
#: Under which Alice made a request that must not happen twice; Bob may choose the same.
KEY = "alices-key"
#: What tells of the machine or the moment, not of a user.
MOVING = {"worker", "size_bytes", "next_step", "days_since_last"}
#: What Alice has remembered.
MEMORIES = [
    {"kind": "fact", "category": "work", "key": "codeword", "value": "zanzibar 1"},
    {"kind": "episode", "event_type": "meeting", "description": "zanzibar 2 was named"},
    {"kind": "workflow", "name": "zanzibar 3", "steps": ["zanzibar 4"]},
    {"kind": "conversation", "messages": [{"role": "user", "content": "zanzibar 5"}], "response": "zanzibar 6"},
]
#: Small values for what a tool needs beside the handle that is tried.
FILLED = {
    "pairs": [{"premise": "a", "hypothesis": "b"}],
    "fragments": [{"text": "b says"}],
    "claim": "B claims.",
    "memory": {"kind": "fact", "category": "b", "key": "b", "value": "b"},
    "ids": ["b"],
    "correct_label": "refutes",
    "rating": 3,
    "domain_pattern": "b.example.com",
    "reason": "b",
}
#: Places for words of one's own, which lead nowhere.
FREE_TEXTS = {"reason", "comment", "claim", "recipe", "domain_pattern", "since", "until", "topic", "query", "text"}


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 10})


async def test_no_argument_of_any_tool_reaches_another_users_data(serving, machine):
    async with serving() as site:
        alices, bobs = site.token("alice"), site.token("bob")
        async with site.agent(alices) as alice, site.agent(bobs) as bob:
            handles = await _plant(alice, machine)
            await _until_indexed(alice)
            before = await _snapshot(alice)
            for name in TOOLS:
                for arguments, handle in _attempts(name, handles):
                    _check_reveals_nothing(await bob.text(name, **arguments), handle, handles, (name, arguments))
            for handle in handles:
                await _check_resources(bob, handle, handles)
            after = await _snapshot(alice)

    assert {handle.partition("_")[0] for handle in handles} >= {"claim", "edge", "eval", "job", "users/alice/job"}
    assert MARK.search(json.dumps(before))
    assert before == after


async def test_ids_of_another_user_are_not_found(serving, machine, era):
    async with serving() as site:
        async with site.agent(site.token("alice"), mode=era) as alice:
            added, job, evaluation_id = await _plant_evidence(alice, machine)
        edge_id, claim_id = added["edges"][0]["edge_id"], added["claim_id"]
        async with site.agent(site.token("bob"), mode=era) as bob:
            asked = {
                "an edge": await bob.text("feedback", action="edge_correct", edge_id=edge_id, correct_label="refutes"),
                "a claim": await bob.text("get_claims", claim_id=claim_id),
                "a claim to add to": await bob.text("add_evidence", claim_id=claim_id, fragments=[{"text": "b"}]),
                "a claim to reject": await bob.text("feedback", action="claim_reject", claim_id=claim_id, reason="b"),
                "a queue": await bob.text("review_queue", claim_id=claim_id),
                "a job": await bob.text("finetune_status", job_id=job["job_id"]),
                "a job to cancel": await bob.text("finetune", action="cancel", job_id=job["job_id"]),
                "a job to resume": await bob.text("finetune", action="resume", job_id=job["job_id"]),
                "a version": await bob.text("adapters", action="activate", version=1, confirm=True),
                "an adapter": await bob.text("adapters", action="load", adapter_path=f"users/alice/{job['job_id']}"),
                "an evaluation": await bob.text(
                    "calibration_metrics", action="get_diagram_data", evaluation_id=evaluation_id
                ),
            }

    assert {what: "E_NOT_FOUND" in said for what, said in asked.items()} == dict.fromkeys(asked, True)


@pytest.mark.parametrize(
    "path",
    [
        "users/alice/{job}",
        "users/bob/../alice/{job}",
        "./users/alice/{job}",
        "users//alice/{job}",
        "{root}/users/alice/{job}",
        "{root}//users/alice/{job}",
        "USERS/alice/{job}",
        "{job}",
        "",
        ".",
    ],
)
async def test_no_spelling_of_a_path_loads_another_users_adapter(serving, machine, worker, path):
    async with serving() as site:
        async with site.agent(site.token("alice")) as alice:
            _, job, _ = await _plant_evidence(alice, machine)
        assert (site.settings.adapters_root / "users" / "alice" / job["job_id"]).is_dir()
        written = path.format(job=job["job_id"], root=site.settings.adapters_root)
        async with site.agent(site.token("bob")) as bob:
            of_bob = await bob.text("adapters", action="load", adapter_path=written)
            without = await bob.text("adapters", action="load")
        loaded_by_bob = worker.loaded
        async with site.agent(site.token("local")) as local:
            of_local = await local.text("adapters", action="load", adapter_path=written)

    assert "E_NOT_FOUND" in of_bob
    assert "E_INVALID" in without
    assert loaded_by_bob is None
    assert "E_NOT_FOUND" in of_local or "users" not in written


async def test_each_user_is_served_by_their_own_adapter(serving, machine, worker):
    async with serving(default_adapter="of-the-owner") as site:
        async with site.agent(site.token("alice")) as alice, site.agent(site.token("bob")) as bob:
            _, job, _ = await _plant_evidence(alice, machine)
            await alice.call("adapters", action="activate", version=1, confirm=True)
            await alice.call("adapters", action="load", adapter_path=f"users/alice/{job['job_id']}")
            of_alice, of_bob = [(await one.call("finetune_status"))["serving"] for one in (alice, bob)]
            status = await bob.call("adapters", action="status")
            await bob.call("judge", pairs=FILLED["pairs"])
            judged = await bob.call("judge", pairs=FILLED["pairs"])
        async with site.agent(site.token("local")) as local:
            of_local = (await local.call("finetune_status"))["serving"]

    assert of_alice["adapter"] == f"users/alice/{job['job_id']}"
    assert of_bob == {"adapter": None, "version": None}
    assert of_local == {"adapter": "of-the-owner", "version": None}
    assert (status["adapter_loaded"], status.get("adapter_path")) == (False, None)
    assert judged["served_by"]["adapter"] is None


async def test_a_pruned_version_of_a_user_leaves_no_files(serving, machine):
    async with serving() as site, site.agent(site.token("alice")) as alice:
        _, first, _ = await _plant_evidence(alice, machine)
        for version in (1, 2, 3, 4):
            await alice.call("adapters", action="activate", version=version, confirm=True)
            await _train(alice, machine)
        await alice.call("adapters", action="activate", version=5, confirm=True)
        pruned = (await alice.call("adapters", action="prune", confirm=True))["pruned"]
        left = {path.name for path in (site.settings.adapters_root / "users" / "alice").iterdir()}

    assert 1 in pruned
    assert first["job_id"] not in left
    assert not any(name.startswith(".") for name in left)


async def test_the_local_users_token_opens_what_stdio_opens(serving, services, era):
    async with serving() as site:
        async with site.agent(mode=era) as agent:
            added = await agent.call("add_evidence", claim="Ours.", fragments=[{"text": "it is so"}])
        async with site.agent(site.token("local"), mode=era) as agent:
            [claim] = (await agent.call("get_claims", claim_id=added["claim_id"]))["claims"]

    assert claim["text"] == "Ours."


async def _plant(alice, machine):
    """Everything Alice can keep; returns the handles to it."""
    answers = list(await _plant_evidence(alice, machine))
    answers.append(await alice.call("adapters", action="activate", version=1, reason="zanzibar 9", confirm=True))
    answers.append(await alice.call("adapters", action="list"))
    await alice.call(
        "feedback", action="domain_block", domain_pattern="zanzibar.example.com", reason="zanzibar 8 is no source"
    )
    answers += [await alice.call("remember", memory=memory) for memory in MEMORIES]
    await _plant_personal(alice)
    answers.append(await alice.call("get_claims", limit=1))
    return [*_one_of_each({handle for answer in answers for handle in _handles_in(answer)}), KEY, "zanzibar"]


async def _plant_personal(alice):
    """Wishes, intents, a yes, an export; and each of them is there."""
    await alice.call("preferences", action="set", key="tone", value="formal")
    await alice.call("preferences", action="set", key="expertise_level.zanzibar", value="expert")
    for text in ("zanzibar 11", "zanzibar 12"):
        await alice.call("intent", action="add_example", text=text, intent="zanzibar 13")
    await alice.call(
        "privacy", action="consent", purpose="send", provider="zanzibar", granted=True, reason="zanzibar 14"
    )
    await alice.call("privacy", action="pattern_add", name="zanzibar", pattern="zanzibar 99")
    await alice.call("privacy", action="export", path="zanzibar.zip")
    assert "zanzibar 1" in await alice.text("prompt_context", task="codeword zanzibar")


def _one_of_each(handles):
    """One of each kind: of a dozen edges the others would be the same again."""
    kinds = defaultdict(list)
    for handle in sorted(handles):
        kinds[re.sub(r"[0-9a-f]{4,}.*|\d+", "", handle)[:12]].append(handle)
    return [kind[0] for kind in kinds.values()]


async def _plant_evidence(alice, machine):
    fragments = [
        {"text": f"zanzibar {number} not seen", "source_url": "https://zanzibar.example.com/"} for number in range(12)
    ]
    added = await alice.call("add_evidence", claim="About zanzibar 7.", fragments=fragments)
    await alice.call("add_evidence", claim="More on zanzibar 7.", fragments=[{"text": "zanzibar 99"}])
    await alice.call("review_queue")
    for edge in added["edges"]:
        key = {"idempotency_key": KEY} if edge is added["edges"][0] else {}
        await alice.call("feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label="supports", **key)
    evaluated = await alice.call("calibration_metrics", action="evaluate")
    return added, await _train(alice, machine), evaluated["evaluation_id"]


async def _train(agent, machine):
    job_id = (await agent.call("finetune", action="start", confirm=True, force=True))["job_id"]
    machine.finish(job_id)
    [job] = (await agent.call("finetune_status", job_id=job_id))["jobs"]
    return job


def _handles_in(answer):
    """Every value whose name says that it leads to something."""
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, list):
        for part in answer:
            if isinstance(part, dict):
                yield from _handles_in(part)
    elif isinstance(answer, dict):
        for name, value in answer.items():
            if isinstance(value, dict | list):
                yield from _handles_in(value)
            elif isinstance(value, str) and re.search(r"(^|_)(id|uri|cursor|path)$", name):
                yield value


def _attempts(name, handles):
    """Each action with each handle in each place for a text, with what else the action may need, and a person's yes."""
    properties = TOOLS[name].parameters["properties"]
    needed = {one: FILLED[one] for one in TOOLS[name].parameters.get("required", []) if one in FILLED}
    agreed = {"confirm": True} if "confirm" in properties else {}
    beside = [{}, *({one: FILLED[one]} for one in ("correct_label", "rating", "reason") if one in properties)]
    for action in _texts_of(properties.get("action", {})) or [None]:
        chosen = needed if action is None else {**needed, "action": action}
        yield chosen, ""
        if agreed:
            yield {**chosen, **agreed}, ""
        for place in properties.keys() - {"action", "confirm"}:
            for value, handle in _values(properties[place], place, handles):
                # Not every action takes a yes; one that refuses it is asked again without.
                for extra in beside if place in ("edge_id", "claim_id") else beside[:1]:
                    yield {**chosen, **extra, place: value}, handle
                    if agreed and place not in FREE_TEXTS:
                        yield {**chosen, **extra, **agreed, place: value}, handle


def _texts_of(schema):
    return [text for part in [schema, *schema.get("anyOf", [])] for text in part.get("enum", [])]


def _values(schema, place, handles):
    kinds = {part.get("type") for part in [schema, *schema.get("anyOf", [])]}
    if "string" in kinds and "const" not in schema and not _texts_of(schema):
        fitting = [handle for handle in handles if handle.startswith(place.removesuffix("_id")[:4])]
        return [(handle, handle) for handle in (handles[-1:] if place in FREE_TEXTS else fitting or handles)]
    if place == "ids":
        return [([handle], handle) for handle in handles]
    if "integer" in kinds and place in ("version", "other"):
        return [(number, "") for number in (1, 2)]
    return []


def _check_reveals_nothing(said, handle, handles, asked):
    assert not MARK.search(said), (asked, said)
    others = [one for one in handles if one != handle and len(one) > 9 and one not in handle and handle not in one]
    assert [one for one in others if one in said] == [], (asked, said)


async def _check_resources(bob, handle, handles):
    templates = (await bob.client.list_resource_templates()).resource_templates
    assert templates
    for template in templates:
        uri = re.sub(r"\{\w+\}", handle, template.uri_template)
        try:
            said = (await bob.client.read_resource(uri)).model_dump_json()
        except MCPError as error:
            said = f"{error}"
        _check_reveals_nothing(said, handle, handles, uri)
    prompts = (await bob.client.list_prompts()).prompts
    for prompt in prompts:
        named = {argument.name: handle for argument in prompt.arguments or []}
        said = (await bob.client.get_prompt(prompt.name, named)).model_dump_json()
        _check_reveals_nothing(said, handle, handles, prompt.name)


async def _until_indexed(alice):
    """Her own vectors follow in the background, and change how her memories are ranked."""
    async with asyncio.timeout(20):
        while (await alice.call("recall", query="zanzibar"))["index_state"] != "ready":  # noqa: ASYNC110 - the server's own task
            await asyncio.sleep(0.05)


async def _snapshot(alice):
    asked = [
        ("get_claims", {"include_rejected": True, "limit": 50}),
        ("adapters", {"action": "list"}),
        ("adapters", {"action": "status"}),
        ("finetune_status", {}),
        ("calibration_metrics", {"action": "get_stats"}),
        ("calibration_metrics", {"action": "get_evaluations"}),
        ("server_status", {}),
        ("recall", {"query": "zanzibar", "limit": 50}),
        ("preferences", {"action": "get"}),
        ("intent", {"action": "status"}),
        ("privacy", {"action": "report"}),
        ("privacy", {"action": "pattern_list"}),
        ("privacy", {"action": "consent"}),
        ("privacy", {"action": "audit"}),
    ]
    return [_still(await alice.call(tool, **arguments)) for tool, arguments in asked]


def _still(value):
    if isinstance(value, dict):
        return {name: _still(part) for name, part in value.items() if name not in MOVING}
    return [_still(part) for part in value] if isinstance(value, list) else value
