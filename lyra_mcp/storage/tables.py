"""Every table and where its rows go in an export; a table that is in no list fails a test."""

import base64
import json
from typing import Any

from lyra_mcp.storage.database import Transaction, first_value

#: Path in the export (`{user}` stands for the user) of every table whose rows a person may want to read.
EXPORTED: dict[str, str] = {
    "preference_events": "personalization/{user}/preferences.json",
    "preference_evidence": "personalization/{user}/preferences.json",
    "conversations": "personalization/{user}/interactions.json",
    "rating_events": "personalization/{user}/interactions.json",
    "training_proposals": "personalization/{user}/interactions.json",
    "proposed_conversations": "personalization/{user}/interactions.json",
    "intent_examples": "models/{user}/training_data.json",
    "nli_corrections": "models/{user}/training_data.json",
    "review_retractions": "models/{user}/training_data.json",
    "review_offers": "models/{user}/training_data.json",
    "job_samples": "models/{user}/training_data.json",
    "intent_models": "models/{user}/intent_classifier.json",
    "memories": "memory/{user}/memory.json",
    "facts": "memory/{user}/memory.json",
    "episodes": "memory/{user}/memory.json",
    "workflows": "memory/{user}/memory.json",
    "workflow_uses": "memory/{user}/memory.json",
    "forget_events": "memory/{user}/memory.json",
    "model_versions": "model_repo/versions.json",
    "pruned_versions": "model_repo/versions.json",
    "aliases": "model_repo/versions.json",
    "alias_events": "model_repo/versions.json",
    "jobs": "model_repo/jobs.json",
    "job_events": "model_repo/jobs.json",
    "calibrations": "performance/metrics.json",
    "calibration_events": "performance/metrics.json",
    "calibration_evaluations": "performance/metrics.json",
    "served_models": "performance/metrics.json",
    "claims": "evidence/{user}/evidence.json",
    "claim_events": "evidence/{user}/evidence.json",
    "fragments": "evidence/{user}/evidence.json",
    "edges": "evidence/{user}/evidence.json",
    "domain_rules": "evidence/{user}/evidence.json",
    "domain_rule_events": "evidence/{user}/evidence.json",
    "consent_events": "privacy/{user}/privacy.json",
    "audit_log": "privacy/{user}/privacy.json",
    "privacy_patterns": "privacy/{user}/privacy.json",
    "retention_rules": "privacy/{user}/privacy.json",
}
#: Likewise left out: what is made from the other tables, and what the database keeps for itself.
INTERNAL: dict[str, str] = {
    "correction_vectors": "computed from the texts of nli_corrections",
    "memory_vectors": "computed from the texts of memories",
    "memory_words": "the index of the texts of memories",
    "memory_words_config": "belongs to the index",
    "memory_words_data": "belongs to the index",
    "memory_words_docsize": "belongs to the index",
    "memory_words_idx": "belongs to the index",
    "memory_bits": "computed from the texts of memories",
    "memories_waiting": "belongs to the index",
    "encoders": "says which program computed the vectors",
    "intent_vectors": "computed from the texts of intent_examples",
    "memory_sketches": "computed from the texts of memories",
    "sqlite_sequence": "the database's own counters",
}
#: Tables that are left out of an export, and why.
EXCLUDED: dict[str, str] = {
    "idempotency_keys": "copies of answers, kept so that a repeated call is not done twice",
}
#: Columns that are left out, and why.
EXCLUDED_COLUMNS: dict[tuple[str, str], str] = {
    ("edges", "representation"): "computed from the texts of the pair",
}
#: Columns of JSON, written as what they mean.
_JSON_COLUMNS = {
    "context", "detail", "facts", "gate", "messages", "metadata", "predicted_probabilities", "recipe", "report",
    "scores", "steps", "value",
}  # fmt: skip


async def list_tables(tx: Transaction) -> list[str]:
    cursor = await tx.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [row["name"] for row in await cursor.fetchall()]


async def count_rows(tx: Transaction) -> dict[str, int]:
    """Rows of every table that is not empty and holds more than an index."""
    counted = {}
    for table in EXPORTED:
        counted[table] = int(await first_value(await tx.execute(f"SELECT count(*) FROM {table}")))  # noqa: S608 - own names
    return {table: count for table, count in counted.items() if count}


async def dump_table(tx: Transaction, table: str) -> list[dict[str, Any]]:
    """A table's rows as JSON can say them; bytes as base64."""
    assert table in EXPORTED
    cursor = await tx.execute(f"SELECT * FROM {table}")  # noqa: S608 - one of our own names
    return [_readable(table, dict(row)) for row in await cursor.fetchall()]


def _readable(table: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in row.items() if (table, name) not in EXCLUDED_COLUMNS}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if name in _JSON_COLUMNS and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
