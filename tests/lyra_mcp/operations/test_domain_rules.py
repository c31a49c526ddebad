"""Blocked sources: they stop counting at once, and a restart remembers them."""

import pytest

from lyra_mcp.errors import Invalid
from lyra_mcp.operations import claims

SUPPORTED_ONCE = 0.641  # one supporting edge of confidence .787


@pytest.fixture
async def claim_id(lyra):
    """One edge from a page of news.example.com and none else."""
    return (await lyra.add("A claim.", "it is so", url="https://news.example.com/page")).claim.claim_id


@pytest.mark.parametrize("pattern", ["news.example.com", "*.example.com", "NEWS.Example.com."])
async def test_a_block_counts_at_once_and_a_clear_takes_it_back(lyra, claim_id, pattern):
    assert await lyra.score(claim_id) == (SUPPORTED_ONCE, 1)

    ruled = await lyra.rule("block", pattern)
    assert await lyra.score(claim_id) == (0.5, 0)
    opened = await claims.open_claim(lyra.services, claim_id)
    assert opened.blocked_edge_ids == {opened.edges[0].edge_id}

    cleared = await lyra.clear(pattern)
    assert (cleared.domain_pattern, cleared.cleared_rules) == (ruled.domain_pattern, 1)
    assert await lyra.score(claim_id) == (SUPPORTED_ONCE, 1)


@pytest.mark.parametrize("pattern", ["example.com", "*.news.example.com", "example.org", "ews.example.com"])
async def test_other_patterns_leave_the_edge_alone(lyra, claim_id, pattern):
    await lyra.rule("block", pattern)

    assert await lyra.score(claim_id) == (SUPPORTED_ONCE, 1)


async def test_an_exact_unblock_stands_inside_a_blocked_suffix_whatever_came_last(lyra, claim_id):
    await lyra.rule("unblock", "news.example.com")
    await lyra.rule("block", "*.example.com")

    assert await lyra.score(claim_id) == (SUPPORTED_ONCE, 1)


async def test_the_newest_of_equal_patterns_decides_and_clear_takes_all_of_them(lyra, claim_id):
    await lyra.rule("block", "news.example.com")
    await lyra.rule("unblock", "news.example.com")
    assert await lyra.score(claim_id) == (SUPPORTED_ONCE, 1)
    await lyra.rule("block", "news.example.com")
    assert await lyra.score(claim_id) == (0.5, 0)

    assert (await lyra.clear("news.example.com")).cleared_rules == 3
    assert (await lyra.clear("news.example.com")).cleared_rules == 0


async def test_rules_survive_a_restart(lyra, claim_id, settings, build_services):
    await lyra.rule("block", "*.example.com")
    await lyra.services.database.close()
    restarted = type(lyra)(build_services(settings))

    try:
        assert await restarted.score(claim_id) == (0.5, 0)
    finally:
        await restarted.services.database.close()


@pytest.mark.parametrize(
    "pattern", ["*.com", "com", "*", "*.co.uk", "a.*.com", "https://example.com/x", "10.0.0.1", ""]
)
async def test_a_pattern_that_says_too_much_is_refused_and_not_recorded(lyra, claim_id, pattern):
    with pytest.raises(Invalid, match=r"write|read"):
        await lyra.rule("block", pattern)

    assert await lyra.count("domain_rules") == await lyra.count("domain_rule_events") == 0


async def test_every_decision_is_an_event(lyra):
    await lyra.rule("block", "example.com")
    await lyra.clear("example.com")

    events = await lyra.sql("SELECT pattern, event, reason, source_type FROM domain_rule_events ORDER BY seq")
    assert [tuple(event.values()) for event in events] == [
        ("example.com", "block", "unreliable", "human"),
        ("example.com", "clear", "again", "human"),
    ]
