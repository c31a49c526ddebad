"""The tool `privacy`, through a real client: each action, the person's decision, and what a stray argument gets."""

import json
from zipfile import ZipFile

import pytest

from lyra_mcp.storage.tables import INTERNAL


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"tools": "full"})


async def test_a_scan_stores_nothing_and_a_redaction_gives_the_text_back(connect):
    text = "Write to ann@example.org."
    async with connect() as agent:
        scanned = await agent.call("privacy", action="scan", text=text)
        redacted = await agent.call("privacy.redact", text=text)
        report = await agent.call("privacy", action="report")

    [found] = scanned["findings"]
    assert (found["type"], found["start"], found["end"]) == ("email", 9, 24)
    assert redacted["text"] == "Write to [REDACTED_EMAIL]."
    assert report["report"]["stored"] == {}


async def test_a_persons_own_pattern_counts_until_it_is_removed(connect):
    text = "EMP-12345 called"
    async with connect() as agent:
        added = await agent.call("privacy", action="pattern_add", name="employee_id", pattern=r"EMP-\d{5}")
        redacted = await agent.call("privacy", action="redact", text=text)
        listed = await agent.call("privacy", action="pattern_list")
        removed = await agent.call("privacy", action="pattern_remove", name="employee_id")
        again = await agent.call("privacy", action="redact", text=text)
        events = (await agent.call("privacy", action="audit"))["events"]

    assert added["patterns"] == listed["patterns"] == [{"name": "employee_id", "pattern": r"EMP-\d{5}"}]
    assert (redacted["text"], again["text"]) == ("[REDACTED_EMPLOYEE_ID] called", text)
    assert removed["patterns"] == []
    assert [event["event"] for event in events] == ["pattern_set", "pattern_removed"]


async def test_consent_is_recorded_and_shown(connect):
    async with connect() as agent:
        assert (await agent.call("privacy", action="consent"))["consents"] == []
        await agent.call("privacy", action="consent", purpose="learn_locally", granted=False, reason="not now")
        held = (await agent.call("privacy", action="consent"))["consents"]

    assert [(one["purpose"], one["granted"], one["reason"]) for one in held] == [("learn_locally", False, "not now")]


async def test_a_withdrawn_consent_reaches_remember(connect):
    fact = {"kind": "fact", "category": "a", "key": "b", "value": "c"}
    async with connect() as agent:
        await agent.call("privacy", action="consent", purpose="store", granted=False)
        refusal = await agent.refused("remember", memory=fact)
        assert refusal.startswith("E_CONSENT: the person withdrew their consent to storing")
        await agent.call("privacy", action="consent", purpose="store", granted=True)
        await agent.call("remember", memory=fact)


async def test_an_export_says_where_it_lies_and_what_is_left_out(connect, settings):
    async with connect() as agent:
        await agent.add("a text")
        done = await agent.call("privacy", action="export", path="mine.zip")

    assert done["path"] == str(settings.home / "exports" / "local" / "mine.zip")
    assert (done["rows"]["claims"], done["encrypted"]) == (1, False)
    assert [*done["excluded"]] == [
        "indexes and vectors",
        "idempotency_keys",
        "edges.representation",
        "jobs/*/checkpoints",
    ]
    assert not {*done["rows"]} & {*INTERNAL}
    with ZipFile(done["path"]) as archive:
        assert {*json.loads(archive.read("export.json"))["excluded"]} == {*INTERNAL, *done["excluded"]}


async def test_an_erasure_asks_and_without_a_yes_nothing_happens(connect):
    async with connect() as agent:
        await agent.add("a text")
        refusal = await agent.refused("privacy", action="erase")
        assert refusal.startswith("E_CONFIRM: Erase everything for ever: ")
        assert "confirm=true" in refusal
        assert len((await agent.call("get_claims"))["claims"]) == 1


async def test_the_person_says_yes_in_a_form_and_everything_is_gone(connect, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.add("a text")
        done = await agent.call("privacy", action="erase")
        claims = await agent.call("get_claims")
        audit = await agent.call("privacy", action="audit")
        await agent.add("another text")

    assert len(questions) == 1
    assert (done["erased"]["claims"], done["stale_models"], claims["claims"]) == (1, [], [])
    assert (audit["valid"], [event["event"] for event in audit["events"]]) == (True, ["erased"])
    assert done["not_reached"]


async def test_a_tampered_audit_says_so(connect, settings):
    async with connect() as agent:
        await agent.call("privacy", action="consent", purpose="store", granted=True)
        (settings.user_dir / "audit.head").unlink()
        audit = await agent.call("privacy", action="audit")

    assert (audit["valid"], "head" in audit["problem"]) == (False, True)
    assert audit["next_step"].startswith("Tell the person")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"action": "scan"}, "E_INVALID: scan needs text"),
        ({"action": "scan", "text": "x", "confirm": True}, "E_INVALID: scan takes no confirm"),
        ({"action": "pattern_add", "name": "own"}, "E_INVALID: pattern_add needs name and pattern"),
        ({"action": "pattern_add", "name": "Own", "pattern": "x"}, "E_INVALID: 'Own' is no name; use a-z"),
        ({"action": "pattern_add", "name": "email", "pattern": "x"}, "E_INVALID: 'email' is found without a pattern"),
        (
            {"action": "pattern_add", "name": "own", "pattern": "x*"},
            "E_INVALID: the pattern of 'own' matches the empty",
        ),
        ({"action": "pattern_add", "name": "own", "pattern": "(?=x)"}, "E_INVALID: "),
        ({"action": "pattern_remove"}, "E_INVALID: pattern_remove needs name"),
        ({"action": "pattern_remove", "name": "own"}, "E_NOT_FOUND: no pattern 'own'; there are: none"),
        ({"action": "pattern_remove", "name": "own", "pattern": "x"}, "E_INVALID: pattern_remove takes no pattern"),
        ({"action": "consent", "granted": True}, "E_INVALID: consent needs both purpose and granted"),
        ({"action": "consent", "purpose": "send", "granted": True}, "E_INVALID: name a provider with purpose 'send'"),
        ({"action": "export", "path": "../x.zip"}, "E_INVALID: an export goes inside"),
        ({"action": "erase", "text": "x"}, "E_INVALID: erase takes no text"),
    ],
)
async def test_what_makes_no_sense_is_refused(connect, arguments, said):
    async with connect() as agent:
        assert (await agent.refused("privacy", **arguments)).startswith(said)
