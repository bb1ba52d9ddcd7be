"""A thousand activities a request."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import pysqlite3 as sqlite3

from backstory.model.searched import read_searched
from backstory.store.log.index_entries import folded_text, terms_of
from backstory.store.log.sqlite_search import search_file
from bench.engines import COMMITTED, Bare, Clustered, bare_postgres, empty_database
from bench.load import Job, drive
from bench.places import scratch
from bench.product import Running, backstory
from bench.report import Outcome, ratio

_SIZE = 1_000
_CONTACTS = 10_000


def batches(outcome: Outcome) -> None:
    """Durable activities a second over HTTP in batches of 1,000, one batch after another and two at a time.

    Beside it the bare inserts: the very rows that the server wrote, read back and inserted by `executemany` into the
    same tables with the same indexes, 1,000 to a transaction, by the same SQLite with the same settings (or by asyncpg
    into PostgreSQL); no HTTP, no JSON, no contacts. Once with the rows of the search index, made before the clock
    starts; then the server's clock, too, stops only when everything can be found. And once without them, where the
    server's stops at the last answer, although the index takes its share of the processor all the while.

    Target: at least 0.5 × the bare inserts of the same rows and indexes. On a cluster nothing is held beside it.
    """
    count = 20 if outcome.quick else 200
    outcome.sizes = {"batches": count, "batch_size": _SIZE, "contacts": _CONTACTS}
    with scratch() as folder, empty_database(folder, "batches") as database:
        with backstory(database) as server:
            rates = [_publish(outcome, server, connections, count) for connections in (1, 2)]
        if isinstance(database, Clustered):
            return
        if isinstance(database, str):
            bare = asyncio.run(bare_postgres(database, count * _SIZE, _SIZE))
        else:
            bare = _bare(database, folder, count * _SIZE)
    for what, rate in bare._asdict().items():
        outcome.figure(f"bare executemany, {what.replace('_', ' ')}", round(rate), "activities/s")
    answered, searchable = map(max, zip(*rates, strict=True))
    outcome.check(
        "until searchable / bare, search index included", ratio(searchable, bare.with_search), "×", least=0.5
    )
    outcome.figure("until answered / bare, without search index", ratio(answered, bare.without_search), "×")


def _publish(outcome: Outcome, server: Running, connections: int, count: int) -> tuple[float, float]:
    """Activities a second until they were answered, and until they could be found, too."""
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
    answered = outcome.load(what, drive(job), "activities/s", scale=_SIZE)
    behind = server.wait_searchable()
    searchable = ratio(count * _SIZE, ratio(count * _SIZE, answered) + behind)
    outcome.figure(f"{what}, until searchable", round(searchable), "activities/s", f"{behind:.2g} s more")
    return answered, searchable


def _bare(source: Path, folder: Path, count: int) -> Bare:
    """Activities a second of the same inserts by hand."""
    with _opened(source) as reader:
        reader.execute("ATTACH ? AS search", (str(search_file(source)),))
        kept = _kept(reader, count)
        rates = [
            _insert_all(reader, folder / f"bare-{len(tables)}.db", {table: kept[table] for table in tables})
            for tables in (kept.keys(), COMMITTED)
        ]
    return Bare(*rates)


def _kept(reader: Any, count: int) -> dict[str, list[Sequence[Any]]]:
    """The rows of the first activities in each table; those of the search index made once more."""
    activities = reader.execute("SELECT * FROM activities ORDER BY position LIMIT ?", (count,)).fetchall()
    keys = "SELECT * FROM event_keys WHERE position <= ? ORDER BY position"
    postings: list[Sequence[Any]] = []
    words: list[Sequence[Any]] = []
    for position, _, key, timestamp, *_, body, _ in activities:
        searched = read_searched(bytes(body))
        postings += [(term, timestamp, position) for term in terms_of(searched)]
        words.append((position, folded_text(key.hex(), searched)))
    return {
        "activities": activities,
        "event_keys": reader.execute(keys, (activities[-1][0],)).fetchall(),
        "postings": postings,
        "words": words,
    }


def _insert_all(reader: Any, target: Path, rows: Mapping[str, Sequence[Sequence[Any]]]) -> float:
    """Activities a second, with so many of each table in a transaction as 1,000 activities have."""
    count = len(rows["activities"])
    with _opened(target) as writer:
        for statement in _definitions(reader, rows.keys()):
            writer.execute(statement)
        began = perf_counter()
        for start in range(0, count, _SIZE):
            writer.execute("BEGIN IMMEDIATE")
            for table, values in rows.items():
                piece = slice(len(values) * start // count, len(values) * (start + _SIZE) // count)
                _insert(writer, table, values[piece])
            writer.execute("COMMIT")
        return count / (perf_counter() - began)


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


def _definitions(reader: Any, tables: Collection[str]) -> list[str]:
    """CREATE statements of some tables, and of their indexes."""
    marks = ",".join("?" * len(tables))
    query = "SELECT sql FROM {}.sqlite_schema WHERE tbl_name IN ({}) AND sql IS NOT NULL ORDER BY type DESC"
    return [
        row[0]
        for schema in ("main", "search")
        for row in reader.execute(query.format(schema, marks), list(tables))
    ]


def _insert(writer: Any, table: str, rows: Sequence[Any]) -> None:
    columns = "words (rowid, folded)" if table == "words" else table
    marks = ",".join("?" * len(rows[0]))
    writer.executemany(f"INSERT INTO {columns} VALUES ({marks})", rows)
