-- The activity log on PostgreSQL. Publishing writes `activities` and `event_keys`, in one call of `append_activities`;
-- `activity_index` is built from the log behind the watermark in `log_state`, in bulk, a moment later.
-- Statements are separated by a blank line.

CREATE TABLE activities (
    position    bigint PRIMARY KEY,  -- order of arrival; the first 60 bits of the public id
    tail        bigint NOT NULL,     -- the other 62 bits of the public id
    contact_key bytea  NOT NULL,     -- whose it was when it came (its home); never an integer id
    timestamp   bigint NOT NULL,     -- when it happened, microseconds since the epoch
    source      text   NOT NULL,
    name        text   NOT NULL,
    object_type text,
    actor_type  text   NOT NULL,
    body        bytea  NOT NULL,     -- the JSON that is answered, without id and contact_id
    origin      bytea  NOT NULL      -- the identifiers as sent, matched_by, the key that published it
);

-- The order of every timeline. What a page answers is in the row itself, so there is nothing to include.
CREATE INDEX activities_timeline ON activities (contact_key, timestamp, position);

-- What recognises a replay. The rows of deleted activities stay: a replay of those stores nothing either.
CREATE TABLE event_keys (
    hash     bytea  PRIMARY KEY,
    position bigint NOT NULL,
    digest   bytea  NOT NULL,        -- SHA-256 of the first one's canonical JSON
    expires  bigint                  -- Idempotency-Key headers last 24 hours, activity ids for ever
);

CREATE INDEX event_keys_expires ON event_keys (expires) WHERE expires IS NOT NULL;

-- Deletions take part in the order of arrival, so that a viewer who was away hears of them.
CREATE TABLE deletions (
    position    bigint PRIMARY KEY,
    contact_key bytea  NOT NULL,
    deleted     bigint NOT NULL UNIQUE,
    tail        bigint NOT NULL
);

CREATE INDEX deletions_contact ON deletions (contact_key, position);

-- What finds look into. A term is a 64-bit hash of a kind and a value; readers compare the value itself.
CREATE TABLE activity_index (
    position    bigint PRIMARY KEY,
    timestamp   bigint NOT NULL,
    name_term   bigint NOT NULL,
    source_term bigint NOT NULL,
    type_term   bigint,
    terms       bigint[] NOT NULL    -- words, references, and the contact, so that one contact's words are found
);

CREATE INDEX activity_index_all ON activity_index (timestamp, position);

CREATE INDEX activity_index_name ON activity_index (name_term, timestamp, position);

CREATE INDEX activity_index_source ON activity_index (source_term, timestamp, position);

CREATE INDEX activity_index_type ON activity_index (type_term, timestamp, position) WHERE type_term IS NOT NULL;

CREATE INDEX activity_index_terms ON activity_index USING gin (terms);

CREATE TABLE log_state (name text PRIMARY KEY, value text NOT NULL);

INSERT INTO log_state VALUES ('indexed', '0'), ('generation', substr(md5(random()::text || clock_timestamp()), 1, 12));

-- The last position that was given out. A sequence, because every snapshot sees its newest value.
CREATE SEQUENCE log_position MINVALUE 0 START 0;

