"""Making a large database quickly: the rows that publishing would have written, put in place without its guarantees.

Ten million publishes with their indexes take the better part of an hour here, most of it random writes that each wait
for the disk. What is measured afterwards is the database, not its making. So the rows come from the product's own
functions (`admit`, `read_searched`, …), two processes of them, and one connection puts them into the product's own
schema: SQLite without a journal, PostgreSQL by COPY, its indexes made afterwards. Nothing is durable until it is
finished.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pysqlite3 as sqlite3

from backstory.ingest.admit import Arrival, admit
from backstory.model.access import Principal, Role
from backstory.model.activity import Origin
from backstory.model.ids import ContactKey, Position, RandomPool
from backstory.model.moment import Microseconds, now
from backstory.model.searched import Searched, read_searched
from backstory.store.log.index_entries import folded_text, terms_of
from backstory.store.log.sqlite_search import search_file
from bench.data import Feed
from bench.engines import connected

_CHUNK = 5_000
_AHEAD = 4
_CACHE_KIB = 8 * 1024 * 1024
_KEY = Principal(1, 1, Role.ADMIN, frozenset(), None)

Holders = dict[str, bytes]
"""Keys of contacts in the log, by the key of their email."""


Rows = dict[str, list[tuple[Any, ...]]]
"""What some activities put into each table."""

Index = Callable[[Rows, Position, ContactKey, Microseconds, Searched], None]
"""Adds what an activity puts into an engine's search index."""


def append_rows(database: Path, feed: Feed, start: int, count: int) -> None:
    """Append activities `start` to `start + count` of a feed whose contacts are all in the database already."""
    with closing(_opened(database)) as writer:
        holders = _holders(writer)
        first = writer.execute("SELECT max(position) FROM activities").fetchone()[0] + 1
        writer.execute("BEGIN IMMEDIATE")
        for rows in _made(_sqlite_index, feed, holders, start, count, first):
            for table, values in rows.items():
                columns = "words (rowid, folded)" if table == "words" else table
                marks = ", ".join("?" * len(values[0]))
                writer.executemany(f"INSERT OR IGNORE INTO {columns} VALUES ({marks})", values)
        writer.execute(
            "UPDATE index_state SET value = (SELECT max(position) FROM activities) WHERE name = 'indexed'"
        )
        writer.execute("COMMIT")
    for file in (database, search_file(database)):
        with closing(sqlite3.connect(str(file), isolation_level=None)) as again:
            again.execute("PRAGMA journal_mode = WAL")


def _opened(database: Path) -> Any:
    connection = sqlite3.connect(str(database), isolation_level=None)
    connection.execute("ATTACH ? AS search", (str(search_file(database)),))
    for schema in ("main", "search"):
        connection.execute(f"PRAGMA {schema}.journal_mode = OFF")
        connection.execute(f"PRAGMA {schema}.synchronous = OFF")
        connection.execute(f"PRAGMA {schema}.cache_size = -{_CACHE_KIB}")
    return connection


def _holders(reader: Any) -> Holders:
    return dict(
        reader.execute("SELECT i.key, c.key FROM identifiers i JOIN contacts c ON c.id = i.contact_id")
    )


_INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE NOT i.indisprimary AND i.indrelid IN ('activities'::regclass, 'event_keys'::regclass)
"""


async def append_rows_postgres(url: str, feed: Feed, start: int, count: int) -> None:
    """The same on PostgreSQL, but for the search index: its GIN takes an hour, and no timeline is read by it."""
    async with connected(url) as connection, connection.transaction():
        holders = Holders(
            await connection.fetch(
                "SELECT i.key, c.key FROM identifiers i JOIN contacts c ON c.id = i.contact_id"
            )
        )
        first = await connection.fetchval("SELECT max(position) FROM activities") + 1
        indexes = await connection.fetch(_INDEXES)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for rows in _made(None, feed, holders, start, count, first):
            for table, values in rows.items():
                await connection.copy_records_to_table(table, records=values)
        await connection.execute("SET maintenance_work_mem = '2GB'")
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute(
            "UPDATE log_state SET value = (SELECT max(position) FROM activities) WHERE name = 'indexed'"
        )
        await connection.execute("SELECT setval('log_position', max(position)) FROM activities")
    async with connected(url) as connection:
        await connection.execute("VACUUM (ANALYZE)")


def _made(
    index: Index | None, feed: Feed, holders: Holders, start: int, count: int, first: Position
) -> Iterator[Rows]:
    """The rows in order, made a few chunks ahead by two processes."""
    with ProcessPoolExecutor(2, initializer=_begin, initargs=(index, feed, holders)) as pool:
        chunks = iter(range(0, count, _CHUNK))

        def submit(offset: int) -> Future[Rows]:
            return pool.submit(_make, start + offset, min(_CHUNK, count - offset), first + offset)

        waiting = [submit(offset) for offset in islice(chunks, _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(submit(offset) for offset in islice(chunks, 1))


_state: dict[str, Any] = {}


def _begin(index: Index | None, feed: Feed, holders: Holders) -> None:
    _state.update(index=index, feed=feed, holders=holders)


def _make(start: int, count: int, first: Position) -> Rows:
    index, feed, holders = _state["index"], _state["feed"], _state["holders"]
    random, encoder, arrival = RandomPool(), msgspec.json.Encoder(), Arrival(_KEY, now())
    rows: Rows = defaultdict(list)
    for position, body in enumerate(feed.bodies(start, count), first):
        item = admit(body, arrival)
        key = holders[item.identifiers[0].key]
        described = (item.source, item.name, item.object_type, item.actor_type)
        origin = encoder.encode(Origin(item.contact, item.identifiers[0].kind, 1))
        row = (position, random.tail(), key, item.timestamp, *described, item.body, origin)
        rows["activities"].append(row)
        rows["event_keys"].append((item.idempotency, position, item.digest, item.expires))
        if index is not None:
            index(rows, position, key, item.timestamp, read_searched(item.body))
    for table in ("event_keys", "postings"):
        if table in rows:
            rows[table].sort()
    return dict(rows)


def _sqlite_index(
    rows: Rows, position: Position, key: ContactKey, timestamp: Microseconds, searched: Searched
) -> None:
    rows["postings"].extend((each, timestamp, position) for each in terms_of(searched))
    rows["words"].append((position, folded_text(key.hex(), searched)))
