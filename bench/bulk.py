"""Making a large database quickly: the rows that publishing would have written, put in place without its guarantees.

Ten million publishes with their indexes take the better part of an hour here, most of it random writes that each wait
for the disk. What is measured afterwards is the database, not its making. So the rows come from the product's own
functions (`admit`, `read_searched`, …), two processes of them, and one connection without a journal puts them into the
product's own schema. Nothing is durable until it is finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pysqlite3 as sqlite3

from backstory.ingest.admit import Arrival, admit
from backstory.model.access import Principal, Role
from backstory.model.activity import Origin
from backstory.model.ids import RandomPool
from backstory.model.moment import now
from backstory.model.searched import read_searched
from backstory.store.log.index_worker import folded_text, terms_of
from bench.data import Feed

_CHUNK = 5_000
_AHEAD = 4
_CACHE_KIB = 8 * 1024 * 1024
_KEY = Principal(1, 1, Role.ADMIN, frozenset(), None)

Holders = dict[str, bytes]
"""Keys of contacts in the log, by the key of their email."""


class Rows(NamedTuple):
    """What some activities put into each table."""

    activities: list[tuple[Any, ...]]
    event_keys: list[tuple[Any, ...]]
    postings: list[tuple[int, int, int]]
    words: list[tuple[int, str]]


def append_rows(database: Path, feed: Feed, start: int, count: int) -> None:
    """Append activities `start` to `start + count` of a feed whose contacts are all in the database already."""
    with closing(_opened(database)) as writer:
        holders = _holders(writer)
        first = writer.execute("SELECT max(position) FROM activities").fetchone()[0] + 1
        writer.execute("BEGIN IMMEDIATE")
        for rows in _made(feed, holders, start, count, first):
            _insert(writer, rows)
        writer.execute(
            "UPDATE log_state SET value = (SELECT max(position) FROM activities) WHERE name = 'indexed'"
        )
        writer.execute("COMMIT")
    with closing(sqlite3.connect(str(database), isolation_level=None)) as again:
        again.execute("PRAGMA journal_mode = WAL")


def _opened(database: Path) -> Any:
    connection = sqlite3.connect(str(database), isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection


def _holders(reader: Any) -> Holders:
    return dict(
        reader.execute("SELECT i.key, c.key FROM identifiers i JOIN contacts c ON c.id = i.contact_id")
    )


def _made(feed: Feed, holders: Holders, start: int, count: int, first: int) -> Iterator[Rows]:
    """The rows in order, made a few chunks ahead by two processes."""
    with ProcessPoolExecutor(2, initializer=_begin, initargs=(feed, holders)) as pool:
        chunks = iter(range(0, count, _CHUNK))

        def submit(offset: int) -> Future[Rows]:
            return pool.submit(_make, start + offset, min(_CHUNK, count - offset), first + offset)

        waiting = [submit(offset) for offset in islice(chunks, _AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(submit(offset) for offset in islice(chunks, 1))


_state: dict[str, Any] = {}


def _begin(feed: Feed, holders: Holders) -> None:
    _state.update(feed=feed, holders=holders)


def _make(start: int, count: int, first: int) -> Rows:
    feed, holders = _state["feed"], _state["holders"]
    random, encoder, arrival = RandomPool(), msgspec.json.Encoder(), Arrival(_KEY, now())
    rows = Rows([], [], [], [])
    for position, body in enumerate(feed.bodies(start, count), first):
        item = admit(body, arrival)
        key = holders[item.identifiers[0].key]
        described = (item.source, item.name, item.object_type, item.actor_type)
        origin = encoder.encode(Origin(item.contact, item.identifiers[0].kind, 1))
        rows.activities.append((position, random.tail(), key, item.timestamp, *described, item.body, origin))
        rows.event_keys.append((item.idempotency, position, item.digest, item.expires))
        searched = read_searched(item.body)
        rows.postings.extend((term, item.timestamp, position) for term in terms_of(searched))
        rows.words.append((position, folded_text(key.hex(), searched)))
    rows.event_keys.sort()
    rows.postings.sort()
    return rows


def _insert(writer: Any, rows: Rows) -> None:
    writer.executemany("INSERT INTO activities VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.activities)
    writer.executemany("INSERT INTO event_keys VALUES (?, ?, ?, ?)", rows.event_keys)
    writer.executemany("INSERT OR IGNORE INTO postings VALUES (?, ?, ?)", rows.postings)
    writer.executemany("INSERT INTO words (rowid, folded) VALUES (?, ?)", rows.words)
