"""When a retraining is worth proposing. Triggers inform; they never start anything."""

from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Thresholds:
    corrections: int
    #: Share of reviewed pairs, in [0, 1].
    correction_rate: float
    days_since_last: float


@dataclass(frozen=True, slots=True)
class Trigger:
    #: Null where there is nothing to measure yet.
    value: float | None
    threshold: float
    met: bool


@dataclass(frozen=True, slots=True)
class Triggers:
    #: Corrections that no version has learned from or was tested on.
    samples: Trigger
    #: Corrected share of the reviewed pairs.
    correction_rate: Trigger
    #: Days since the newest version; never trained counts as long ago.
    days_since_last: Trigger

    @property
    def ready(self) -> bool:
        return self.samples.met and self.correction_rate.met and self.days_since_last.met


def read_triggers(
    *,
    new_corrections: int,
    reviewed: int,
    corrected: int,
    last_trained_at: datetime | None,
    now: datetime,
    thresholds: Thresholds,
) -> Triggers:
    """Compare what happened with the thresholds; reaching one exactly meets it."""
    rate = corrected / reviewed if reviewed else None
    days = (now - last_trained_at) / DAY if last_trained_at else None
    return Triggers(
        Trigger(new_corrections, thresholds.corrections, new_corrections >= thresholds.corrections),
        Trigger(rate, thresholds.correction_rate, rate is not None and rate >= thresholds.correction_rate),
        Trigger(days, thresholds.days_since_last, days is None or days >= thresholds.days_since_last),
    )
