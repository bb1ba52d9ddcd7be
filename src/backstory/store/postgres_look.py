"""A look at a PostgreSQL database for `backstory doctor`: it changes nothing."""

from __future__ import annotations

import time
from typing import NamedTuple

import asyncpg

from backstory.errors import StorageError
from backstory.store import migrations
from backstory.store.postgres_database import CONNECT_SECONDS, MIN_VERSION, explain, shown_url

_SERVER = """
SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
       extract(epoch FROM clock_timestamp())::float8, current_setting('max_connections')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', to_regclass('alembic_version') IS NOT NULL,
       has_schema_privilege(current_schema(), 'CREATE'), current_setting('synchronous_standby_names') <> '',
       (SELECT count(*) FROM pg_stat_replication), pg_database_size(current_database())
"""
_INSIDE = """
SELECT (SELECT count(*) FROM contacts WHERE NOT is_agent),
       (SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'activities'::regclass),
       EXISTS (SELECT FROM agents WHERE role = 'admin'),
       (SELECT coalesce(extract(epoch FROM clock_timestamp()) - (min(position) >> 12) / 1000.0, 0)::float8
          FROM (SELECT position FROM activities WHERE position >
                (SELECT value::bigint FROM log_state WHERE name = 'indexed') ORDER BY position LIMIT 1) AS missing)
"""


class Seen(NamedTuple):
    """What there is to see."""

    version: str
    milliseconds: float
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    clock_ahead: float
    max_connections: int
    connections: int
    is_current: bool
    awaits_standby: bool
    standbys: int
    bytes: int
    contacts: int = 0
    activities: int = 0
    has_admin: bool = False
    index_behind: float = 0.0


async def look(url: str) -> Seen:
    """Look at a database.

    Raises:
        StorageError: it cannot be used as it is; the message says why.
    """
    shown = shown_url(url)
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
        try:
            return await _look(connection, shown)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StorageError(f"{shown}: {explain(error)}") from error


async def _look(connection: asyncpg.Connection[asyncpg.Record], shown: str) -> Seen:
    if connection.get_server_version().major < MIN_VERSION:
        raise StorageError(f"{shown} is older than PostgreSQL {MIN_VERSION}")
    started = time.perf_counter()
    (row,) = await connection.fetch(_SERVER)
    milliseconds = (time.perf_counter() - started) * 1000
    fsync, pages, commits, moment, most, connections, recovering, read_only, has_schema, may_create, *rest = (
        row
    )
    if recovering or read_only:
        raise StorageError(f"{shown} only reads, as a replica does; give the primary's address")
    version = None
    if has_schema:
        version = await connection.fetchval("SELECT version_num FROM alembic_version")
    elif not may_create:
        raise StorageError(f"{shown}: this user may not create tables there; let it own the database")
    is_current = migrations.is_head(version)
    number = ".".join(map(str, connection.get_server_version()[:2]))
    ahead = moment - time.time()
    seen = Seen(number, milliseconds, fsync, pages, commits, ahead, most, connections, is_current, *rest)
    if not is_current:
        return seen
    ((contacts, activities, has_admin, behind),) = await connection.fetch(_INSIDE)
    return seen._replace(
        contacts=contacts, activities=activities, has_admin=has_admin, index_behind=behind or 0.0
    )
