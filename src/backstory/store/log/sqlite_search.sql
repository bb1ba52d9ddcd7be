-- The search index of the SQLite log, in a file of its own beside it (`sqlite_search.py`). All of it can be made again
-- from the log.

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

-- A piece becomes one segment, not several, and segments are merged eight at a time: half as much writing as SQLite's
-- own settings make of it. A search looks into some ten segments.
INSERT INTO words (words, rank) VALUES ('hashsize', 16777216);

INSERT INTO words (words, rank) VALUES ('automerge', 8);

-- What a deletion is about to take out of the log: it is not, or no longer, in the index.
CREATE TABLE removed (position INTEGER PRIMARY KEY) STRICT;

-- 'indexed': the position up to which everything is in it; 'rules' that made it; 'generation' of the log it belongs to.
CREATE TABLE index_state (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

INSERT INTO index_state VALUES ('indexed', '0');
