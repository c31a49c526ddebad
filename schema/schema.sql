-- The database as the migrations build it, to be read in one piece; nothing executes it but the test that proves it equal.
-- One file for each user. Times are UTC, ISO 8601, and sort as text; ids are a word and twelve hexadecimal digits.


-- Evidence and corrections

-- What somebody says is so. The digest ignores spacing and Unicode spelling.
CREATE TABLE claims (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    claim_id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL CHECK (length(text) > 0),
    text_digest TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'adopted' CHECK (status IN ('adopted', 'rejected')),
    created_at TEXT NOT NULL
) STRICT;

-- Why a claim was rejected or restored, and by whom.
CREATE TABLE claim_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    claim_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('adopted', 'rejected')),
    reason TEXT,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER claim_events_are_kept BEFORE UPDATE ON claim_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- Pieces of text with the source they came from.
CREATE TABLE fragments (
    fragment_id TEXT PRIMARY KEY,
    text TEXT NOT NULL CHECK (length(text) > 0),
    text_digest TEXT NOT NULL,
    -- Empty rather than NULL, so that the same text without a source is found again by the UNIQUE below.
    source_url TEXT NOT NULL DEFAULT '',
    domain TEXT,
    page_id TEXT,
    created_at TEXT NOT NULL,
    UNIQUE (text_digest, source_url)
) STRICT;

-- From a fragment to a claim: judged by the model (nli), or only linked (cites).
CREATE TABLE edges (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    edge_id TEXT NOT NULL UNIQUE,
    claim_id TEXT NOT NULL REFERENCES claims (claim_id) ON DELETE CASCADE,
    fragment_id TEXT NOT NULL REFERENCES fragments (fragment_id),
    kind TEXT NOT NULL CHECK (kind IN ('nli', 'cites')),
    pair_digest TEXT NOT NULL,
    -- What the model said: written once, kept forever (trigger below).
    predicted_label TEXT CHECK (predicted_label IN ('supports', 'refutes', 'neutral')),
    predicted_confidence REAL CHECK (predicted_confidence BETWEEN 0 AND 1),
    -- JSON {label: probability}, before any temperature.
    predicted_probabilities TEXT,
    base_model TEXT,
    fingerprint TEXT,
    adapter TEXT NOT NULL DEFAULT '',
    calibration_version INTEGER,
    truncated INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1)),
    representation BLOB,
    -- What counts now.
    label TEXT CHECK (label IN ('supports', 'refutes', 'neutral')),
    confidence REAL CHECK (confidence BETWEEN 0 AND 1),
    label_source TEXT CHECK (label_source IN ('model', 'review', 'memory')),
    memory_review_id TEXT,
    -- Uniform in [0, 1), drawn once: the random audit takes edges in this order.
    audit_draw REAL NOT NULL CHECK (audit_draw >= 0 AND audit_draw < 1),
    created_at TEXT NOT NULL,
    UNIQUE (claim_id, fragment_id, kind),
    CHECK ((kind = 'nli') = (predicted_label IS NOT NULL)),
    CHECK ((kind = 'nli') = (label IS NOT NULL)),
    CHECK ((label IS NULL) = (label_source IS NULL))
) STRICT;

CREATE INDEX edges_of_claim ON edges (claim_id);
CREATE INDEX edges_of_pair ON edges (pair_digest);
CREATE INDEX edges_of_memory ON edges (memory_review_id) WHERE memory_review_id IS NOT NULL;

CREATE TRIGGER edges_keep_the_prediction
BEFORE UPDATE OF predicted_label, predicted_confidence, predicted_probabilities, base_model,
    fingerprint, adapter, calibration_version, truncated, audit_draw ON edges
BEGIN
    SELECT RAISE(ABORT, 'a prediction is immutable');
END;

-- Every review, also "the model was right": the metrics need the denominator. Texts and prediction
-- are snapshots, so that a review outlives its edge.
CREATE TABLE nli_corrections (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    review_id TEXT NOT NULL UNIQUE,
    edge_id TEXT NOT NULL,
    claim_id TEXT NOT NULL,
    pair_digest TEXT NOT NULL,
    premise TEXT NOT NULL,
    hypothesis TEXT NOT NULL,
    source_url TEXT NOT NULL DEFAULT '',
    domain TEXT,
    page_id TEXT,
    predicted_label TEXT NOT NULL CHECK (predicted_label IN ('supports', 'refutes', 'neutral')),
    predicted_confidence REAL NOT NULL CHECK (predicted_confidence BETWEEN 0 AND 1),
    predicted_probabilities TEXT NOT NULL,
    base_model TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    calibration_version INTEGER NOT NULL,
    truncated INTEGER NOT NULL CHECK (truncated IN (0, 1)),
    previous_label TEXT NOT NULL CHECK (previous_label IN ('supports', 'refutes', 'neutral')),
    correct_label TEXT NOT NULL CHECK (correct_label IN ('supports', 'refutes', 'neutral')),
    is_correction INTEGER NOT NULL CHECK (is_correction IN (0, 1)),
    reason TEXT,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    selected_by TEXT NOT NULL CHECK (selected_by IN ('uncertain', 'random', 'choice')),
    selection_probability REAL CHECK (selection_probability > 0 AND selection_probability <= 1),
    audit_draw REAL NOT NULL CHECK (audit_draw >= 0 AND audit_draw < 1),
    created_at TEXT NOT NULL,
    CHECK (is_correction = (correct_label <> predicted_label))
) STRICT;

CREATE INDEX nli_corrections_of_edge ON nli_corrections (edge_id);
CREATE INDEX nli_corrections_of_claim ON nli_corrections (claim_id);
CREATE INDEX nli_corrections_of_pair ON nli_corrections (pair_digest, fingerprint, adapter, seq);

