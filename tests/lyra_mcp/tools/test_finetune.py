"""finetune and finetune_status through a real client, in both eras of the protocol."""

import asyncio
import shutil

import pytest

from lyra_mcp.errors import WorkerGone


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 10})


async def test_a_plan_shows_what_a_start_would_take(connect, machine):
    async with connect() as agent:
        await agent.correct()
        plan = await agent.call("finetune", action="plan")

    assert {
        name: plan[name] for name in ("action", "eligible", "data", "excluded", "cost", "estimate_s", "device")
    } == {
        "action": "plan",
        "eligible": True,
        "data": {"correction": 10},
        "excluded": {},
        "cost": 0.0,
        "estimate_s": 90,
        "device": "cpu",
    }
    assert (plan["warnings"], plan["recipe_name"], plan["triggers"]["samples"]["met"]) == (["slow"], "default", True)
    assert plan["next_step"] == "Show this to the person; finetune(action='start') trains."
    assert [verb for verb, _ in machine.asked] == ["preflight"]


async def test_a_plan_with_too_few_reviews_says_so(connect, machine):
    async with connect() as agent:
        await agent.correct(count=3)
        plan = await agent.call("finetune", action="plan")
        text = await agent.refused("finetune", action="start", force=True, confirm=True)

    assert (plan["eligible"], plan["next_step"], plan["estimate_s"]) == (False, plan["obstacle"], None)
    assert (
        "3 reviews by people can be trained on, and at least 10 are needed; review_queue() offers" in plan["obstacle"]
    )
    assert text == f"E_TOO_FEW_REVIEWS: {plan['obstacle']}"


async def test_a_plan_warns_that_one_site_dominates_before_anything_is_trained(connect):
    async with connect() as agent:
        await agent.correct()
        await agent.correct(6, "https://example.org/a")
        await agent.correct(4, "https://example.net/b")
        plan = await agent.call("finetune", action="plan")

    assert plan["warnings"] == [
        "slow",
        "60% of the samples with a source come from example.org: the training may learn the site",
    ]


@pytest.mark.parametrize(
    ("estimate_s", "said"),
    [(None, "some minutes"), (20, "about a minute"), (89, "about a minute"), (90, "about 2 minutes")],
)
async def test_the_question_says_how_long_it_takes_in_words_a_person_would_use(connect, machine, estimate_s, said):
    machine.estimate_s = estimate_s
    async with connect() as agent:
        await agent.correct()
        text = await agent.refused("finetune", action="start")

    assert text.startswith(f"E_CONFIRM: Train an adapter on 10 reviews, for {said} on the cpu?")


