"""The three triggers at their boundaries; reaching a threshold exactly meets it."""

from datetime import UTC, datetime, timedelta

import pytest

from lyra_mcp.domain.triggers import Thresholds, Trigger, Triggers, read_triggers

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USUAL = Thresholds(corrections=100, correction_rate=0.05, days_since_last=7)


def read(*, new_corrections=100, reviewed=1000, corrected=50, since_last: timedelta | None = timedelta(days=7)):
    return read_triggers(
        new_corrections=new_corrections,
        reviewed=reviewed,
        corrected=corrected,
        last_trained_at=None if since_last is None else NOW - since_last,
        now=NOW,
        thresholds=USUAL,
    )


def test_every_trigger_is_reported_with_its_value_and_its_threshold():
    assert read() == Triggers(Trigger(100, 100, True), Trigger(0.05, 0.05, True), Trigger(7, 7, True))
    assert read().ready


@pytest.mark.parametrize(("new_corrections", "met"), [(99, False), (100, True), (0, False)])
def test_a_hundred_new_corrections(new_corrections, met):
    triggers = read(new_corrections=new_corrections)
    assert (triggers.samples.value, triggers.samples.met, triggers.ready) == (new_corrections, met, met)


@pytest.mark.parametrize(("corrected", "reviewed", "met"), [(49, 1000, False), (50, 1000, True), (1, 20, True)])
def test_one_in_twenty_reviewed_pairs_corrected(corrected, reviewed, met):
    triggers = read(corrected=corrected, reviewed=reviewed)
    assert (triggers.correction_rate.met, triggers.ready) == (met, met)


def test_where_nothing_is_reviewed_there_is_no_rate_and_nothing_is_ready():
    triggers = read(corrected=0, reviewed=0)
    assert (triggers.correction_rate, triggers.ready) == (Trigger(None, 0.05, False), False)


@pytest.mark.parametrize(
    ("since_last", "met"),
    [
        (timedelta(days=6, hours=23, minutes=59), False),
        (timedelta(days=7), True),
        (timedelta(days=70), True),
        (timedelta(seconds=-5), False),
    ],
)
def test_seven_days_since_the_last_training(since_last, met):
    triggers = read(since_last=since_last)
    assert (triggers.days_since_last.met, triggers.ready) == (met, met)


def test_never_trained_counts_as_long_ago():
    assert read(since_last=None).days_since_last == Trigger(None, 7, True)
    assert read(since_last=None).ready
