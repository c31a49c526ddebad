-- What makes answers personal: preferences and their evidence, intents and their classifier, response templates.

BEGIN;

-- What the person said explicitly, as a history; the newest event of a key holds, `reset` means none.
CREATE TABLE preference_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    -- JSON; NULL: back to what was learned.
    value TEXT,
    change TEXT NOT NULL CHECK (change IN ('set', 'reset', 'undo')),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX preference_events_of_key ON preference_events (key, seq);

CREATE TRIGGER preference_events_are_kept BEFORE UPDATE ON preference_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- One observation about one dimension: a rating credited to the setting in force, or a hint in the words.
CREATE TABLE preference_evidence (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    -- Above zero speaks for the value, below zero against it.
    weight REAL NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('rating', 'hint')),
    -- The conversation it was seen in; the evidence goes with it.
    memory_id TEXT REFERENCES memories (memory_id) ON DELETE CASCADE,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX preference_evidence_of_key ON preference_evidence (key, created_at);
CREATE INDEX preference_evidence_of_memory ON preference_evidence (memory_id);

CREATE TABLE intent_examples (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    example_id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL CHECK (length(text) > 0),
    -- Texts that differ only in white space are one; the newest example of a text says its intent.
    text_digest TEXT NOT NULL,
    intent TEXT NOT NULL,
    -- The answer that was given, kept as a template when it was rated well.
    response TEXT,
    rating INTEGER CHECK (rating BETWEEN 1 AND 5),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX intent_examples_of_text ON intent_examples (text_digest);

-- What the encoder of this fingerprint makes of an example: (D,) float32, little endian, of unit length.
CREATE TABLE intent_vectors (
    example_id TEXT PRIMARY KEY REFERENCES intent_examples (example_id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    vector BLOB NOT NULL
) STRICT;

-- Trained classifiers: only added, the newest predicts, with the encoder it was trained on.
CREATE TABLE intent_models (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    encoder TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    -- The newest example that was there when it was trained.
    example_seq_max INTEGER NOT NULL,
    -- JSON: intents, temperature, threshold, metrics.
    facts TEXT NOT NULL,
    -- safetensors: weight (classes, D) and bias (classes,) float32.
    weights BLOB NOT NULL,
    examples INTEGER NOT NULL CHECK (examples > 0),
    created_at TEXT NOT NULL
) STRICT;

PRAGMA user_version = 6;
COMMIT;