CREATE TRIGGER nli_corrections_are_kept BEFORE UPDATE ON nli_corrections
BEGIN
    SELECT RAISE(ABORT, 'a review is append-only; retract it instead');
END;

-- Taking a review back is a second event.
CREATE TABLE review_retractions (
    review_id TEXT PRIMARY KEY REFERENCES nli_corrections (review_id),
    reason TEXT,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER review_retractions_are_kept BEFORE UPDATE ON review_retractions
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- Reviews that stand.
CREATE VIEW active_reviews AS
SELECT * FROM nli_corrections
WHERE NOT EXISTS (
    SELECT 1 FROM review_retractions WHERE review_retractions.review_id = nli_corrections.review_id
);

-- The last word on each pair a model judged: what the metrics and the training count.
CREATE VIEW current_reviews AS
SELECT * FROM active_reviews AS review
WHERE NOT EXISTS (
    SELECT 1 FROM active_reviews AS later
    WHERE later.pair_digest = review.pair_digest AND later.fingerprint = review.fingerprint
        AND later.adapter = review.adapter AND later.seq > review.seq
);

-- How similar corrections are found: one vector for each review and model, refilled when the model changes.
CREATE TABLE correction_vectors (
    review_id TEXT NOT NULL REFERENCES nli_corrections (review_id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (review_id, fingerprint, adapter)
) STRICT, WITHOUT ROWID;

-- How an edge came up for review, and with what chance; the newest offer of an edge counts.
CREATE TABLE review_offers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    edge_id TEXT NOT NULL,
    selected_by TEXT NOT NULL CHECK (selected_by IN ('uncertain', 'random', 'choice')),
    selection_probability REAL CHECK (selection_probability > 0 AND selection_probability <= 1),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX review_offers_of_edge ON review_offers (edge_id);

-- Sources a person has blocked or unblocked; which rule decides is computed, see lyra_mcp/domain/domain_rules.py.
CREATE TABLE domain_rules (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id TEXT NOT NULL UNIQUE,
    pattern TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('block', 'unblock')),
    reason TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT;

-- The record of the rules, clearing included.
CREATE TABLE domain_rule_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id TEXT,
    pattern TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('block', 'unblock', 'clear')),
    reason TEXT NOT NULL,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER domain_rule_events_are_kept BEFORE UPDATE ON domain_rule_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER domain_rule_events_stay BEFORE DELETE ON domain_rule_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- A repeated write with the same key answers with the first result instead of writing twice.
CREATE TABLE idempotency_keys (
    tool TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    result TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (tool, idempotency_key)
) STRICT, WITHOUT ROWID;


-- Calibration

-- Fitted temperatures, numbered from 1 for each model and adapter; no number is reused.
CREATE TABLE calibrations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    temperature REAL NOT NULL CHECK (temperature > 0),
    samples INTEGER NOT NULL CHECK (samples > 0),
    -- Reviews up to this one were fitted on: evaluations on them are in-sample.
    review_seq_max INTEGER NOT NULL,
    -- Cross-validated mean negative log-likelihood in nats, and the gain with its 95 % interval.
    nll_before REAL NOT NULL,
    nll_after REAL NOT NULL,
    gain REAL NOT NULL,
    gain_low REAL NOT NULL,
    gain_high REAL NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (fingerprint, adapter, version)
) STRICT;

CREATE TRIGGER calibrations_are_kept BEFORE UPDATE ON calibrations
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- Which version serves: the newest event. Version 0 is the temperature the model was shipped with.
CREATE TABLE calibration_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('fit', 'rollback')),
    from_version INTEGER NOT NULL,
    to_version INTEGER NOT NULL,
    reason TEXT,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER calibration_events_are_kept BEFORE UPDATE ON calibration_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- How honest the confidences were, each time somebody measured.
CREATE TABLE calibration_evaluations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    evaluation_id TEXT NOT NULL UNIQUE,
    base_model TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    calibration_version INTEGER NOT NULL,
    temperature REAL NOT NULL,
    n INTEGER NOT NULL CHECK (n > 0),
    brier REAL NOT NULL,
    -- The whole report as the tool returned it, bins included.
    report TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER calibration_evaluations_are_kept BEFORE UPDATE ON calibration_evaluations
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

-- The model each judgement was served by, so that calibrations can be looked up while no worker runs.
CREATE TABLE served_models (
    fingerprint TEXT NOT NULL,
    adapter TEXT NOT NULL,
    base_model TEXT NOT NULL,
    -- The temperature it was shipped with: calibration version 0.
    temperature REAL NOT NULL CHECK (temperature > 0),
    PRIMARY KEY (fingerprint, adapter)
) STRICT, WITHOUT ROWID;


-- Retraining

-- A run of training, from plan to retirement; its files lie in a folder of its own.
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
    -- What served when the job began: the gate compares with it. NULL: the base alone.
    champion_version INTEGER,
    -- Why it failed, or what the person should know.
    problem TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

-- At most one job of a kind is under way.
CREATE UNIQUE INDEX jobs_under_way ON jobs (kind)
WHERE state IN ('planned', 'awaiting_approval', 'preparing', 'training', 'evaluating', 'gated');

-- Every state a job was in; the triggers below write it.
CREATE TABLE job_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (job_id),
    state TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER job_events_are_kept BEFORE UPDATE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

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

-- What training made, numbered from 1 for each kind; no number is reused.
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
    -- JSON: the hold-out scores of base, champion and candidate; the gate's conditions.
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

-- How the champion came to be, and went.
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

PRAGMA user_version = 4;