-- Give out `count` positions behind all before, the first one answered. Whoever calls it has the log to itself until
-- the transaction ends, so positions become visible in their order.
CREATE FUNCTION take_positions(count integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(4870020391872134145);
    SELECT greatest(last_value + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 12)
      INTO first FROM log_position;
    PERFORM setval('log_position', first + count - 1);
    RETURN first;
END $$;

-- Said where what a publication relied on was changed by somebody else since it was read: it is done again from there.
CREATE FUNCTION raise_raced() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'somebody else was faster' USING ERRCODE = 'BS001';
END $$;

-- Insert rows (JSON objects with the same keys) that are not there yet; how many those were.
CREATE FUNCTION insert_absent(target regclass, sent json) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    names text := (SELECT string_agg(quote_ident(name), ', ') FROM json_object_keys(sent -> 0) name);
    inserted bigint;
BEGIN
    EXECUTE format(
        'INSERT INTO %1$s (%2$s) SELECT %2$s FROM json_populate_recordset(NULL::%1$s, $1) ON CONFLICT DO NOTHING',
        target, names) USING sent;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    RETURN inserted;
END $$;

-- Who stands for a contact: itself, or whom it was merged into.
CREATE FUNCTION survivor_of(contact bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    above bigint;
BEGIN
    LOOP
        SELECT merged_into INTO above FROM contacts WHERE id = contact;
        IF above IS NULL THEN
            RETURN contact;
        END IF;
        contact := above;
    END LOOP;
END $$;

-- Write what a resolution decided (store/records/postgres_resolve.py). Called with the log's lock held.
CREATE FUNCTION write_contacts(plan json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    renamed bigint;
BEGIN
    PERFORM raise_raced() FROM json_each_text(plan -> 'numbers') AS read (number, holders)
      WHERE holders::bigint <> (SELECT count(*) FROM (
            SELECT FROM contact_phones WHERE contact_phones.number = read.number LIMIT (plan ->> 'most')::bigint) AS held);
    DELETE FROM name_words USING json_populate_recordset(NULL::contacts, plan -> 'names') AS sent
     WHERE name_words.object = 'contact' AND name_words.record_id = sent.id;
    PERFORM insert_absent(each.key::regclass, each.value) FROM json_each(plan -> 'tables') AS each
      WHERE each.key <> 'identifiers';
    IF plan -> 'tables' -> 'identifiers' IS NOT NULL THEN
        PERFORM raise_raced() WHERE json_array_length(plan -> 'tables' -> 'identifiers')
            <> insert_absent('identifiers', plan -> 'tables' -> 'identifiers');
    END IF;
    UPDATE contacts
       SET email = coalesce(contacts.email, sent.email), phone = coalesce(contacts.phone, sent.phone),
           mobile = coalesce(contacts.mobile, sent.mobile),
           twitter_id = coalesce(contacts.twitter_id, sent.twitter_id),
           facebook_id = coalesce(contacts.facebook_id, sent.facebook_id),
           unique_external_id = coalesce(contacts.unique_external_id, sent.unique_external_id),
           updated_at = sent.updated_at
      FROM json_populate_recordset(NULL::contacts, plan -> 'fills') AS sent WHERE contacts.id = sent.id;
    UPDATE contacts SET name = sent.name, name_key = sent.name_key, named = true, updated_at = sent.updated_at
      FROM json_populate_recordset(NULL::contacts, plan -> 'names') AS sent
     WHERE contacts.id = sent.id AND NOT contacts.named;
    GET DIAGNOSTICS renamed = ROW_COUNT;
    IF renamed <> json_array_length(plan -> 'names') THEN
        PERFORM raise_raced();
    END IF;
END $$;

-- Append rows in their order, and write the contacts that were found or made for them; the first one's position.
-- `relied_on` are the keys of the contacts that must still be there. The arrays behind it are the rows' columns.
CREATE FUNCTION append_activities(
    plan json, relied_on bytea[],
    tails bigint[], contact_keys bytea[], timestamps bigint[], sources text[], names text[], object_types text[],
    actor_types text[], bodies bytea[], origins bytea[], hashes bytea[], digests bytea[], expiries bigint[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint := take_positions(cardinality(tails));
    keys_sent bigint := cardinality(array_remove(hashes, NULL));
    keys_kept bigint;
BEGIN
    IF cardinality(relied_on) <> (SELECT count(*) FROM contacts WHERE key = ANY (relied_on)) THEN
        PERFORM raise_raced();
    END IF;
    IF plan IS NOT NULL THEN
        PERFORM write_contacts(plan);
    END IF;
    INSERT INTO activities
    SELECT first + number - 1, tail, contact_key, happened, source, name, object_type, actor_type, body, origin
      FROM unnest(tails, contact_keys, timestamps, sources, names, object_types, actor_types, bodies, origins)
      WITH ORDINALITY AS sent (tail, contact_key, happened, source, name, object_type, actor_type, body, origin, number);
    IF keys_sent > 0 THEN
        INSERT INTO event_keys
        SELECT sent.hash, first + number - 1, sent.digest, sent.expires
          FROM unnest(hashes, digests, expiries) WITH ORDINALITY AS sent (hash, digest, expires, number)
         WHERE sent.hash IS NOT NULL
            ON CONFLICT (hash) DO UPDATE  -- a key that has expired gives way
               SET position = excluded.position, digest = excluded.digest, expires = excluded.expires
             WHERE event_keys.expires <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
        GET DIAGNOSTICS keys_kept = ROW_COUNT;
        IF keys_kept <> keys_sent THEN
            PERFORM raise_raced();
        END IF;
    END IF;
    PERFORM pg_notify('backstory_log', '');
    RETURN first;
END $$;

-- Remove an activity; the position of its deletion, and whose it was. Nothing where there was none.
CREATE FUNCTION delete_activity(wanted bigint, wanted_tail bigint, OUT deletion bigint, OUT home bytea)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    deletion := take_positions(1);
    DELETE FROM activities WHERE position = wanted AND tail = wanted_tail RETURNING contact_key INTO home;
    IF FOUND THEN
        INSERT INTO deletions VALUES (deletion, home, wanted, wanted_tail);
        PERFORM pg_notify('backstory_log', '');
        RETURN NEXT;
    END IF;
END $$;

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
   FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
