"""The decorator with services of the test's own, and what is stored of a user."""

import pytest

from lyra_mcp.assistant.background import Background
from lyra_mcp.assistant.wrapper import auto_finetune
from lyra_mcp.storage import exchanges, memories


@pytest.fixture(name="background")
def _background(build_services):
    with Background(build_services) as background:
        yield background


@pytest.fixture(name="assistant")
def _assistant(settings, background):
    """The decorator, with the services of this test."""

    def build(user_id="anna", **options):
        return auto_finetune(user_id, settings=settings, background=background, **options)

    return build


@pytest.fixture(name="kept")
def _kept(settings, background):
    """What is stored of a user: the exchange of each id."""

    def read(user_id="anna"):
        async def all_of_them(services):
            async with services.database.transaction() as tx:
                ids = [each.memory_id for each in await memories.list_memories(tx)]
                return await exchanges.find_exchanges(tx, ids)

        return background.run(settings.model_copy(update={"user": user_id}), all_of_them)

    return read
