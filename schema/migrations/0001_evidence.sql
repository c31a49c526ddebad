-- Evidence and corrections: what agents stored, what the model said of it, what people answered.

BEGIN;

CREATE TABLE claims (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    claim_id TEXT NOT NULL UNIQUE,
    text TEXT NOT NULL CHECK (length(text) > 0),
    text_digest TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL DEFAULT 'adopted' CHECK (status IN ('adopted', 'rejected')),
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE claim_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    claim_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('adopted', 'rejected')),
    reason TEXT,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    created_at TEXT NOT NULL
) STRICT;

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

CREATE TABLE review_retractions (
    review_id TEXT PRIMARY KEY REFERENCES nli_corrections (review_id),
    reason TEXT,
    source_type TEXT NOT NULL CHECK (source_type IN ('human', 'agent', 'code')),
    created_at TEXT NOT NULL
) STRICT;

CREATE VIEW active_reviews AS
SELECT * FROM nli_corrections
WHERE NOT EXISTS (
    SELECT 1 FROM review_retractions WHERE review_retractions.review_id = nli_corrections.review_id
);

-- The last word on each pair a model judged: what the metrics count. A training takes the last word on each pair,
-- whichever model it was about.
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

CREATE TABLE review_offers (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    edge_id TEXT NOT NULL,
    selected_by TEXT NOT NULL CHECK (selected_by IN ('uncertain', 'random', 'choice')),
    selection_probability REAL CHECK (selection_probability > 0 AND selection_probability <= 1),
    created_at TEXT NOT NULL
) STRICT;

CREATE INDEX review_offers_of_edge ON review_offers (edge_id);

CREATE TABLE domain_rules (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    rule_id TEXT NOT NULL UNIQUE,
    pattern TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('block', 'unblock')),
    reason TEXT NOT NULL,
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at TEXT NOT NULL
) STRICT;

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

PRAGMA user_version = 1;
COMMIT;
