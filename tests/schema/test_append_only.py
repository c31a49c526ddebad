"""What has happened stays as it was written: the triggers that see to it."""

from importlib.resources import files

import pytest
from sqlcipher3 import dbapi2 as sqlite

APPEND_ONLY = [
    "nli_corrections",
    "review_retractions",
    "claim_events",
    "domain_rule_events",
    "calibrations",
    "calibration_events",
    "calibration_evaluations",
    "job_events",
    "alias_events",
    "rating_events",
    "forget_events",
    "preference_events",
    "consent_events",
    "audit_log",
]
PREDICTION = [
    "predicted_label",
    "predicted_confidence",
    "predicted_probabilities",
    "base_model",
    "fingerprint",
    "adapter",
    "calibration_version",
    "truncated",
    "audit_draw",
]
ANY_VALUE = {"TEXT": "x", "INTEGER": 1, "REAL": 0.5, "BLOB": b"x"}


@pytest.fixture
def connection():
    """One row of any values in every table: the triggers are the question here, not the CHECKs."""
    opened = sqlite.connect(":memory:", isolation_level=None)
    opened.executescript((files("schema") / "schema.sql").read_text(encoding="utf-8"))
    opened.execute("PRAGMA ignore_check_constraints = ON")
    tables = [
        name
        for name, kind in opened.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main'").fetchall()
        if kind == "table"  # not the index of words, whose own tables keep what they like
    ]
    for table in tables:
        if not table.startswith("sqlite_"):
            kinds = [kind for _, _, kind, *_ in opened.execute(f"PRAGMA table_info({table})").fetchall()]
            marks = ", ".join("?" * len(kinds))
            opened.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", [ANY_VALUE[kind] for kind in kinds])
    yield opened
    opened.close()


def columns_of(connection, table):
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall()]


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_row_of_the_record_cannot_be_changed(connection, table):
    for column in columns_of(connection, table):
        with pytest.raises(sqlite.IntegrityError, match="append-only"):
            connection.execute(f"UPDATE {table} SET {column} = {column}")


def test_every_table_of_events_is_a_record(connection):
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    assert {name for name in tables if name.endswith(("_events", "_evaluations", "_retractions"))} <= set(APPEND_ONLY)


@pytest.mark.parametrize("table", ["domain_rule_events", "alias_events", "model_versions"])
def test_some_records_cannot_be_deleted_either(connection, table):
    with pytest.raises(sqlite.IntegrityError, match=r"append-only|never reused"):
        connection.execute(f"DELETE FROM {table}")


def test_a_version_of_a_model_cannot_be_changed(connection):
    with pytest.raises(sqlite.IntegrityError, match="a version is immutable"):
        connection.execute("UPDATE model_versions SET gate_passed = 1")


@pytest.mark.parametrize("column", PREDICTION)
def test_what_the_model_said_cannot_be_changed(connection, column):
    with pytest.raises(sqlite.IntegrityError, match="a prediction is immutable"):
        connection.execute(f"UPDATE edges SET {column} = {column}")


def test_what_counts_of_an_edge_can_be_changed(connection):
    connection.execute("UPDATE edges SET label = 'refutes', confidence = 1.0, label_source = 'review'")

    assert connection.execute("SELECT label, confidence FROM edges").fetchone() == ("refutes", 1.0)
