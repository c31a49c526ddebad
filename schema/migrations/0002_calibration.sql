-- Calibration: versions are only added; which one serves is the newest event.

BEGIN;

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

-- Version 0 is the temperature the model was shipped with.
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

PRAGMA user_version = 2;
COMMIT;
