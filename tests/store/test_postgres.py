"""What PostgreSQL alone could get wrong: erasing at the moment of a publish, what is durable, what may not change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

from backstory.errors import Unavailable
from backstory.helpdesk.erasing import Eraser
from backstory.helpdesk.files import AttachmentFiles
from backstory.model.activity import Published
from backstory.store import postgres_database
from backstory.store.copying import NOBODY, KeptDeletion, RelationalLogCopy
from backstory.store.log import postgres_index
from backstory.store.postgres import PostgresStore
from backstory.store.postgres_database import MIGRATION_LOCK, SERVER, PostgresDatabase
from tests.servers.postgres import PostgresServer
from tests.store.support import ENTRY, indexed, publication, publish_one

EMAIL = "gone@example.com"


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    """A store of the test's own."""
    store = PostgresStore(postgres_url)
    store.open()
    await store.start(lambda: None)
    yield store
    await store.close()


@pytest.fixture
async def beside(postgres_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection beside the store's."""
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def until(connection: asyncpg.Connection[asyncpg.Record], query: str) -> Any:
    """Wait until a query answers something true, and give that."""
    async with asyncio.timeout(30):
        while not (found := await connection.fetchval(query)):
            await asyncio.sleep(0.005)  # between two looks
    return found


@asynccontextmanager
async def held_up(connection: asyncpg.Connection[asyncpg.Record], table: str) -> AsyncIterator[None]:
    """Hold up whoever writes into a table, for a while."""
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = '{}'::regclass AND NOT granted)"
WAITS_FOR_LOCK = """
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
                WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted
"""
ERASING = "SELECT EXISTS (SELECT FROM erasures)"
ERASED = "SELECT EXISTS (SELECT FROM erasures WHERE done_at IS NOT NULL)"


