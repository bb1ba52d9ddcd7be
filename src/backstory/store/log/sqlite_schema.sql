-- The activity log on SQLite, as the first schema has it. Publishing writes `activities`, its timeline index and
-- `event_keys`. `postings` and `words` have moved into a file of their own since (`sqlite_search.sql`, migration 0004).

CREATE TABLE activities (
    position    INTEGER PRIMARY KEY,  -- order of arrival; the first 60 bits of the public id
    tail        INTEGER NOT NULL,     -- the other 62 bits of the public id
    contact_key BLOB    NOT NULL,     -- whose it was when it came (its home); never an integer id
    timestamp   INTEGER NOT NULL,     -- when it happened, microseconds since the epoch
    source      TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    object_type TEXT,
    actor_type  TEXT    NOT NULL,
    body        BLOB    NOT NULL,     -- the JSON that is answered, without id and contact_id
    origin      BLOB    NOT NULL      -- the identifiers as sent, matched_by, the key that published it
) STRICT;

-- The position is part of it as the row's key: a covering index for the order of every timeline.
CREATE INDEX activities_timeline ON activities (contact_key, timestamp);

-- What recognises a replay. The rows of deleted activities stay: a replay of those stores nothing either.
CREATE TABLE event_keys (
    hash     BLOB    NOT NULL PRIMARY KEY,  -- half a SHA-256: keys come in random order, so they are kept small
    position INTEGER NOT NULL,
    digest   BLOB    NOT NULL,              -- half the SHA-256 of the first one's canonical JSON
    expires  INTEGER                        -- Idempotency-Key headers last 24 hours, activity ids for ever
) STRICT, WITHOUT ROWID;

CREATE INDEX event_keys_expires ON event_keys (expires) WHERE expires IS NOT NULL;

-- Deletions take part in the order of arrival, so that a viewer who was away hears of them.
CREATE TABLE deletions (
    position    INTEGER PRIMARY KEY,
    contact_key BLOB    NOT NULL,
    deleted     INTEGER NOT NULL UNIQUE,
    tail        INTEGER NOT NULL
) STRICT;

CREATE INDEX deletions_contact ON deletions (contact_key, position);

-- What is left of the activities of erased contacts: the ids that replays of them are answered.
CREATE TABLE erased (
    position INTEGER PRIMARY KEY,
    tail     INTEGER NOT NULL
) STRICT;

-- term is a 64-bit hash of a kind and a value (name, source, object type, all); readers compare the value itself. What
-- has few values is here, in order of time; references have nearly as many as there are activities and would be written
-- all over it, so they stand among the words.
CREATE TABLE postings (
    term      INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (term, timestamp, position)
) STRICT, WITHOUT ROWID;

-- Words come already folded (model/words.py); "@" introduces a contact's key, so that one contact's words are found,
-- and the hash of a reference.
CREATE VIRTUAL TABLE words USING fts5 (
    folded, content='', columnsize=0, detail=none, tokenize="ascii tokenchars '@'"
);

INSERT INTO words (words, rank) VALUES ('secure-delete', 1);

CREATE TABLE log_state (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

INSERT INTO log_state VALUES ('indexed', '0');

INSERT INTO log_state VALUES ('generation', lower(hex(randomblob(6))));
