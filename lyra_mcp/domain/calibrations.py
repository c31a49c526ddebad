"""The nouns of calibration: a served model, its versions of a temperature, and what was measured of it."""

from dataclasses import dataclass
from typing import Any

from schema.vocabulary import CalibrationAction


@dataclass(frozen=True, slots=True)
class ServedModel:
    fingerprint: str
    adapter: str
    base_model: str
    #: The temperature it was shipped with: calibration version 0.
    temperature: float


@dataclass(frozen=True, slots=True)
class Calibration:
    fingerprint: str
    adapter: str
    version: int
    temperature: float
    samples: int
    review_seq_max: int
    nll_before: float
    nll_after: float
    gain: float
    gain_low: float
    gain_high: float
    created_at: str


@dataclass(frozen=True, slots=True)
class CalibrationEvent:
    action: CalibrationAction
    from_version: int
    to_version: int
    reason: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    seq: int
    evaluation_id: str
    base_model: str
    fingerprint: str
    adapter: str
    calibration_version: int
    temperature: float
    n: int
    brier: float
    report: dict[str, Any]
    created_at: str