async def test_a_person_who_agrees_starts_a_training(connect, machine, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct()
        started = await agent.call("finetune", action="start")

    assert questions == ["Train an adapter on 10 reviews, for about 2 minutes on the cpu?"]
    assert started == {
        "action": "start",
        "job_id": started["job_id"],
        "state": "preparing",
        "next_step": f"finetune_status(job_id='{started['job_id']}', wait_s=45) waits for it.",
    }
    assert machine.asked[-1] == ("start", started["job_id"])


@pytest.mark.parametrize(("action", "content"), [("decline", None), ("cancel", None), ("accept", {"confirm": False})])
async def test_a_person_who_does_not_agree_starts_nothing(connect, settings, person, action, content):
    async with connect(**person(action, content)) as agent:
        await agent.correct()
        text = await agent.refused("finetune", action="start")

    assert text == f"E_CONFIRM: the person did not agree ({action}); nothing was changed"
    assert not settings.jobs_root.exists()


async def test_a_client_that_cannot_ask_is_told_to_ask_and_confirm(connect):
    async with connect() as agent:
        await agent.correct()
        text = await agent.refused("finetune", action="start")
        assert text == (
            "E_CONFIRM: Train an adapter on 10 reviews, for about 2 minutes on the cpu? "
            "Ask the person, then call finetune again with confirm=true"
        )
        assert (await agent.call("finetune", action="start", confirm=True))["state"] == "preparing"


async def test_nobody_is_asked_about_a_start_that_cannot_be(connect, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct(count=9)
        too_few = await agent.refused("finetune", action="start")
        await agent.correct()
        await agent.call("finetune", action="start", confirm=True)
        second = await agent.refused("finetune", action="start", force=True)

    assert too_few.startswith("E_TOO_FEW_REVIEWS: 9 reviews")
    assert (second.startswith("E_CONFLICT: job 'job_"), questions) == (True, [])


async def test_triggers_that_are_not_met_are_named_before_anybody_is_asked(connect, machine, person, questions):
    async with connect(**person("accept", {"confirm": True})) as agent:
        await agent.correct()
        await agent.train(machine)
        text = await agent.refused("finetune", action="start")
        assert questions == []
        await agent.call("finetune", action="start", force=True)

    assert text.startswith("E_CONFLICT: the triggers are not all met; finetune_status() shows them, force=true")
    assert len(questions) == 1


async def test_the_same_key_starts_one_job(connect, machine):
    async with connect() as agent:
        await agent.correct()
        asked = {"action": "start", "confirm": True, "idempotency_key": "once"}
        assert await agent.call("finetune", **asked) == await agent.call("finetune", **asked)
        text = await agent.refused("finetune", **asked, force=True)

    assert [verb for verb, _ in machine.asked].count("start") == 1
    assert text.startswith("E_CONFLICT: this idempotency_key was used for another request")


async def test_a_job_is_cancelled_or_resumed_by_its_id(connect, machine):
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True))["job_id"]
        machine.write(job_id, "interrupted")
        [seen] = (await agent.call("finetune_status"))["jobs"]
        resumed = await agent.call("finetune", action="resume", job_id=job_id)
        cancelled = await agent.call("finetune", action="cancel", job_id=job_id)

    assert (seen["state"], resumed["state"], cancelled["state"]) == ("interrupted", "training", "cancelled")
    assert resumed["next_step"] == f"finetune_status(job_id='{job_id}', wait_s=45) waits for it."


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("finetune", {"action": "cancel"}, "E_INVALID: cancel needs job_id; finetune_status() lists jobs"),
        ("finetune", {"action": "plan", "job_id": "j"}, "E_INVALID: plan takes no job_id"),
        ("finetune", {"action": "start", "job_id": "j", "confirm": True}, "E_INVALID: start takes no job_id"),
        ("finetune", {"action": "plan", "force": True, "confirm": True}, "plan takes no confirm and no force"),
        ("finetune", {"action": "resume", "job_id": "j", "recipe": "seed"}, "E_INVALID: resume takes no recipe"),
        ("finetune", {"action": "plan", "recipe": "x"}, "E_INVALID: no recipe 'x'; there are default, seed"),
        ("finetune", {"action": "resume", "job_id": "j"}, "E_NOT_FOUND: no job 'j'; finetune_status() lists jobs"),
        ("finetune", {"action": "plan", "kind": "else"}, "E_INVALID: kind: input should be 'nli_lora'"),
        ("finetune_status", {"job_id": "j"}, "E_NOT_FOUND: no job 'j'"),
        ("finetune_status", {"wait_s": 46}, "E_INVALID: wait_s: input should be less than or equal to 45"),
        ("adapters", {"action": "activate"}, "E_INVALID: a version is needed; adapters(action='list') shows versions"),
        ("adapters", {"action": "activate", "version": 1}, "E_NOT_FOUND: no version 1"),
        ("adapters", {"action": "compare"}, "E_INVALID: a version is needed"),
        ("adapters", {"action": "rollback", "version": 1}, "E_INVALID: rollback takes no version; leave it out"),
        ("adapters", {"action": "rollback"}, "E_CONFLICT: the base alone serves; there is nothing to go back to"),
        ("adapters", {"action": "list", "confirm": True}, "E_INVALID: list takes no confirm"),
        ("adapters", {"action": "unload", "adapter_path": "x", "reason": "r"}, "takes no adapter_path and no reason"),
        ("adapters", {"action": "activate", "version": 0}, "E_INVALID: version: input should be greater than or equal"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused_and_nobody_is_asked(
    connect, person, questions, tool, arguments, said
):
    async with connect(**person("accept", {"confirm": True})) as agent:
        assert said in await agent.refused(tool, **arguments)
    assert questions == []


# finetune_status


async def test_the_status_begins_with_nothing_and_starts_nothing(connect, machine):
    async with connect() as agent:
        status = await agent.call("finetune_status")

    assert status == {
        "triggers": {
            "samples": {"value": 0, "threshold": 10, "met": False},
            "correction_rate": {"value": None, "threshold": 0.05, "met": False},
            "days_since_last": {"value": None, "threshold": 7, "met": True},
        },
        "ready": False,
        "jobs": [],
        "serving": {"adapter": None, "version": None},
        "next_step": "",
    }
    assert machine.asked == []


async def test_the_status_says_when_a_training_is_worth_it(connect, machine):
    async with connect() as agent:
        await agent.correct()
        status = await agent.call("finetune_status")

    assert (status["ready"], status["next_step"]) == (True, "finetune(action='plan') shows what would be trained.")
    assert machine.asked == []


async def test_a_candidate_shows_its_numbers_its_gate_and_what_to_do(connect, machine):
    async with connect() as agent:
        await agent.correct()
        job = await agent.train(machine)
        status = await agent.call("finetune_status")

    assert (job["state"], job["version"], job["gate"]["passed"], job["problem"]) == ("candidate", 1, True, None)
    assert (job["metrics"]["base"]["accuracy"], job["metrics"]["candidate"]["accuracy"]) == (0.5, 1.0)
    assert status["next_step"] == "It passed the gate: adapters(action='activate', version=1) lets it serve."


async def test_a_failed_job_shows_why(connect, machine):
    async with connect() as agent:
        await agent.correct()
        machine.refused = WorkerGone("no luck")
        await agent.refused("finetune", action="start", confirm=True)
        [job] = (await agent.call("finetune_status"))["jobs"]

    assert (job["state"], job["problem"], job["progress"]) == ("failed", "no luck", None)


async def test_the_next_step_of_a_failed_job_is_one_that_works(connect, machine, settings):
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True))["job_id"]
        machine.write(job_id, "failed")
        mended = (await agent.call("finetune_status"))["next_step"]
        shutil.rmtree(settings.jobs_root / job_id)
        gone = (await agent.call("finetune_status"))["next_step"]

    assert mended == f"Mend what `problem` says, then finetune(action='resume', job_id='{job_id}') or 'start' again."
    assert gone == "Nothing is left of it to go on from; finetune(action='start') begins anew."


