"""What a training learns from: the last word of people on every pair, cumulative, and never what was held out."""

import hashlib
from dataclasses import replace

import pytest

from lyra_mcp.operations import calibration, feedback, finetuning, redacting
from lyra_mcp.operations.reconciling import reconcile
from lyra_mcp.operations.redacting import read_screen
from lyra_mcp.operations.training_data import collect
from lyra_mcp.storage import job_folders, jobs
from schema.jobs import Sample
from schema.wire import TEXT_CHARS_MAX


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


async def test_a_persons_word_counts_although_an_agent_spoke_later(lyra, services, collected):
    edge = await lyra.add_edge("A claim.", "one")
    await lyra.correct(edge.edge_id, "refutes")
    later = feedback.correct_edge(
        services, edge_id=edge.edge_id, correct_label="neutral", reason=None, source_type="agent"
    )
    await lyra.do(later)

    data = await collected()
    assert (labels(data), data.excluded) == ([("one", "refutes", "correction")], {})
    assert (await finetuning.read_current_triggers(services)).samples.value == 1


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


async def test_where_the_person_wants_only_new_reviews_those_a_version_used_are_left_out(lyra, services, machine):
    await lyra.review(corrected=10)
    job = await finetuning.start(services, recipe_name="seed", force=True)
    machine.finish(job.job_id)
    await finetuning.reconcile(services)
    await lyra.review(corrected=2)
    only_new = replace(services, settings=services.settings.model_copy(update={"training_reviews": "new"}))

    cumulative, incremental = [(await finetuning.plan(one, recipe_name="seed")).data for one in (services, only_new)]
    assert (cumulative.reviewed, cumulative.excluded) == (12, {})
    assert (incremental.reviewed, incremental.excluded) == (2, {"used by an earlier version": 10})


async def test_equal_data_give_equal_bytes(lyra, collected):
    await lyra.review(corrected=3, confirmed=3)
    one, other = (await collected()).samples, (await collected()).samples
    content = job_folders.dump_samples(one)

    assert content == job_folders.dump_samples(other)
    assert [Sample.model_validate_json(line) for line in content.splitlines()] == one


@pytest.fixture
def in_mode(services, settings):
    """What is collected in a mode of redaction."""

    async def in_mode(mode):
        lyra = replace(services, settings=settings.model_copy(update={"redaction_mode": mode}))
        async with lyra.database.transaction() as tx:
            return await collect(tx, await read_screen(lyra, tx))

    return in_mode


@pytest.mark.parametrize(
    ("mode", "texts", "excluded"),
    [
        ("redact", [("one", "A claim."), ("by [REDACTED_EMAIL]", "A claim.")], {}),
        ("exclude", [("one", "A claim.")], {"private data": 1}),
        ("quarantine", [("one", "A claim.")], {"private data, held until you looked at it": 1}),
    ],
)
async def test_private_data_is_left_out_as_the_person_wants_it(lyra, in_mode, mode, texts, excluded):
    for text in ("one", "by taro@example.com"):
        await lyra.correct((await lyra.add_edge("A claim.", text)).edge_id, "neutral")

    data = await in_mode(mode)
    assert [(sample.premise, sample.hypothesis) for sample in data.samples] == texts
    assert data.excluded == excluded
    assert (data.redacted, len(data.quarantined)) == (int(mode == "redact"), int(mode == "quarantine"))


async def test_private_data_in_the_claim_alone_is_enough(lyra, in_mode):
    await lyra.correct((await lyra.add_edge("Taro's card is 4111111111111111.", "one")).edge_id, "neutral")

    [sample] = (await in_mode("redact")).samples
    assert sample.hypothesis == "Taro's card is [REDACTED_CREDIT_CARD]."
    assert (await in_mode("exclude")).samples == []


async def test_unreviewed_pairs_are_screened_too(lyra, in_mode):
    await lyra.add("A claim.", "by taro@example.com")

    assert [sample.premise for sample in (await in_mode("redact")).samples] == ["by [REDACTED_EMAIL]"]
    assert (await in_mode("exclude")).samples == []


