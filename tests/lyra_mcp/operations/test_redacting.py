"""A person's patterns are kept, used and nobody else's; what cannot be scanned is not given back."""

from dataclasses import replace

import pytest

from lyra_mcp.domain.redaction import Finding, UserPattern
from lyra_mcp.errors import Conflict, Invalid, NotFound, NotScanned
from lyra_mcp.operations import redacting

TEXT = "EMP-12345 wrote to taro@example.com"


@pytest.fixture
async def other(settings, build_services):
    """The services of another user of the same home."""
    built = build_services(settings.model_copy(update={"user": "other"}))
    yield built
    await built.database.close()


async def test_private_data_is_found_and_replaced(services):
    assert await redacting.findings(services, TEXT) == (Finding("email", 19, 35, 0.99),)
    assert (await redacting.redacted(services, TEXT)).text == "EMP-12345 wrote to [REDACTED_EMAIL]"


async def test_a_persons_pattern_is_used_until_it_is_removed(services):
    await redacting.put_pattern(services, name="employee_id", pattern=r"EMP-\d{4}")
    await redacting.put_pattern(services, name="employee_id", pattern=r"EMP-\d{5}")

    assert await redacting.list_patterns(services) == [UserPattern("employee_id", r"EMP-\d{5}")]
    assert (await redacting.redacted(services, TEXT)).text == "[REDACTED_EMPLOYEE_ID] wrote to [REDACTED_EMAIL]"

    await redacting.remove_pattern(services, "employee_id")
    assert (await redacting.redacted(services, TEXT)).text == "EMP-12345 wrote to [REDACTED_EMAIL]"


async def test_one_persons_pattern_never_touches_anothers_text(services, other):
    await redacting.put_pattern(services, name="employee_id", pattern=r"EMP-\d{5}")

    assert await redacting.list_patterns(other) == []
    assert (await redacting.redacted(other, TEXT)).text == "EMP-12345 wrote to [REDACTED_EMAIL]"


async def test_a_pattern_that_is_refused_is_not_kept(services):
    with pytest.raises(Invalid):
        await redacting.put_pattern(services, name="email", pattern="x")
    with pytest.raises(Invalid):
        await redacting.put_pattern(services, name="person", pattern="x")
    with pytest.raises(Invalid):
        await redacting.put_pattern(services, name="own", pattern="x*")

    assert await redacting.list_patterns(services) == []


async def test_there_are_at_most_fifty_patterns_and_one_of_them_can_still_be_changed(services):
    for number in range(50):
        await redacting.put_pattern(services, name=f"own_{number}", pattern="x")

    with pytest.raises(Conflict, match="remove one first"):
        await redacting.put_pattern(services, name="one_more", pattern="x")
    await redacting.put_pattern(services, name="own_0", pattern="y")


async def test_an_unknown_pattern_cannot_be_removed(services):
    with pytest.raises(NotFound, match="there are: none"):
        await redacting.remove_pattern(services, "employee_id")


async def test_names_without_what_finds_them_are_an_error_and_no_text(services, settings):
    lyra = replace(services, settings=settings.model_copy(update={"redaction_names_model": "en_core_web_sm"}))

    with pytest.raises(NotScanned, match=r"pip install 'lyra-mcp\[presidio\]'"):
        await redacting.redacted(lyra, "fine")
