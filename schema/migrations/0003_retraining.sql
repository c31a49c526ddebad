-- Retraining: jobs, the versions they made, and which version serves.

BEGIN;

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('nli_lora')),
    state TEXT NOT NULL CHECK (state IN (
        'planned', 'awaiting_approval', 'preparing', 'training', 'evaluating', 'gated', 'candidate', 'champion',
        'retired', 'cancelled', 'failed', 'interrupted'
    )),
    base_model TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    recipe_name TEXT NOT NULL,
    samples_sha256 TEXT NOT NULL,
    samples INTEGER NOT NULL CHECK (samples >= 0),
    -- The champion when the job began, where it fits the base: the gate compares with it. NULL: the base alone.
    champion_version INTEGER,
    -- Why it failed, or what the person should know.
    problem TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- At most one job of a kind is under way.
CREATE UNIQUE INDEX jobs_under_way ON jobs (kind)
WHERE state IN ('planned', 'awaiting_approval', 'preparing', 'training', 'evaluating', 'gated');

CREATE TABLE job_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id),
    state TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER jobs_begin AFTER INSERT ON jobs
BEGIN
    INSERT INTO job_events (job_id, state, created_at) VALUES (new.job_id, new.state, new.created_at);
END;

CREATE TRIGGER jobs_go_on AFTER UPDATE OF state ON jobs WHEN new.state <> old.state
BEGIN
    INSERT INTO job_events (job_id, state, created_at) VALUES (new.job_id, new.state, new.updated_at);
END;

-- Which reviews a finished job learned from, and which it was tested on; written together with its version.
CREATE TABLE job_samples (
    job_id TEXT NOT NULL REFERENCES jobs (job_id),
    review_id TEXT NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('train', 'validation', 'holdout')),
    PRIMARY KEY (job_id, review_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_samples_of_review ON job_samples (review_id);

CREATE TABLE model_versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('nli_lora')),
    version INTEGER NOT NULL CHECK (version >= 1),
    job_id TEXT NOT NULL UNIQUE REFERENCES jobs (job_id),
    -- Inside the adapters root.
    adapter_path TEXT NOT NULL UNIQUE,
    adapter_sha256 TEXT NOT NULL,
    base_model TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    parent_version INTEGER,
    samples_sha256 TEXT NOT NULL,
    samples INTEGER NOT NULL,
    recipe_name TEXT NOT NULL,
    recipe TEXT NOT NULL,
    -- JSON: the hold-out scores of base and candidate (the champion's are in the report); the gate's conditions.
    scores TEXT NOT NULL,
    gate TEXT NOT NULL,
    gate_passed INTEGER NOT NULL CHECK (gate_passed IN (0, 1)),
    created_at TEXT NOT NULL,
    UNIQUE (kind, version)
) STRICT;

CREATE TRIGGER model_versions_are_kept BEFORE UPDATE ON model_versions
BEGIN
    SELECT RAISE(ABORT, 'a version is immutable');
END;

CREATE TRIGGER model_versions_stay BEFORE DELETE ON model_versions
BEGIN
    SELECT RAISE(ABORT, 'version numbers are never reused');
END;

-- The files of these versions were deleted; the record stays.
CREATE TABLE pruned_versions (
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (kind, version),
    FOREIGN KEY (kind, version) REFERENCES model_versions (kind, version)
) STRICT, WITHOUT ROWID;

-- One champion of a kind: the primary key keeps it so. A missing champion is the base alone.
CREATE TABLE aliases (
    kind TEXT NOT NULL,
    alias TEXT NOT NULL CHECK (alias IN ('champion', 'candidate', 'previous')),
    version INTEGER NOT NULL,
    PRIMARY KEY (kind, alias),
    FOREIGN KEY (kind, version) REFERENCES model_versions (kind, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE alias_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('activate', 'rollback')),
    -- NULL: the base alone.
    from_version INTEGER,
    to_version INTEGER,
    forced INTEGER NOT NULL CHECK (forced IN (0, 1)),
    reason TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER alias_events_are_kept BEFORE UPDATE ON alias_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER alias_events_stay BEFORE DELETE ON alias_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

PRAGMA user_version = 3;
COMMIT;
