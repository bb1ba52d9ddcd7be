"""Where what is measured is kept: an SQLite file, a PostgreSQL on the same disk, or that with a cluster of one node."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import asyncpg

from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer

NAMES = ("sqlite", "postgres", "cassandra")
chosen = "sqlite"
"""The engine that scenarios run on; set from the command line."""

_TABLES = ("activities", "event_keys")


class Clustered(NamedTuple):
    """URLs of an installation whose activity log is on a cluster."""

    database: str
    activity_log: str


Database = Path | str | Clustered
"""A file of SQLite, the URL of a PostgreSQL database, or both URLs of a cluster's installation."""


def settings_of(database: Database) -> dict[str, str]:
    """The environment by which the product is told of a database."""
    if isinstance(database, Clustered):
        return {"BACKSTORY_DATABASE": database.database, "BACKSTORY_ACTIVITY_LOG": database.activity_log}
    return {"BACKSTORY_DATABASE": database if isinstance(database, str) else f"sqlite:///{database}"}


@contextmanager
def empty_database(folder: Path, name: str) -> Iterator[Database]:
    """An empty database of the chosen engine."""
    if chosen == "sqlite":
        yield folder / f"{name}.db"
        return
    with postgres(folder) as server:
        if chosen == "postgres":
            yield server.create_database()
            return
        with one_node(folder) as cluster:
            yield Clustered(server.create_database(), new_log(cluster))


@contextmanager
def postgres(folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL that syncs to the disk which is measured: a new one, or the one that is kept in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own
    server = PostgresServer(directory=folder / "postgres")
    try:
        server.start()
        server.sql("ALTER SYSTEM SET shared_buffers = '256MB'")
        server.sql("ALTER SYSTEM SET max_wal_size = '4GB'")
        server.stop()
        yield server.start()
    finally:
        server.stop()


@contextmanager
def one_node(folder: Path) -> Iterator[CassandraCluster]:
    """A new cluster of one node that syncs to the disk which is measured."""
    tempfile.tempdir = str(folder)
    cluster = CassandraCluster(nodes=1)
    tempfile.tempdir = None
    try:
        yield cluster.start()
    finally:
        cluster.remove()


def new_log(cluster: CassandraCluster) -> str:
    """The URL of an empty activity log on a cluster of one node."""
    return cluster.url(cluster.new_keyspace(), options="?replication=1")


async def bare_postgres(url: str, rows: int, size: int) -> float:
    """Rows a second of the very rows that the server wrote, inserted once more by an asyncpg loop.

    Into tables with the same indexes, `size` to a transaction, with `executemany` as the driver does it best.
    """
    connection = await asyncpg.connect(url)
    try:
        pieces: dict[str, list[Any]] = {}
        for table in _TABLES:
            await connection.execute(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")
            pieces[table] = [
                tuple(row)
                for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY position LIMIT {rows}")
            ]
        began = perf_counter()
        for start in range(0, rows, size):
            async with connection.transaction():
                for table in _TABLES:
                    await _insert(connection, f"bare_{table}", pieces[table][start : start + size])
        return rows / (perf_counter() - began)
    finally:
        await connection.close()


async def _insert(connection: Any, table: str, rows: list[Any]) -> None:
    marks = ", ".join(f"${number + 1}" for number in range(len(rows[0])))
    await connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
