"""Opens the two sides of `backstory copy`, and knows whether somebody serves them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from backstory.config import PostgresUrl, Settings
from backstory.errors import StorageError
from backstory.postgres_backup import is_served, with_connection
from backstory.store.cassandra import CassandraStore
from backstory.store.copying import RelationalLogCopy, contact_keys
from backstory.store.log.cassandra_copy import CassandraLogCopy
from backstory.store.log.cassandra_session import read_address
from backstory.store.log.sqlite_search import search_file
from backstory.store.moving import Show, Side, Sum, move
from backstory.store.postgres import PostgresStore
from backstory.store.postgres_database import run_apart
from backstory.store.sqlite import SqliteStore
from backstory.store.sqlite_database import Ownership, SqliteDatabase


async def copy_installation(source: Settings, target: Settings, show: Show) -> list[tuple[Sum, Sum]] | None:
    """Copy one installation into another; the sums of both, or None where the source is still being served.

    Raises:
        StorageError: one of them cannot be used, or the target is being served or no copy of the source.
    """
    places = [
        each.database.resolve() if isinstance(each.database, Path) else each.database
        for each in (source, target)
    ]
    if places[0] == places[1] and source.activity_log == target.activity_log:
        raise StorageError("source and target are the same")
    if places[0] == places[1]:
        raise StorageError(
            "source and target are in the same database: the log moves only with everything else, so name a second,"
            " empty database as the target"
        )
    if _share_keyspace(source, target):
        raise StorageError("source and target have their logs in the same keyspace: name another, empty one")
    if _is_served(target):
        raise StorageError("the target is being served: stop its server first")
    reading = _open(source, Ownership.NEVER)
    try:
        writing = _open(target, Ownership.REQUIRED)
        try:
            if isinstance(reading, CassandraStore):  # what was noted and is not in the log yet
                while await reading.relay():
                    pass
            return await move(_side(reading), _side(writing), _asking(source), show)
        finally:
            await writing.close()
    finally:
        await reading.close()


def _share_keyspace(source: Settings, target: Settings) -> bool:
    """Whether both logs would be one: rows are kept by contact, and a copy has the same contacts."""
    if source.activity_log is None or target.activity_log is None:
        return False
    ours, theirs = read_address(source.activity_log.url), read_address(target.activity_log.url)
    return ours.keyspace == theirs.keyspace and not set(ours.hosts).isdisjoint(theirs.hosts)


def _open(settings: Settings, ownership: Ownership) -> SqliteStore | PostgresStore | CassandraStore:
    if isinstance(settings.database, PostgresUrl) and settings.activity_log is not None:
        clustered = CassandraStore(settings.database.url, settings.activity_log.url)
        clustered.open()
        return clustered
    if isinstance(settings.database, PostgresUrl):
        store = PostgresStore(settings.database.url)
        store.open()
        return store
    if ownership is Ownership.NEVER and not settings.database.exists():
        raise StorageError(f"there is no database {settings.database}")
    if ownership is Ownership.REQUIRED:
        # It may be of what this copy is about to remove; the next server makes another.
        search_file(settings.database).unlink(missing_ok=True)
    embedded = SqliteStore(settings.database, ownership=ownership)
    embedded.open()
    return embedded


def _side(store: SqliteStore | PostgresStore | CassandraStore) -> Side:
    if isinstance(store, CassandraStore):
        return Side(store.records, CassandraLogCopy(store.log, partial(contact_keys, store.records)))
    return Side(store.records, RelationalLogCopy(store.records))


def _asking(settings: Settings) -> Callable[[], bool]:
    """A question whether somebody serves an installation. Our own sessions in it are no servers."""
    return lambda: _is_served(settings)


def _is_served(settings: Settings) -> bool:
    if isinstance(settings.database, PostgresUrl):
        return run_apart(with_connection(settings.database, is_served))
    if not settings.database.parent.is_dir():
        raise StorageError(f"the folder {settings.database.parent} does not exist; make it first")
    return SqliteDatabase(settings.database).is_owned()
