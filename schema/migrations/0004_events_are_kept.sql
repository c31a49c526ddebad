-- What was decided about a claim, a review or a job is history, like the reviews themselves.

BEGIN;

CREATE TRIGGER claim_events_are_kept BEFORE UPDATE ON claim_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER review_retractions_are_kept BEFORE UPDATE ON review_retractions
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

CREATE TRIGGER job_events_are_kept BEFORE UPDATE ON job_events
BEGIN
    SELECT RAISE(ABORT, 'append-only');
END;

PRAGMA user_version = 4;
COMMIT;
