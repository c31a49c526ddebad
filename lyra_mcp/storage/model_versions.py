"""Versions a training made, the aliases that point to them, and how the aliases moved."""

import json
from dataclasses import asdict, astuple

from lyra_mcp.domain.promotion import Condition, Gate
from lyra_mcp.domain.versions import AliasEvent, HoldoutScores, ModelVersion
from lyra_mcp.storage.database import Row, Transaction, first_value
from schema.vocabulary import Alias, JobKind


def _version(row: Row) -> ModelVersion:
    scores, gate = json.loads(row["scores"]), json.loads(row["gate"])
    return ModelVersion(
        kind=row["kind"],
        version=row["version"],
        job_id=row["job_id"],
        adapter_path=row["adapter_path"],
        adapter_sha256=row["adapter_sha256"],
        base_model=row["base_model"],
        fingerprint=row["fingerprint"],
        parent_version=row["parent_version"],
        samples_sha256=row["samples_sha256"],
        samples=row["samples"],
        recipe_name=row["recipe_name"],
        recipe=row["recipe"],
        base=HoldoutScores(**scores["base"]),
        candidate=HoldoutScores(**scores["candidate"]),
        gate=Gate(gate["passed"], tuple(Condition(**condition) for condition in gate["conditions"])),
        created_at=row["created_at"],
        is_pruned=bool(row["is_pruned"]),
    )


_SELECT = """
    SELECT model_versions.*, EXISTS (
        SELECT 1 FROM pruned_versions
        WHERE pruned_versions.kind = model_versions.kind AND pruned_versions.version = model_versions.version
    ) AS is_pruned
    FROM model_versions
"""


async def next_version(tx: Transaction, kind: JobKind) -> int:
    """Read inside the writing transaction, so that no number is given twice."""
    cursor = await tx.execute("SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE kind = ?", (kind,))
    return int(await first_value(cursor))


async def insert_version(tx: Transaction, version: ModelVersion) -> None:
    await tx.execute(
        "INSERT INTO model_versions (kind, version, job_id, adapter_path, adapter_sha256, base_model, fingerprint,"
        " parent_version, samples_sha256, samples, recipe_name, recipe, scores, gate, gate_passed, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            version.kind,
            version.version,
            version.job_id,
            version.adapter_path,
            version.adapter_sha256,
            version.base_model,
            version.fingerprint,
            version.parent_version,
            version.samples_sha256,
            version.samples,
            version.recipe_name,
            version.recipe,
            json.dumps({"base": asdict(version.base), "candidate": asdict(version.candidate)}),
            json.dumps(asdict(version.gate)),
            int(version.gate.passed),
            version.created_at,
        ),
    )


async def find_version(tx: Transaction, kind: JobKind, version: int) -> ModelVersion | None:
    cursor = await tx.execute(f"{_SELECT} WHERE kind = ? AND version = ?", (kind, version))
    row = await cursor.fetchone()
    return _version(row) if row else None


async def find_version_of_job(tx: Transaction, job_id: str) -> ModelVersion | None:
    cursor = await tx.execute(f"{_SELECT} WHERE job_id = ?", (job_id,))
    row = await cursor.fetchone()
    return _version(row) if row else None


async def list_versions(tx: Transaction, kind: JobKind) -> list[ModelVersion]:
    """Newest first."""
    cursor = await tx.execute(f"{_SELECT} WHERE kind = ? ORDER BY version DESC", (kind,))
    return [_version(row) for row in await cursor.fetchall()]


async def insert_pruned(tx: Transaction, kind: JobKind, version: int, *, created_at: str) -> None:
    await tx.execute("INSERT INTO pruned_versions VALUES (?, ?, ?)", (kind, version, created_at))


async def find_aliases(tx: Transaction, kind: JobKind) -> dict[Alias, int]:
    cursor = await tx.execute("SELECT alias, version FROM aliases WHERE kind = ?", (kind,))
    return {row["alias"]: row["version"] for row in await cursor.fetchall()}


async def set_alias(tx: Transaction, kind: JobKind, alias: Alias, version: int | None) -> None:
    """Point an alias to a version, or to the base alone (None)."""
    if version is None:
        await tx.execute("DELETE FROM aliases WHERE kind = ? AND alias = ?", (kind, alias))
    else:
        await tx.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (kind, alias, version))


async def insert_alias_event(tx: Transaction, kind: JobKind, event: AliasEvent) -> None:
    await tx.execute(
        "INSERT INTO alias_events (kind, action, from_version, to_version, forced, reason, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (kind, *astuple(event)),
    )


async def list_alias_events(tx: Transaction, kind: JobKind) -> list[AliasEvent]:
    """Oldest first."""
    cursor = await tx.execute(
        "SELECT action, from_version, to_version, forced, reason, created_at FROM alias_events"
        " WHERE kind = ? ORDER BY seq",
        (kind,),
    )
    return [AliasEvent(row[0], row[1], row[2], bool(row[3]), row[4], row[5]) for row in await cursor.fetchall()]
