"""Consent: what holds, what follows from it, and that it is asked for where it counts."""

import pytest

from lyra_mcp.domain.memories import Message, NewConversation, NewFact
from lyra_mcp.errors import ConsentMissing, Invalid
from lyra_mcp.operations import auditing, consent, finetuning, rating, redacting, watching
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.training_data import collect


@pytest.fixture
def say(services):
    async def say(purpose, *, granted, provider=None, reason=None):
        return await consent.record(services, purpose, provider=provider, granted=granted, reason=reason)

    return say


@pytest.fixture
def events(services):
    async def events():
        verdict, entries = await auditing.check(services)
        assert verdict.valid, verdict.problem
        return [entry.event for entry in entries]

    return events


def fact(value="green"):
    return NewFact(category="colour", key="favourite", value=value)


async def collected(services):
    async with services.database.transaction() as tx:
        return await collect(tx, await redacting.read_screen(services, tx))


async def test_the_newest_word_of_a_purpose_holds_and_every_word_is_kept(lyra, say):
    await say("learn_locally", granted=True)
    await say("send", granted=True, provider="openai")
    held = await say("learn_locally", granted=False, reason="changed my mind")

    assert [(one.purpose, one.provider, one.granted) for one in held] == [
        ("learn_locally", "", False),
        ("send", "openai", True),
    ]
    assert await lyra.count("consent_events") == 3


async def test_one_provider_says_nothing_of_another(services, say):
    await say("send", granted=True, provider="openai")

    async with services.database.transaction() as tx:
        await consent.require(tx, "send", "openai")
        with pytest.raises(ConsentMissing, match="never asked about sending anything to vertex"):
            await consent.require(tx, "send", "vertex")


@pytest.mark.parametrize(("purpose", "provider"), [("send", None), ("store", "openai")])
async def test_a_provider_belongs_to_sending_and_to_nothing_else(say, purpose, provider):
    with pytest.raises(Invalid, match="name a provider with purpose 'send', and with no other"):
        await say(purpose, granted=True, provider=provider)


async def test_who_does_not_want_to_be_stored_is_not(lyra, services, say):
    await remember(services, fact())
    await say("store", granted=False)

    with pytest.raises(ConsentMissing, match=r"withdrew their consent to storing .* purpose='store', granted=true"):
        await remember(services, fact("red"))
    with pytest.raises(ConsentMissing):
        await lyra.add("A claim.", "a text")
    assert (await lyra.count("memories"), await lyra.count("claims")) == (1, 0)

    await say("store", granted=True)
    await remember(services, fact("red"))


async def test_a_withdrawn_consent_empties_training_sets_and_refuses_trainings(services, lyra, say, ready, start):
    assert (await collected(services)).reviewed == 10
    await say("learn_locally", granted=False)

    data = await collected(services)
    assert (data.samples, data.excluded) == ([], {"consent to learning withdrawn": 10})
    planned = await finetuning.plan(services, recipe_name="seed")
    assert "withdrew their consent to learning" in planned.obstacle
    with pytest.raises(ConsentMissing, match=r"privacy\(action='consent', purpose='learn_locally', granted=true\)"):
        await start(force=True)
    assert await lyra.count("jobs") == 0

    await say("learn_locally", granted=True)
    assert (await collected(services)).reviewed == 10


async def test_the_yes_to_a_training_is_the_consent_and_is_on_record(services, lyra, ready, start, events):
    await start(force=True)

    [row] = await lyra.sql("SELECT purpose, granted, reason FROM consent_events")
    assert row == {"purpose": "learn_locally", "granted": 1, "reason": "agreed when a training was started"}
    assert await events() == ["consent_granted", "training_started"]


async def test_a_withdrawn_consent_lets_no_conversation_teach_a_preference(lyra, services, say):
    wish = NewConversation(messages=(Message("user", "Please keep it short."),), response="Yes.")
    await say("learn_locally", granted=False)
    await remember(services, wish)
    assert await lyra.count("preference_evidence") == 0

    await say("learn_locally", granted=True)
    await remember(services, wish)
    assert await lyra.count("preference_evidence") > 0


async def test_conversations_wait_for_an_explicit_yes(services, say):
    kept = await remember(services, NewConversation(messages=(Message("user", "Hello."),), response="Yes."))
    await rating.rate(services, kept.id, 5)

    assert await rating.training_data(services) == []
    await say("learn_locally", granted=True)
    assert [one.memory_id for one in await rating.training_data(services)] == [kept.id]
    await say("learn_locally", granted=False)
    assert await rating.training_data(services) == []


async def test_consent_is_audited_without_the_persons_words(lyra, say, events):
    await say("federate", granted=False, reason="I do not trust it")

    assert await events() == ["consent_revoked"]
    [row] = await lyra.sql("SELECT detail FROM audit_log")
    assert row["detail"] == '{"provider":"","purpose":"federate"}'


async def test_after_a_no_an_interrupted_training_is_not_resumed_but_a_finished_one_is_registered(
    say, services, machine, ready, start
):
    job = await start()
    machine.write(job.job_id, "interrupted")
    await reconcile(services)
    await say("learn_locally", granted=False)

    with pytest.raises(ConsentMissing, match="withdrew their consent to learning"):
        await finetuning.resume(services, job.job_id)
    assert ("resume", job.job_id) not in machine.asked

    await say("learn_locally", granted=True)
    await finetuning.resume(services, job.job_id)
    await say("learn_locally", granted=False)  # while it trains: what has begun ends
    machine.finish(job.job_id)
    assert (await watching.watch(services, job.job_id)).job.state == "candidate"
