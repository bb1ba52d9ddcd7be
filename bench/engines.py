"""Where what is measured is kept: an SQLite file, a PostgreSQL on the same disk, or that with a cluster of one node."""

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import asyncpg

from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer

NAMES = ("sqlite", "postgres", "cassandra")
chosen = "sqlite"
"""The engine that scenarios run on; set from the command line."""

COMMITTED = ("activities", "event_keys")
"""The tables that a publication is written into before it is answered."""


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
    """A new cluster of one node that syncs to the disk which is measured.

    It is compiled as a server that runs for long is; those of the tests start sooner.
    """
    tempfile.tempdir = str(folder)
    cluster = CassandraCluster(1, "-XX:TieredStopAtLevel=4")
    tempfile.tempdir = None
    try:
        yield cluster.start()
    finally:
        cluster.remove()


def new_log(cluster: CassandraCluster) -> str:
    """The URL of an empty activity log on a cluster of one node."""
    return cluster.url(cluster.new_keyspace(), options="?replication=1")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection to PostgreSQL."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


class Bare(NamedTuple):
    """Activities a second of bare inserts: with the rows of the search index, and without them."""

    with_search: float
    without_search: float


async def bare_postgres(url: str, count: int, size: int) -> Bare:
    """The very rows that the server wrote, inserted once more by an asyncpg loop.

    Into tables with the same indexes, `size` to a transaction, with `executemany` as the driver does it best.
    """
    async with connected(url) as connection:
        kept: dict[str, list[Any]] = {}
        for table in (*COMMITTED, "activity_index"):
            rows = await connection.fetch(f"SELECT * FROM {table} ORDER BY position LIMIT {count}")
            kept[table] = [tuple(row) for row in rows]
        return Bare(
            *[
                await _insert_all(connection, {table: kept[table] for table in tables}, size)
                for tables in (kept.keys(), COMMITTED)
            ]
        )


async def _insert_all(connection: Any, kept: Mapping[str, Sequence[Any]], size: int) -> float:
    count = len(kept["activities"])
    for table in kept:
        await connection.execute(f"DROP TABLE IF EXISTS bare_{table}")
        await connection.execute(f"CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")
    began = perf_counter()
    for start in range(0, count, size):
        async with connection.transaction():
            for table, rows in kept.items():
                marks = ", ".join(f"${number + 1}" for number in range(len(rows[0])))
                statement = f"INSERT INTO bare_{table} VALUES ({marks})"
                await connection.executemany(statement, rows[start : start + size])
    return count / (perf_counter() - began)
