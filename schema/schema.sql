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


-- Memory

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


-- Personalization

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


-- Trust

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

-- Trainings of a chat model that are worth a person's decision: which exchanges, found when. Nothing starts by itself.

CREATE TABLE training_proposals (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    proposal_id TEXT NOT NULL UNIQUE,
    threshold INTEGER NOT NULL CHECK (threshold >= 1),
    min_rating INTEGER NOT NULL CHECK (min_rating BETWEEN 1 AND 5),
    created_at TEXT NOT NULL
) STRICT;

-- An exchange is proposed once, so that the next proposal needs as many new ones; NULL: it is never proposed, because a
-- program's own filter said so.
CREATE TABLE proposed_conversations (
    memory_id TEXT PRIMARY KEY REFERENCES conversations (memory_id) ON DELETE CASCADE,
    proposal_id TEXT REFERENCES training_proposals (proposal_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX conversations_of_proposal ON proposed_conversations (proposal_id);

PRAGMA user_version = 8;
