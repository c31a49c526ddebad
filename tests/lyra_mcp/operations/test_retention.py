"""Retention: what is older than its rule is forgotten, with its words, and the audit says how much that was."""

import asyncio
from datetime import timedelta

import pytest

from lyra_mcp.domain.memories import NewEpisode, NewFact
from lyra_mcp.operations import auditing, retention
from lyra_mcp.operations.remembering import remember
from lyra_mcp.operations.services import as_text


@pytest.fixture
def told(services, clock):
    async def told(memory, *, days_ago):
        await remember(services, memory, created_at=as_text(clock.moment - timedelta(days=days_ago)))

    return told


def episode(text):
    return NewEpisode(event_type="meeting", description=text)


async def previews(services):
    async with services.database.transaction() as tx:
        return [row["text"] for row in await (await tx.execute("SELECT text FROM memories ORDER BY seq")).fetchall()]


async def test_only_what_is_too_old_and_of_that_kind_is_forgotten(services, lyra, told):
    await told(episode("an old zebra"), days_ago=100)
    await told(episode("a young heron"), days_ago=10)
    await told(NewFact(category="a", key="b", value="an old fact"), days_ago=100)
    assert await retention.set_rule(services, "episode", 90) == {"episode": 90}

    assert await retention.apply(services) == {"episode": 1}

    left = await previews(services)
    assert len(left) == 2
    assert not any("zebra" in text for text in left)
    [row] = await lyra.sql("SELECT count(*) AS n FROM memory_words WHERE memory_words MATCH 'zebra'")
    assert row["n"] == 0
    verdict, entries = await auditing.check(services)
    assert verdict.valid
    assert [(entry.event, entry.actor, entry.detail) for entry in entries] == [
        ("retention_set", "mcp", '{"days":90,"kind":"episode"}'),
        ("forgotten", "retention", '{"memories":1}'),
        ("retention_applied", "retention", '{"episode":1}'),
    ]


async def test_without_a_rule_everything_is_kept(services, told):
    await told(episode("old"), days_ago=10_000)

    assert await retention.apply(services) == {}
    assert len(await previews(services)) == 1


async def test_a_rule_that_was_removed_forgets_no_more(services, told):
    await retention.set_rule(services, "episode", 1)
    assert await retention.set_rule(services, "episode", None) == {}
    await told(episode("old"), days_ago=10_000)

    assert await retention.apply(services) == {}


async def test_more_than_one_batch_is_forgotten(services, told, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for number in range(5):
        await told(episode(f"meeting number {number}"), days_ago=100)
    await retention.set_rule(services, "episode", 90)

    assert await retention.apply(services) == {"episode": 5}


async def test_a_server_applies_it_by_itself(services, told, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0)
    await told(episode("old"), days_ago=100)
    await retention.set_rule(services, "episode", 90)

    task = asyncio.create_task(retention.keep_applying(services))
    async with asyncio.timeout(10):
        while await previews(services):  # noqa: ASYNC110 - the fact lies in the database, which sends no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


async def test_a_home_without_a_database_gets_none(services, settings, monkeypatch):
    monkeypatch.setattr(retention, "FIRST_S", 0)
    task = asyncio.create_task(retention.keep_applying(services))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert not services.database.path.exists()
