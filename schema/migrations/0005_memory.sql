-- Memory: what an agent was told, kept word for word, and the index by which it is found again.

BEGIN;

-- One row for each memory of any kind; what only one kind has stands in that kind's table.
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    memory_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('conversation', 'fact', 'episode', 'workflow')),
    text_digest TEXT NOT NULL,
    topic TEXT,
    -- Hidden from recall by a newer memory, and kept.
    superseded_by TEXT REFERENCES memories (memory_id) ON DELETE SET NULL,
    created_at TEXT NOT NULL,
    -- What is searched and previewed: built from the parts, never rewritten by a model. It stands last, because what
    -- stands behind a long text is read through all of its pages.
    text TEXT NOT NULL CHECK (length(text) > 0)
) STRICT;

CREATE INDEX memories_of_digest ON memories (text_digest);
CREATE INDEX memories_of_kind ON memories (kind, seq);
CREATE INDEX memories_of_time ON memories (created_at);
CREATE INDEX memories_of_topic ON memories (topic) WHERE topic IS NOT NULL;
CREATE INDEX memories_superseded ON memories (superseded_by) WHERE superseded_by IS NOT NULL;

-- A few hashes of each memory's word pairs: two memories that say nearly the same have some in common.
CREATE TABLE memory_sketches (
    hash INTEGER NOT NULL,
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    PRIMARY KEY (hash, memory_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX memory_sketches_of_memory ON memory_sketches (memory_seq);

CREATE TABLE conversations (
    memory_id TEXT PRIMARY KEY REFERENCES memories (memory_id) ON DELETE CASCADE,
    -- JSON [{role, content}], as it was said.
    messages TEXT NOT NULL,
    response TEXT NOT NULL,
    model TEXT,
    rating INTEGER CHECK (rating BETWEEN 1 AND 5),
    comment TEXT,
    rated_at TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    used_for_training INTEGER NOT NULL DEFAULT 0 CHECK (used_for_training IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_of_rating ON conversations (rating, rated_at) WHERE rating IS NOT NULL;

CREATE TABLE rating_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    memory_id TEXT NOT NULL REFERENCES memories (memory_id) ON DELETE CASCADE,
    rating INTEGER NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX rating_events_of_memory ON rating_events (memory_id);

CREATE TRIGGER rating_events_are_kept BEFORE UPDATE ON rating_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- The history of a fact is its rows; the one without `valid_until` holds.
CREATE TABLE facts (
    memory_id TEXT PRIMARY KEY REFERENCES memories (memory_id) ON DELETE CASCADE,
    category TEXT NOT NULL,
    key TEXT NOT NULL,
    -- JSON, so that a number stays a number.
    value TEXT NOT NULL,
    confidence REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    source TEXT,
    valid_from TEXT NOT NULL,
    valid_until TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX facts_that_hold ON facts (category, key) WHERE valid_until IS NULL;
CREATE INDEX facts_of_key ON facts (category, key, valid_from);

CREATE TABLE episodes (
    memory_id TEXT PRIMARY KEY REFERENCES memories (memory_id) ON DELETE CASCADE,
    event_type TEXT NOT NULL,
    description TEXT NOT NULL,
    context TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE INDEX episodes_of_type ON episodes (event_type);

CREATE TABLE workflows (
    memory_id TEXT PRIMARY KEY REFERENCES memories (memory_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    -- JSON [step], in order.
    steps TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT, WITHOUT ROWID;

-- By name, so that it outlives a new version.
CREATE TABLE workflow_uses (
    name TEXT PRIMARY KEY,
    use_count INTEGER NOT NULL CHECK (use_count >= 0)
) STRICT, WITHOUT ROWID;

-- What was forgotten, without its text.
CREATE TABLE forget_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    memory_id TEXT NOT NULL,
    reason TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER forget_events_are_kept BEFORE UPDATE ON forget_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- Words of each memory that recall may find; CJK as character bigrams. No second copy of the text is kept.
CREATE VIRTUAL TABLE memory_words USING fts5(
    words, content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Encoders that made vectors; those of different encoders are never compared.
CREATE TABLE encoders (
    encoder INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    dimension INTEGER NOT NULL CHECK (dimension > 0),
    -- The one that answered last.
    serves INTEGER NOT NULL DEFAULT 0 CHECK (serves IN (0, 1))
) STRICT;

CREATE UNIQUE INDEX encoder_that_serves ON encoders (serves) WHERE serves = 1;

-- Memories that wait for their vectors of the encoder that serves.
CREATE TABLE memories_waiting (
    memory_seq INTEGER PRIMARY KEY REFERENCES memories (seq) ON DELETE CASCADE
) STRICT;

-- One bit for each dimension: the first pass reads only these. A long memory has several parts.
CREATE TABLE memory_bits (
    encoder INTEGER NOT NULL REFERENCES encoders (encoder),
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (encoder, memory_seq, part)
) STRICT, WITHOUT ROWID;

CREATE INDEX memory_bits_of_memory ON memory_bits (memory_seq);

CREATE TABLE memory_vectors (
    encoder INTEGER NOT NULL REFERENCES encoders (encoder),
    memory_seq INTEGER NOT NULL REFERENCES memories (seq) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    -- (D,) float32, little endian, of unit length.
    vector BLOB NOT NULL,
    PRIMARY KEY (encoder, memory_seq, part)
) STRICT;

CREATE INDEX memory_vectors_of_memory ON memory_vectors (memory_seq);

PRAGMA user_version = 5;
COMMIT;
