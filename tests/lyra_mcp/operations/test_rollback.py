"""One call takes a version back: to what served before and still can, and never to what serves already."""

from dataclasses import replace

import pytest

from lyra_mcp.errors import Conflict, StorageFailed, WorkerGone
from lyra_mcp.operations import adapters
from lyra_mcp.operations.status import read_status

NEW = ("a new text", "a new claim")


async def states(lyra):
    return [row["state"] for row in await lyra.sql("SELECT state FROM jobs ORDER BY seq")]


async def test_two_rollbacks_go_back_two_activations(lyra, train, activate, serving, services):
    first = await train()
    await activate(1)
    second = await train()
    await activate(2)
    seen = [await serving()]
    for _ in range(2):
        await adapters.roll_back(services, reason="worse")
        seen.append(await serving())

    assert seen == [(2, second), (1, first), (None, "base")]
    assert await states(lyra) == ["retired", "retired"]
    events = (await adapters.read_registry(services)).events
    assert [(event.action, event.from_version, event.to_version, event.reason) for event in events] == [
        ("activate", None, 1, None),
        ("activate", 1, 2, None),
        ("rollback", 2, 1, "worse"),
        ("rollback", 1, None, "worse"),
    ]
    with pytest.raises(Conflict, match="the base alone serves; there is nothing to go back to"):
        await adapters.roll_back(services, reason=None)


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
async def test_a_rollback_passes_over_files_that_were_lost_or_changed(
    train, activate, serving, services, settings, change
):
    paths = []
    for number in (1, 2, 3):
        paths.append(await train())
        await activate(number)
    weights = settings.adapters_root / paths[1] / "adapter_model.safetensors"
    weights.unlink() if change == "deleted" else weights.write_bytes(b"others")

    assert await adapters.plan_rollback(services) == (3, 1)
    assert await adapters.roll_back(services, reason=None) == (3, 1)
    assert await serving() == (1, paths[0])


async def test_a_champion_whose_files_are_lost_is_told_and_no_training_is_compared_with_it(
    train, activate, services, settings
):
    path = await train()
    await activate(1)
    (settings.adapters_root / path / "adapter_model.safetensors").unlink()

    [problem] = (await read_status(services)).problems
    assert problem.startswith("version 1 does not serve: the files of adapter")
    with pytest.raises(StorageFailed, match="are missing; roll back, or activate another version"):
        await train()


async def test_a_rollback_needs_no_worker(train, activate, serving, services, worker):
    await train()
    await activate(1)
    worker.problem = WorkerGone("no worker")

    assert await adapters.roll_back(services, reason=None) == (1, None)
    assert await serving() == (None, "base")


async def test_a_rolled_back_version_may_serve_again(lyra, train, activate, services):
    await train()
    await activate(1)
    await adapters.roll_back(services, reason=None)

    assert (await activate(1), await states(lyra)) == ((None, 1), ["champion"])


async def test_a_rollback_passes_over_versions_of_another_base(lyra, train, activate, services, worker):
    await train()
    await activate(1)
    worker.fingerprint = "second"
    await train()
    await activate(2, force=True)

    assert await adapters.roll_back(services, reason=None) == (2, None)
    assert (await lyra.judge(*NEW)).degraded_reason == ""


async def test_a_rollback_never_leads_to_what_serves_already(train, activate, services, settings):
    await train()
    lost = await train()
    for number in (1, 2, 1):
        await activate(number, force=True)
    (settings.adapters_root / lost / "adapter_model.safetensors").unlink()

    assert await adapters.plan_rollback(services) == (1, None)
    assert await adapters.roll_back(services, reason=None) == (1, None)
    with pytest.raises(Conflict, match="the base alone serves; there is nothing to go back to"):
        await adapters.roll_back(services, reason=None)


async def test_without_a_version_the_adapter_of_the_settings_serves(train, activate, services, settings):
    await train()
    await activate(1)
    own = replace(services, settings=settings.model_copy(update={"default_adapter": "handmade"}))
    await adapters.roll_back(own, reason=None)

    assert (await adapters.read_serving(own)).adapter == "handmade"