async def test_a_training_that_cannot_be_registered_says_what_is_in_the_way(connect, machine, settings):
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True))["job_id"]
        machine.finish(job_id)
        settings.adapters_root.write_text("in the way")
        status = await agent.call("finetune_status")

    assert status["jobs"][0]["problem"].startswith("the data folder cannot be used (File exists)")
    assert status["next_step"] == f"Mend what `problem` says; finetune_status(job_id='{job_id}') tries again."


@pytest.mark.parametrize("named", [True, False])
async def test_waiting_reports_progress_and_returns_when_the_job_has_ended(connect, machine, named):
    told = []
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True))["job_id"]

        async def progress(step, steps, message):
            told.append((step, steps, message))
            if len(told) == 1:  # a resumed training may fall back, which is no progress
                machine.write(job_id, "training", step=3)
                asyncio.get_running_loop().call_later(0.6, lambda: machine.write(job_id, "training", step=9))
            else:
                machine.finish(job_id)

        arguments = {"wait_s": 45, **({"job_id": job_id} if named else {})}
        async with asyncio.timeout(20):
            result = await agent.client.call_tool("finetune_status", arguments, progress_callback=progress)

    [job] = result.structured_content["jobs"]
    assert (job["state"], told) == ("candidate", [(5, 50, "training"), (9, 50, "training")])


async def test_without_a_job_under_way_there_is_nothing_to_wait_for(connect):
    async with connect() as agent, asyncio.timeout(20):
        assert (await agent.call("finetune_status", wait_s=45))["jobs"] == []
