"""Where what is measured is kept: a new SQLite file, or a new PostgreSQL that syncs to the same disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg

from tests.servers.postgres import PostgresServer

NAMES = ("sqlite", "postgres")
chosen = "sqlite"
"""The engine that scenarios run on; set from the command line."""

_TABLES = ("activities", "event_keys")


@contextmanager
def empty_database(folder: Path, name: str) -> Iterator[Path | str]:
    """An empty database of the chosen engine: the path of a file, or a URL."""
    if chosen == "sqlite":
        yield folder / f"{name}.db"
        return
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own
    tempfile.tempdir = str(folder)  # on the disk that is measured
    server = PostgresServer()
    tempfile.tempdir = None
    try:
        server.start()
        server.sql("ALTER SYSTEM SET shared_buffers = '256MB'")
        server.sql("ALTER SYSTEM SET max_wal_size = '4GB'")
        server.stop()
        yield server.start().create_database()
    finally:
        server.remove()


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
