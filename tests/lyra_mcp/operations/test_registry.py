"""The versions side by side: compared, pruned, and watched while they serve."""

from dataclasses import replace

import pytest

from lyra_mcp.errors import Conflict, NotFound
from lyra_mcp.operations import adapters, calibration, finetuning


async def test_a_version_is_compared_with_the_base_or_with_another_number_by_number(lyra, train, services):
    await train(base_right=0.5)
    await lyra.review(corrected=5)
    await train(base_right=0.5, candidate_right=2 / 3)

    against_base = await adapters.compare(services, 1, None)
    against_first = await adapters.compare(services, 2, 1)

    accuracy, brier = ({change.name: change for change in against_base.changes}[name] for name in ("accuracy", "brier"))
    assert (accuracy.before, accuracy.after, accuracy.change, accuracy.change_percent) == (0.5, 1.0, 0.5, 100.0)
    assert (brier.change, against_base.same_data) == (-0.25, True)
    assert (against_first.same_data, round(against_first.changes[0].change, 3)) == (False, -0.333)
    with pytest.raises(NotFound):
        await adapters.compare(services, 1, 7)


async def test_versions_that_were_held_out_on_the_same_pairs_are_compared_on_the_same_data(lyra, train, services):
    """The samples differ all the same: the second training knows where the first had them."""
    await train(candidate_right=0.5)
    await train()

    compared = await adapters.compare(services, 2, 1)

    assert (compared.same_data, compared.changes[0].change) == (True, 0.5)


async def test_what_serves_without_an_alias_is_not_pruned(train, services, settings):
    first = await train()
    second = await train()
    for _ in range(4):
        await train()
    await adapters.load(services, first)
    own = replace(services, settings=settings.model_copy(update={"default_adapter": second}))

    assert [version.version for version in await adapters.plan_prune(own)] == [3]


async def test_a_change_from_zero_has_no_percentage(train, services):
    await train(base_right=0.0)
    assert (await adapters.compare(services, 1, None)).changes[0].change_percent is None


async def test_pruning_keeps_the_newest_three_what_an_alias_names_and_their_parents(
    train, activate, services, settings
):
    paths = {1: await train(), 2: await train()}
    await activate(2)
    for number in (3, 4, 5, 6):
        paths[number] = await train()  # each is compared with version 2
    await activate(1, force=True)

    planned = [version.version for version in await adapters.plan_prune(services)]
    pruned = await adapters.prune(services)

    assert (planned, pruned, await adapters.prune(services)) == ([3], [3], [])
    assert sorted(path.name for path in settings.adapters_root.iterdir()) == sorted(
        path for number, path in paths.items() if number != 3
    )
    with pytest.raises(Conflict, match="the files of version 3 were pruned; train again"):
        await activate(3)
    assert (await train(), (await adapters.read_registry(services)).versions[0].version.version)[1] == 7


async def test_a_rollback_passes_over_versions_whose_files_are_gone(train, activate, services, serving):
    paths = [await train() for _ in range(5)]
    for number in (1, 2, 3, 4, 5):
        await activate(number, force=True)
    assert await adapters.prune(services) == [1, 2]

    seen = []
    for _ in range(3):
        await adapters.roll_back(services, reason=None)
        seen.append(await serving())

    assert seen == [(4, paths[3]), (3, paths[2]), (None, "base")]


async def test_the_champion_a_running_training_is_compared_with_is_not_pruned(train, activate, services, machine):
    for _ in range(4):
        await train()
    await activate(1)
    await finetuning.start(services, recipe_name="seed", force=True)
    await adapters.roll_back(services, reason=None)

    assert await adapters.plan_prune(services) == []


async def test_the_champion_an_interrupted_training_was_compared_with_is_not_pruned(
    train, activate, services, machine, state
):
    for _ in range(4):
        await train()
    await activate(1)
    job = await finetuning.start(services, recipe_name="seed", force=True)
    machine.write(job.job_id, "interrupted")
    assert (await state(job))[0] == "interrupted"
    await adapters.roll_back(services, reason=None)

    assert await adapters.plan_prune(services) == []


async def test_files_left_by_a_prune_that_died_are_removed_by_the_next(train, services, settings):
    paths = [await train() for _ in range(4)]
    await adapters.prune(services)
    (settings.adapters_root / paths[0]).mkdir()

    assert await adapters.prune(services) == []
    assert not (settings.adapters_root / paths[0]).exists()


async def test_every_version_has_the_correction_rate_of_the_time_it_served(lyra, train, activate, services):
    await lyra.review(confirmed=10)
    await train()
    await activate(1)
    await lyra.review(corrected=1, confirmed=3)

    registry = await adapters.read_registry(services)

    [view] = registry.versions
    assert (registry.bases, view.reviewed, view.corrected) == ({"first": (20, 10)}, 4, 1)
    assert (adapters.correction_rate((4, 1)), adapters.correction_rate((0, 0))) == (0.25, None)


async def test_reviews_of_pairs_that_an_adapter_learned_from_are_in_sample(lyra, train, activate):
    """The same texts from another source are another edge; what the adapter says of them it was taught."""
    await train()
    await activate(1, force=True)
    taught = await lyra.sql(
        "SELECT premise, hypothesis, part FROM job_samples JOIN nli_corrections USING (review_id) ORDER BY review_id"
    )
    for row in taught:
        edge = await lyra.add_edge(row["hypothesis"], row["premise"], url="https://second.example.org/")
        await lyra.correct(edge.edge_id, "refutes")
    await lyra.review(confirmed=1)

    measured = await calibration.evaluate(lyra.services, adapter=None, since=None)

    held_out = sum(row["part"] == "holdout" for row in taught)
    assert held_out > 0
    assert (measured.in_sample, measured.holdout) == (len(taught) - held_out, held_out + 1)
