-- Trust: what the person agreed to, what was done with their data, and their own patterns of what is private.

BEGIN;

-- The newest event of a purpose (and provider) holds.
CREATE TABLE consent_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    purpose TEXT NOT NULL CHECK (purpose IN ('store', 'learn_locally', 'send', 'federate')),
    -- Who it would be sent to; empty for the purposes that stay here.
    provider TEXT NOT NULL DEFAULT '',
    granted INTEGER NOT NULL CHECK (granted IN (0, 1)),
    reason TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX consent_events_of_purpose ON consent_events (purpose, provider, seq);

CREATE TRIGGER consent_events_are_kept BEFORE UPDATE ON consent_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER consent_events_stay BEFORE DELETE ON consent_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- Ids and counts, no texts; each row's mac covers the one before it, and the head is also kept outside.
CREATE TABLE audit_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    actor TEXT NOT NULL,
    -- JSON of ids and counts.
    detail TEXT NOT NULL,
    created_at TEXT NOT NULL,
    mac TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_log_is_kept BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER audit_log_stays BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- The person's own patterns of what is private, run through a linear-time engine.
CREATE TABLE privacy_patterns (
    name TEXT PRIMARY KEY,
    pattern TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How long memories are kept; no row: for ever.
CREATE TABLE retention_rules (
    memory_kind TEXT PRIMARY KEY CHECK (memory_kind IN ('conversation', 'fact', 'episode', 'workflow')),
    days INTEGER NOT NULL CHECK (days >= 1),
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A forgotten memory's words are overwritten at once, and not when segments are merged.
INSERT INTO memory_words (memory_words, rank) VALUES ('secure-delete', 1);

PRAGMA user_version = 7;
COMMIT;
