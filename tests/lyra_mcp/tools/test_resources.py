"""Resources hold the whole texts behind the previews; the prompt starts a correction session."""

import json

import pytest
from mcp import MCPError


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10})


async def read(agent, uri):
    [content] = (await agent.client.read_resource(uri)).contents
    return content


async def test_a_claim_is_read_with_the_whole_texts_of_its_evidence(connect):
    long = "many words " * 100
    async with connect() as agent:
        added = await agent.add(long)
        preview = (await agent.call("get_claims", claim_id=added["claim_id"]))["claims"][0]["edges"][0]["text"]
        content = await read(agent, f"claim://{added['claim_id']}")

    claim = json.loads(content.text)
    assert (content.mime_type, claim["text"], claim["score"]) == ("application/json", "A claim.", added["score"])
    assert (claim["edges"][0]["text"], len(preview)) == (long, 401)
    prediction = claim["edges"][0]["prediction"]
    assert (prediction["label"], prediction["adapter"]) == ("supports", None)


async def test_a_report_and_its_diagram_are_read_by_the_id_of_the_evaluation(connect):
    async with connect() as agent:
        edge_id = await agent.add_edge()
        await agent.call("feedback", action="edge_correct", edge_id=edge_id, correct_label="refutes")
        measured = await agent.call("calibration_metrics", action="evaluate")
        report = await read(agent, f"report://{measured['evaluation_id']}")
        diagram = await read(agent, measured["diagram_uri"])

    told = json.loads(report.text)
    assert (told["report"]["all_reviews"]["accuracy"], told["adapter"]) == (0.0, None)
    assert (diagram.mime_type, diagram.text[:4]) == ("image/svg+xml", "<svg")


async def test_a_trainings_log_and_page_are_read_by_its_id(connect, machine, settings):
    async with connect() as agent:
        await agent.correct()
        job_id = (await agent.call("finetune", action="start", confirm=True, force=True))["job_id"]
        before = await read(agent, f"job://{job_id}/log")
        with pytest.raises(MCPError, match="has no report yet; finetune_status"):
            await read(agent, f"report://{job_id}/training.html")
        machine.finish(job_id)
        (settings.jobs_root / job_id / "log").write_text("a line of a log\n" * 5_000, encoding="utf-8")
        log = await read(agent, f"job://{job_id}/log")
        page = await read(agent, f"report://{job_id}/training.html")

    assert (before.mime_type, before.text) == ("text/plain", "")
    assert set(log.text.splitlines()) == {"a line of a log"}
    assert 16_000 < len(log.text) <= 16_384
    assert (page.mime_type, page.text) == ("text/html", "<!doctype html><title>Training</title>")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("claim://claim_x", r"no claim 'claim_x'; get_claims\(\) lists claims"),
        ("report://eval_x", r"no evaluation 'eval_x'; calibration_metrics\(action='get_evaluations'\)"),
        ("report://eval_x/reliability.svg", "no evaluation 'eval_x'"),
        ("job://job_x/log", r"no job 'job_x'; finetune_status\(\) lists jobs"),
        ("report://job_x/training.html", r"no job 'job_x'; finetune_status\(\) lists jobs"),
        ("nonsense://x", "nonsense"),
    ],
)
async def test_an_unknown_resource_is_an_error(connect, uri, said):
    async with connect() as agent:
        with pytest.raises(MCPError, match=said):
            await agent.client.read_resource(uri)


async def test_the_templates_are_listed(connect):
    async with connect() as agent:
        templates = (await agent.client.list_resource_templates()).resource_templates

    assert sorted(template.uri_template for template in templates) == [
        "claim://{claim_id}",
        "job://{job_id}/log",
        "memory://{memory_id}",
        "report://{evaluation_id}",
        "report://{evaluation_id}/reliability.svg",
        "report://{job_id}/training.html",
    ]


async def test_the_prompt_starts_a_correction_session(connect):
    async with connect() as agent:
        listed = (await agent.client.list_prompts()).prompts
        plain = await agent.client.get_prompt("correction_session")
        about = await agent.client.get_prompt("correction_session", {"count": "3", "topic": "bridges"})

    assert [(one.name, one.title) for one in listed] == [
        ("correction_session", "Correction session"),
        ("personal_system_prompt", "Personal system prompt"),
    ]
    assert "review_queue(limit=10)" in plain.messages[0].content.text
    text = about.messages[0].content.text
    assert "review_queue(limit=3)" in text
    assert "Only claims about bridges matter today" in text