async def test_what_cannot_be_scanned_is_not_trained_on_and_the_plan_says_so(lyra, services, machine):
    await lyra.review(corrected=3)
    await lyra.sql("INSERT INTO privacy_patterns (name, pattern, created_at) VALUES ('broken', '(', 'now')")

    plan = await finetuning.plan(services, recipe_name="seed")
    assert (plan.data.samples, plan.data.excluded) == ([], {"could not be scanned for private data": 3})


async def test_no_private_text_stands_in_any_file_of_a_training(lyra, services, machine, settings):
    await lyra.review(corrected=10)
    await lyra.correct((await lyra.add_edge("Call 090-1234-5678.", "by taro@example.com")).edge_id, "neutral")
    await redacting.put_pattern(services, name="word", pattern=r"word_[0-9a-f]+")
    job = await finetuning.start(services, recipe_name="seed", force=True)

    written = b"".join(path.read_bytes() for path in settings.jobs_root.rglob("*") if path.is_file())
    assert job.samples == 11
    assert b"[REDACTED_PHONE_JP]" in written
    assert [text for text in (b"taro", b"090-1234-5678", b"word_") if text in written] == []


async def test_a_redacted_text_that_became_too_long_is_left_out(lyra, in_mode):
    text = ("1.2.3.4 " * (TEXT_CHARS_MAX // 8))[:TEXT_CHARS_MAX].rstrip()
    await lyra.correct((await lyra.add_edge("A claim.", text)).edge_id, "neutral")

    assert (await in_mode("redact")).excluded == {"too long with tags for private data": 1}


async def test_a_pair_beside_one_that_was_trained_on_is_never_held_out(lyra, services, collected, machine, start):
    """Also where that one is left out today: taken back, or used already with LYRA_TRAINING_REVIEWS=new."""
    for number in range(12):
        [edge] = (await lyra.add(f"Claim {number}.", f"Text {number}.", page_id=f"page-{number}")).edges
        await lyra.correct(edge.edge_id, "refutes")
    job = await start(force=True)
    report = machine.finish(job.job_id)
    await reconcile(services)
    parts = {one.sample_id: one.part for one in report.assigned}
    number = next(number for number, part in enumerate(parts.values()) if part != "holdout")
    await lyra.retract(review_id=list(parts)[number])
    same_page = (await lyra.add("Another.", "Other words.", page_id=f"page-{number}")).edges[0]
    same_premise = (await lyra.add("One more.", f"TEXT  {number}.", page_id="page-new")).edges[0]
    elsewhere = (await lyra.add("The last.", "Words of its own.", page_id="page-else")).edges[0]
    reviews = [await lyra.correct(edge.edge_id, "neutral") for edge in (same_page, same_premise, elsewhere)]

    earlier = {sample.sample_id: sample.earlier for sample in (await collected()).samples}

    assert [earlier[review.review_id] for review in reviews] == ["train", "train", None]


async def test_once_trained_on_counts_although_a_job_before_it_ends_later(lyra, services, collected, machine, start):
    """The older job was resumed after the newer one had become a version, with a division of its own."""
    await lyra.review(corrected=10)
    older = await start(force=True)
    machine.write(older.job_id, "interrupted")
    await reconcile(services)
    machine.write(older.job_id, "failed")
    await reconcile(services)
    await lyra.review(corrected=5)
    newer = await start(force=True)
    held_out = {one.sample_id for one in machine.finish(newer.job_id).assigned if one.part == "holdout"}
    await reconcile(services)
    async with services.database.transaction() as tx:
        await jobs.insert_samples(tx, older.job_id, [(review_id, "train") for review_id in held_out])

    earlier = {sample.sample_id: sample.earlier for sample in (await collected()).samples}

    assert {earlier[review_id] for review_id in held_out} == {"train"}
