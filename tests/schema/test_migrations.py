"""The SQL of the schema: one file says what the migrations build, and its words are the vocabulary's."""

import re
from importlib.resources import files

import pytest
from sqlcipher3 import dbapi2 as sqlite

import schema
from schema import vocabulary

FOLDER = files("schema")
MIGRATIONS = [path.read_text(encoding="utf-8") for path in sorted((FOLDER / "migrations").iterdir(), key=str)]


@pytest.fixture
def connection():
    with sqlite.connect(":memory:", isolation_level=None) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        yield opened
    opened.close()


def outline(connection) -> dict[tuple[str, str], str]:
    """Every object's statement without comments and with single spaces."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    return {(kind, name): " ".join(re.sub(r"--.*", "", sql).split()) for kind, name, sql in rows if sql}


def version_of(connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def test_schema_sql_is_what_the_migrations_build(connection):
    for script in MIGRATIONS:
        connection.executescript(script)
    with sqlite.connect(":memory:") as other:
        other.executescript((FOLDER / "schema.sql").read_text(encoding="utf-8"))
        written, written_version = outline(other), version_of(other)
    other.close()

    assert outline(connection) == written
    assert version_of(connection) == written_version == len(MIGRATIONS)


def test_migrations_are_numbered_without_a_gap_and_set_their_version(connection):
    names = sorted(path.name for path in (FOLDER / "migrations").iterdir())

    for number, (name, script) in enumerate(zip(names, MIGRATIONS, strict=True), start=1):
        assert re.fullmatch(rf"{number:04}_[a-z_]+\.sql", name)
        connection.executescript(script)
        assert version_of(connection) == number


def test_every_migration_is_one_transaction():
    for script in MIGRATIONS:
        statements = [line for line in script.splitlines() if line and not line.startswith("--")]
        assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")


def test_every_table_is_strict(connection):
    for script in MIGRATIONS:
        connection.executescript(script)

    rows = connection.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
    assert [name for name, strict in rows if not strict and not name.startswith("sqlite_")] == []


#: Which words stand in the CHECKs of columns of this name; tables may differ.
WORDS_OF_COLUMN = [
    ("label", vocabulary.LABELS),
    ("predicted_label", vocabulary.LABELS),
    ("previous_label", vocabulary.LABELS),
    ("correct_label", vocabulary.LABELS),
    ("label_source", vocabulary.LABEL_SOURCES),
    ("kind", vocabulary.EDGE_KINDS),
    ("kind", vocabulary.JOB_KINDS),
    ("status", vocabulary.CLAIM_STATUSES),
    ("source_type", vocabulary.SOURCE_TYPES),
    ("selected_by", vocabulary.SELECTED_BY),
    ("decision", vocabulary.DOMAIN_DECISIONS),
    ("event", (*vocabulary.DOMAIN_DECISIONS, "clear")),
    ("action", vocabulary.CALIBRATION_ACTIONS),
    ("action", vocabulary.ALIAS_ACTIONS),
    ("state", vocabulary.JOB_STATES),
    ("part", vocabulary.SPLIT_PARTS),
    ("alias", vocabulary.ALIASES),
    ("kind", vocabulary.MEMORY_KINDS),
    ("memory_kind", vocabulary.MEMORY_KINDS),
    ("change", vocabulary.PREFERENCE_CHANGES),
    ("origin", vocabulary.EVIDENCE_ORIGINS),
    ("purpose", vocabulary.PURPOSES),
]
#: Words that no column stores.
NOT_STORED = {"WORKER_STATES", "RUN_STATES", "SAMPLE_SOURCES"}


def test_the_checks_hold_the_words_of_the_vocabulary():
    """Every list of words in the SQL, whatever its column, so that a new column cannot bring its own."""
    text = (FOLDER / "schema.sql").read_text(encoding="utf-8")
    found = re.findall(r"CHECK \((\w+) IN \(\s*('[^)]*')\s*\)\)", text)

    checked = {(column, tuple(re.findall(r"'(\w+)'", words))) for column, words in found}

    assert checked == set(WORDS_OF_COLUMN)


def test_every_word_list_is_stored_or_said_not_to_be():
    lists = {name for name, value in vars(vocabulary).items() if isinstance(value, tuple)}
    stored = {name for name in lists if any(vars(vocabulary)[name] == words for _, words in WORDS_OF_COLUMN)}

    assert lists - stored == NOT_STORED


def test_the_imported_schema_is_ours():
    """A package called schema is also published by others."""
    assert schema.__doc__.startswith("The words both processes speak")
