"""A thousand activities a request."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import pysqlite3 as sqlite3

from bench.engines import Clustered, bare_postgres, empty_database
from bench.load import Job, drive
from bench.places import scratch
from bench.product import Running, backstory
from bench.report import Outcome, ratio

_SIZE = 1_000
_CONTACTS = 10_000
_TABLES = ("activities", "event_keys")


def batches(outcome: Outcome) -> None:
    """Durable activities a second over HTTP in batches of 1,000, one batch after another and two at a time.

    Beside it the bare work of the same commits: the very rows that the server wrote, read back and inserted by
    `executemany` into the same tables with the same indexes, 1,000 to a transaction, by the same SQLite with the same
    settings (or by asyncpg into PostgreSQL); no HTTP, no JSON, no contacts. The search indexes follow in the server and
    not in the bare run.

    Target: at least 0.5 × the bare executemany. On a cluster nothing is held beside it.
    """
    count = 20 if outcome.quick else 200
    outcome.sizes = {"batches": count, "batch_size": _SIZE, "contacts": _CONTACTS}
    with scratch() as folder, empty_database(folder, "batches") as database:
        with backstory(database) as server:
            rates = [_publish(outcome, server, connections, count) for connections in (1, 2)]
            behind = server.wait_searchable()
        outcome.figure("then until everything was searchable", round(behind, 2), "s")
        if isinstance(database, Clustered):
            return
        if isinstance(database, str):
            bare = asyncio.run(bare_postgres(database, count * _SIZE, _SIZE))
        else:
            bare = _bare(database, folder / "bare.db", count * _SIZE)
    outcome.figure("bare executemany", round(bare), "activities/s")
    outcome.check("batches / bare executemany", ratio(max(rates), bare), "×", least=0.5)


def _publish(outcome: Outcome, server: Running, connections: int, count: int) -> float:
    """Activities a second."""
    job = Job(
        port=server.port,
        key=server.key,
        kind="batch",
        path="/api/v2/contact-activities/batch",
        connections=connections,
        count=count,
        batch_size=_SIZE,
        contacts=_CONTACTS,
        prefix=f"batch{connections}",
        patience=600,
        premade=True,
    )
    what = f"backstory, {connections} connection{'s' * (connections > 1)}"
    return outcome.load(what, drive(job), "activities/s", scale=_SIZE)


def _bare(source: Path, target: Path, rows: int) -> float:
    """Rows a second of the same inserts by hand."""
    with _opened(source) as reader, _opened(target) as writer:
        for statement in _definitions(reader):
            writer.execute(statement)
        activities = reader.execute("SELECT * FROM activities ORDER BY position LIMIT ?", (rows,)).fetchall()
        last = activities[-1][0]
        keys = reader.execute(
            "SELECT * FROM event_keys WHERE position <= ? ORDER BY position", (last,)
        ).fetchall()
        began = perf_counter()
        for start in range(0, rows, _SIZE):
            piece = slice(start, start + _SIZE)
            writer.execute("BEGIN IMMEDIATE")
            _insert(writer, "activities", activities[piece])
            _insert(writer, "event_keys", keys[piece])
            writer.execute("COMMIT")
        return rows / (perf_counter() - began)


def _opened(path: Path) -> Any:
    connection = sqlite3.connect(str(path), isolation_level=None)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "cache_size = -49152",
        "wal_autocheckpoint = 8192",
        "secure_delete = FAST",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return closing(connection)


def _definitions(reader: Any) -> list[str]:
    """CREATE statements of the tables that the commit path writes, and of their indexes."""
    marks = ",".join("?" * len(_TABLES))
    query = (
        f"SELECT sql FROM sqlite_schema WHERE tbl_name IN ({marks}) AND sql IS NOT NULL ORDER BY type DESC"
    )
    return [row[0] for row in reader.execute(query, _TABLES)]


def _insert(writer: Any, table: str, rows: Sequence[Any]) -> None:
    marks = ",".join("?" * len(rows[0]))
    writer.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
