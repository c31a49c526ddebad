"""Where a rollback leads, and what may be pruned."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyra_mcp.domain.promotion import Condition, Gate
from lyra_mcp.domain.versions import (
    KEPT_MIN,
    AliasEvent,
    HoldoutScores,
    ModelVersion,
    objection,
    prunable,
    rollback_target,
)


def activated(*versions):
    return [AliasEvent("activate", None, version, False, None, "now") for version in versions]


def rolled_back(to):
    return AliasEvent("rollback", None, to, False, None, "now")


def version(number, parent=None, *, is_pruned=False):
    scores = HoldoutScores(1, 1, 0, 0, 0, 1)
    return ModelVersion(
        kind="nli_lora",
        version=number,
        job_id=f"job_{number}",
        adapter_path=f"job_{number}",
        adapter_sha256="0",
        base_model="builtin",
        fingerprint="f",
        parent_version=parent,
        samples_sha256="0",
        samples=1,
        recipe_name="seed",
        recipe="{}",
        base=scores,
        candidate=scores,
        gate=Gate(True, ()),
        created_at="now",
        is_pruned=is_pruned,
    )


def scored(number, accuracy, parent=None, *, failed=()):
    """A version whose base had 0.5, and the conditions of the gate that it failed."""
    scores = HoldoutScores(10, accuracy, 1 - accuracy, 0, 0, accuracy)
    conditions = tuple(Condition(name, None, 1.0, False, "") for name in failed)
    return replace(
        version(number, parent),
        base=HoldoutScores(10, 0.5, 0.5, 0, 0, 0.5),
        candidate=scores,
        gate=Gate(not failed, conditions),
    )


def numbers(versions):
    return [version.version for version in versions]


# Activation


@pytest.mark.parametrize(
    ("candidate", "champion", "said"),
    [
        (scored(1, 0.9), None, ""),
        (scored(2, 0.9, parent=1), version(1), ""),
        (scored(2, 0.9, parent=1), None, ""),
        (scored(2, 0.4, parent=1), None, "is worse than the base alone on its hold-out"),
        (scored(3, 0.9, parent=1), version(2), "was compared with version 1, and version 2 serves now"),
        (scored(2, 0.9), version(1), "was compared with the base alone, and version 1 serves now"),
        (scored(1, 0.9), version(1), ""),
        (scored(1, 0.9, failed=("a", "b")), None, "did not pass the gate (a, b)"),
    ],
)
def test_a_version_replaces_only_what_it_was_compared_with_and_beat(candidate, champion, said):
    assert objection(candidate, champion) == said


# Rollback


@pytest.mark.parametrize(
    ("events", "target"),
    [
        ([], None),
        (activated(1), None),
        (activated(1, 2), 1),
        ([*activated(1, 2, 3), rolled_back(2)], 1),
        ([*activated(1, 2, 3), rolled_back(2), rolled_back(1)], None),
        ([*activated(1, 2), rolled_back(1), *activated(3)], 1),
        (activated(1, 2, 1), 2),
    ],
)
def test_a_rollback_leads_to_what_served_before(events, target):
    assert rollback_target(events) == target


def test_a_rollback_passes_over_pruned_versions_and_the_next_goes_on_from_there():
    events = activated(1, 2, 3, 4)
    assert rollback_target(events, pruned={2, 3}) == 1
    assert rollback_target([*events, rolled_back(1)], pruned={2, 3}) is None


@given(st.lists(st.integers(1, 9), max_size=8), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_as_many_rollbacks_as_activations_lead_back(before, after):
    """Rollbacks close like brackets: what was activated meanwhile leaves no trace."""
    events = activated(*before)
    served, wanted = rollback_target(events), before[-1] if before else None
    events += activated(*after)
    for _ in after:
        events.append(rolled_back(rollback_target(events)))
        last = events[-1].to_version

    assert (last, rollback_target(events)) == (wanted, served)


@given(st.lists(st.integers(1, 9), max_size=12), st.sets(st.integers(1, 9)))
def test_rollbacks_end_at_the_base_and_never_at_pruned_files(activations, pruned):
    events = activated(*activations)
    for _ in activations:
        target = rollback_target(events, pruned=pruned)
        assert target not in pruned
        if target is None:
            break
        events.append(rolled_back(target))
    assert rollback_target(events, pruned=pruned) is None


# Pruning


def test_the_newest_the_named_and_their_parents_stay():
    versions = [version(1), version(2), version(3, 1), version(4, 2), version(5, 4), version(6), version(7, 3)]
    assert numbers(prunable(versions, aliased={4})) == [1]
    assert numbers(prunable(versions, aliased=())) == [1, 2]


def test_what_is_pruned_already_is_not_pruned_again_and_does_not_count_as_kept():
    versions = [version(1), version(2), version(3), version(4, is_pruned=True), version(5, is_pruned=True)]
    assert prunable(versions, aliased=()) == []


@st.composite
def registries(draw):
    count = draw(st.integers(0, 10))
    parents = [draw(st.none() | st.integers(1, number)) for number in range(1, count + 1)]
    versions = [
        version(number, parent if parent != number else None, is_pruned=draw(st.booleans()))
        for number, parent in enumerate(parents, start=1)
    ]
    aliased = draw(st.sets(st.integers(1, count), max_size=3)) if count else set()
    return versions, aliased


@given(registries())
def test_pruning_keeps_what_is_needed_and_doing_it_twice_changes_nothing(registry):
    versions, aliased = registry
    doomed = set(numbers(prunable(versions, aliased=aliased)))
    kept = [each for each in versions if not each.is_pruned and each.version not in doomed]

    assert len(kept) >= min(KEPT_MIN, sum(not each.is_pruned for each in versions))
    assert doomed.isdisjoint(aliased)
    newest = sorted(numbers(kept))[-KEPT_MIN:]
    needed = {each.parent_version for each in kept if each.version in {*newest, *aliased}}
    assert doomed.isdisjoint(needed)
