"""Calibration versions, which of them serves, and the history of evaluations; only added to."""

import json
from dataclasses import astuple

from lyra_mcp.domain.calibrations import Calibration, CalibrationEvent, Evaluation, ServedModel
from lyra_mcp.storage.database import Row, Transaction


async def upsert_served_model(tx: Transaction, model: ServedModel) -> None:
    await tx.execute("INSERT OR REPLACE INTO served_models VALUES (?, ?, ?, ?)", astuple(model))


async def find_served_model(tx: Transaction, fingerprint: str, adapter: str) -> ServedModel | None:
    cursor = await tx.execute(
        "SELECT * FROM served_models WHERE fingerprint = ? AND adapter = ?", (fingerprint, adapter)
    )
    row = await cursor.fetchone()
    return ServedModel(*row) if row else None


_COLUMNS = (
    "fingerprint, adapter, version, temperature, samples, review_seq_max, nll_before, nll_after, gain, gain_low,"
    " gain_high, created_at"
)


async def insert_calibration(tx: Transaction, calibration: Calibration) -> None:
    await tx.execute(
        f"INSERT INTO calibrations ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - own columns
        astuple(calibration),
    )


async def list_calibrations(tx: Transaction, fingerprint: str, adapter: str) -> list[Calibration]:
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM calibrations WHERE fingerprint = ? AND adapter = ? ORDER BY version",  # noqa: S608 - own columns
        (fingerprint, adapter),
    )
    return [Calibration(*row) for row in await cursor.fetchall()]


async def find_active_calibration(tx: Transaction, fingerprint: str, adapter: str) -> Calibration | None:
    """The version the newest event points to; None is version 0, the model's own temperature."""
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM calibrations WHERE fingerprint = ? AND adapter = ? AND version ="  # noqa: S608 - own columns
        " (SELECT to_version FROM calibration_events WHERE fingerprint = ? AND adapter = ? ORDER BY seq DESC LIMIT 1)",
        (fingerprint, adapter, fingerprint, adapter),
    )
    row = await cursor.fetchone()
    return Calibration(*row) if row else None


async def insert_event(tx: Transaction, fingerprint: str, adapter: str, event: CalibrationEvent) -> None:
    await tx.execute(
        "INSERT INTO calibration_events (fingerprint, adapter, action, from_version, to_version, reason, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (fingerprint, adapter, *astuple(event)),
    )


async def list_events(tx: Transaction, fingerprint: str, adapter: str) -> list[CalibrationEvent]:
    cursor = await tx.execute(
        "SELECT action, from_version, to_version, reason, created_at FROM calibration_events"
        " WHERE fingerprint = ? AND adapter = ? ORDER BY seq",
        (fingerprint, adapter),
    )
    return [CalibrationEvent(*row) for row in await cursor.fetchall()]


def _evaluation(row: Row) -> Evaluation:
    return Evaluation(
        seq=row["seq"],
        evaluation_id=row["evaluation_id"],
        base_model=row["base_model"],
        fingerprint=row["fingerprint"],
        adapter=row["adapter"],
        calibration_version=row["calibration_version"],
        temperature=row["temperature"],
        n=row["n"],
        brier=row["brier"],
        report=json.loads(row["report"]),
        created_at=row["created_at"],
    )


async def insert_evaluation(tx: Transaction, evaluation: Evaluation) -> None:
    """Append an evaluation; `evaluation.seq` is given by the database."""
    await tx.execute(
        "INSERT INTO calibration_evaluations (evaluation_id, base_model, fingerprint, adapter, calibration_version,"
        " temperature, n, brier, report, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            evaluation.evaluation_id,
            evaluation.base_model,
            evaluation.fingerprint,
            evaluation.adapter,
            evaluation.calibration_version,
            evaluation.temperature,
            evaluation.n,
            evaluation.brier,
            json.dumps(evaluation.report),
            evaluation.created_at,
        ),
    )


async def find_evaluation(tx: Transaction, evaluation_id: str) -> Evaluation | None:
    cursor = await tx.execute("SELECT * FROM calibration_evaluations WHERE evaluation_id = ?", (evaluation_id,))
    row = await cursor.fetchone()
    return _evaluation(row) if row else None


async def list_evaluations(
    tx: Transaction, *, adapter: str | None = None, since: str | None = None, limit: int
) -> list[Evaluation]:
    """Newest first."""
    cursor = await tx.execute(
        "SELECT * FROM calibration_evaluations WHERE (:adapter IS NULL OR adapter = :adapter)"
        " AND created_at >= :since ORDER BY seq DESC LIMIT :limit",
        {"adapter": adapter, "since": since or "", "limit": limit},
    )
    return [_evaluation(row) for row in await cursor.fetchall()]