async def test_what_is_published_while_its_contact_is_erased_does_not_stay(
    store: PostgresStore, beside: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """It has found its contact there; before it is committed the contact is erased, and the eraser looks for it."""
    first = await publish_one(store, {"email": EMAIL})
    assert first.contact_id is not None
    eraser = Eraser(store.records, store.log, AttachmentFiles(tmp_path))
    async with held_up(beside, "event_keys"):  # the last that a publication writes
        publishing = asyncio.create_task(publish_one(store, {"email": EMAIL}, id="late"))
        await until(beside, WAITS.format("event_keys"))
        eraser.start()
        erasing = asyncio.create_task(eraser.erase(first.contact_id, force=True, entry=ENTRY))
        await until(beside, ERASING)
        await erasing  # answered, at the latest when its patience ends
    late = await publishing
    await until(beside, ERASED)
    await eraser.close()
    assert await beside.fetchval("SELECT count(*) FROM activities") == 0
    (again,) = await store.publish([publication({"email": EMAIL}, id="late")])
    assert isinstance(again, Published)
    assert (again.id, again.duplicate, again.contact_id) == (late.id, True, None)


async def test_a_name_that_comes_while_its_contact_is_erased_does_not_stay(
    store: PostgresStore, beside: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    first = await publish_one(store, {"email": EMAIL})
    assert first.contact_id is not None
    eraser = Eraser(store.records, store.log, AttachmentFiles(tmp_path))
    named = {"email": EMAIL, "name": "Rachel Green"}
    async with held_up(beside, "event_keys"):
        publishing = asyncio.create_task(publish_one(store, named, id="late"))
        await until(beside, WAITS.format("event_keys"))
        erasing = asyncio.create_task(eraser.erase(first.contact_id, force=True, entry=ENTRY))
        await until(
            beside, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)"
        )
    await publishing
    await erasing
    for table in ("contacts", "identifiers", "name_words"):
        assert await beside.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_the_index_goes_on_behind_a_failure_that_nobody_foresaw(
    store: PostgresStore, beside: asyncpg.Connection[asyncpg.Record]
) -> None:
    await publish_one(store)
    await indexed(store)
    mark = await beside.fetchval("DELETE FROM log_state WHERE name = 'indexed' RETURNING value")
    await publish_one(store)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(10):
            while not logs:
                await asyncio.sleep(0.005)  # between two looks
    assert logs[0]["event"] == "follower_failed"
    await beside.execute("INSERT INTO log_state VALUES ('indexed', $1)", mark)
    await indexed(store)


async def test_nobody_changes_the_audit_log(
    store: PostgresStore, beside: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Not even the product's own user, who owns the table."""
    await store.records.audit(ENTRY)
    for statement in (
        "UPDATE audit_log SET actor = 'nobody'",
        "UPDATE audit_log SET actor = 'nobody' WHERE false",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
    ):
        with pytest.raises(asyncpg.RaiseError, match="the audit log is append-only"):
            await beside.execute(statement)
    ((_, kept),) = await store.records.audit_page(None, 10)
    assert kept.actor == ENTRY.actor


async def test_changes_of_the_records_that_wait_for_their_turn_have_the_same_deadline(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server that hangs, whoever waits behind others is told as early as they are."""
    store = PostgresStore(own_postgres.create_database())
    store.open()
    monkeypatch.setattr(postgres_database, "WRITE_SECONDS", 1.0)
    own_postgres.pause()
    try:
        started = time.monotonic()
        calls = [store.records.audit(ENTRY) for _ in range(8 * postgres_database.WRITERS)]
        refused = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - started
    finally:
        own_postgres.resume()
    assert [type(each) for each in refused] == [Unavailable] * len(calls)
    assert took < 6  # to give up a connection takes two seconds, too
    await store.close()


@pytest.mark.parametrize(("when", "told"), [("IMMEDIATE", "nothing was kept"), ("DEFERRED", "not known")])
async def test_a_change_that_was_cut_off_says_whether_it_is_known(
    own_postgres: PostgresServer, when: str, told: str
) -> None:
    """Cut off before its commit nothing was kept; cut off in it, nobody here can tell."""
    url = own_postgres.create_database()
    store = PostgresStore(url)
    store.open()
    own_postgres.sql(
        "CREATE FUNCTION cut_off() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;"
        " CREATE CONSTRAINT TRIGGER cut_off AFTER INSERT ON audit_log"
        f" DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION cut_off()",
        url.rpartition("/")[2],
    )
    with pytest.raises(Unavailable, match=told):
        await store.records.audit(ENTRY)
    await store.close()


async def test_viewers_are_woken_again_after_the_listening_connection_was_lost(
    postgres_url: str, beside: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_index, "POLL_SECONDS", 60.0)  # what is heard is heard by NOTIFY
    monkeypatch.setattr(postgres_index, "RETRY_SECONDS", 0.01)
    heard = asyncio.Event()
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    for each in (store, other):
        each.open()
    await store.start(heard.set)
    listening = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name = '{SERVER}' AND query LIKE '%log_state%'"  # it has said LISTEN before
    )
    before = 0
    for number in range(3):
        before = await until(beside, f"{listening} AND pid <> {before}")
        heard.clear()
        await publish_one(other, {"email": EMAIL}, id=f"evt-{number}")
        async with asyncio.timeout(30):
            await heard.wait()
        await beside.execute("SELECT pg_terminate_backend($1)", before)
    await store.close()
    await other.close()


ALL_INDEXED = """
SELECT (SELECT array_agg(position ORDER BY position) FROM activities)
     = (SELECT array_agg(position ORDER BY position) FROM activity_index WHERE terms <> '{}')
"""


async def test_an_index_of_other_rules_is_made_anew(
    postgres_url: str, beside: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as somebody serves, whether or not anything comes; also where a copy took activities out."""
    first, second, third = (PostgresStore(postgres_url) for _ in range(3))
    first.open()
    await first.start(lambda: None)
    some = [await publish_one(first, {"email": EMAIL}, id=f"evt-{number}") for number in range(3)]
    await until(beside, ALL_INDEXED)
    await first.close()

    await beside.execute("UPDATE activity_index SET terms = '{}'")
    monkeypatch.setattr(postgres_index, "INDEX_RULES", "2")
    await second.start(lambda: None)
    await until(beside, ALL_INDEXED)
    await second.close()

    gone = some[1].id
    await RelationalLogCopy(third.records).write_deletions(
        [KeptDeletion(gone.position, NOBODY, gone.position, gone.tail)]
    )
    await third.start(lambda: None)
    await until(beside, ALL_INDEXED)
    await third.close()


async def test_starts_wait_for_each_other_longer_than_a_statement_may_take(
    postgres_url: str, beside: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One may be making the cluster's tables, which takes as long as it takes."""
    monkeypatch.setitem(postgres_database._SESSION, "statement_timeout", "100ms")
    database, done = PostgresDatabase(postgres_url), threading.Event()
    waits = WAITS_FOR_LOCK + " AND clock_timestamp() - waitstart > '500ms')"
    async with beside.transaction():
        await beside.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        second = asyncio.create_task(asyncio.to_thread(database.prepare_alone, "SELECT 1", done.set))
        async with asyncio.timeout(30):
            while not second.done() and not await beside.fetchval(waits):
                await asyncio.sleep(0.01)
        assert not done.is_set()
    await second
    assert done.is_set()
