-- Trainings of a chat model that are worth a person's decision: which exchanges, found when. Nothing starts by itself.

BEGIN;

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
COMMIT;
