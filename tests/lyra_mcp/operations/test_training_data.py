"""What a training learns from: the last word of people on every pair, cumulative, and never what was held out."""

import hashlib

import pytest

from lyra_mcp.operations import calibration, feedback, finetuning
from lyra_mcp.operations.redacting import read_screen
from lyra_mcp.operations.training_data import collect
from lyra_mcp.storage import job_folders
from schema.jobs import Sample


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"training_samples_min": 10, "trigger_corrections": 5})


@pytest.fixture
def collected(services):
    async def collected():
        async with services.database.transaction() as tx:
            return await collect(tx, await read_screen(services, tx))

    return collected


def labels(data):
    return [(sample.premise, sample.label, sample.source) for sample in data.samples]


async def test_the_last_word_on_a_pair_counts_and_unreviewed_pairs_are_rehearsed(lyra, collected):
    first, second, third = (await lyra.add("A claim.", "one", "two", "three")).edges
    await lyra.correct(first.edge_id, "neutral")
    await lyra.correct(first.edge_id, "refutes")
    await lyra.correct(second.edge_id, "supports")

    assert labels(await collected()) == [
        ("one", "refutes", "correction"),
        ("two", "supports", "confirmed"),
        ("three", None, "unreviewed"),
    ]
    assert third.label == "supports"


async def test_a_retracted_review_is_learned_from_no_more(lyra, collected):
    edge = await lyra.add_edge("A claim.", "one")
    await lyra.correct(edge.edge_id, "refutes")
    await lyra.retract(edge_id=edge.edge_id)

    assert labels(await collected()) == [("one", None, "unreviewed")]


async def test_only_people_are_believed(lyra, services, collected):
    edge = await lyra.add_edge("A claim.", "one")
    action = feedback.correct_edge(
        services, edge_id=edge.edge_id, correct_label="refutes", reason=None, source_type="agent"
    )
    await lyra.do(action)

    data = await collected()
    assert (data.reviewed, data.excluded) == (0, {"reviewed by agent": 1})


async def test_at_most_two_confirmed_reviews_for_each_correction_and_always_the_same(lyra, collected):
    await lyra.review(corrected=2, confirmed=7)

    data = await collected()
    assert data.counts == {"correction": 2, "confirmed": 4}
    assert data.excluded == {"confirmed beyond two for each correction": 3}
    assert (await collected()).samples == data.samples


async def test_one_review_feeds_both_the_training_and_the_metrics(lyra, services, collected):
    await lyra.review(corrected=1)
    before = (await collected()).counts, (await calibration.evaluate(services, adapter=None, since=None)).all_reviews
    await lyra.review(corrected=1, confirmed=1)
    after = (await collected()).counts, (await calibration.evaluate(services, adapter=None, since=None)).all_reviews

    assert (before[0], before[1].n) == ({"correction": 1}, 1)
    assert (after[0], after[1].n) == ({"correction": 2, "confirmed": 1}, 3)


async def test_every_sample_carries_what_the_split_needs(lyra, collected):
    added = await lyra.add("A claim.", "one", url="https://news.example.org/a", page_id="page-7")
    await lyra.correct(added.edges[0].edge_id, "neutral")

    [sample] = (await collected()).samples
    assert (sample.page_id, sample.domain, sample.hypothesis) == ("page-7", "news.example.org", "A claim.")


async def test_the_text_is_the_one_that_was_reviewed_whatever_becomes_of_the_claim(lyra, services, collected):
    edge = await lyra.add_edge("A claim.", "one")
    await lyra.correct(edge.edge_id, "refutes")
    await lyra.do(feedback.reject_claim(services, claim_id=edge.claim_id, reason="wrong", source_type="human"))

    assert labels(await collected()) == [("one", "refutes", "correction")]


async def test_the_snapshot_is_frozen_with_its_digest(lyra, services, machine, settings):
    await lyra.review(corrected=10)
    job = await finetuning.start(services, recipe_name="seed", force=True)
    await lyra.review(corrected=1)

    content = (settings.jobs_root / job.job_id / "samples.jsonl").read_bytes()
    assert hashlib.sha256(content).hexdigest() == job.samples_sha256
    assert len(content.splitlines()) == job.samples == 10


async def test_what_was_held_out_stays_so_also_when_the_pair_is_reviewed_again(lyra, services, machine, collected):
    await lyra.review(corrected=10)
    job = await finetuning.start(services, recipe_name="seed", force=True)
    report = machine.finish(job.job_id)
    await finetuning.reconcile(services)
    before = await collected()
    edges = await lyra.sql("SELECT edge_id FROM nli_corrections")
    for edge in edges:
        await lyra.correct(edge["edge_id"], "neutral")

    after = await collected()
    held_out = {sample.sample_id for sample in report.assigned if sample.part == "holdout"}
    assert {sample.sample_id for sample in before.samples if sample.earlier == "holdout"} == held_out
    assert [sample.earlier for sample in after.samples] == [sample.earlier for sample in before.samples]
    assert {sample.sample_id for sample in after.samples}.isdisjoint(sample.sample_id for sample in before.samples)


async def test_equal_data_give_equal_bytes(lyra, collected):
    await lyra.review(corrected=3, confirmed=3)
    one, other = (await collected()).samples, (await collected()).samples
    content = job_folders.dump_samples(one)

    assert content == job_folders.dump_samples(other)
    assert [Sample.model_validate_json(line) for line in content.splitlines()] == one
