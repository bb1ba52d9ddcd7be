"""The activity log on SQLite: queries, nothing else. What they mean is in `store/base.py`."""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import pysqlite3 as sqlite3

from backstory.model.access import AuditEntry
from backstory.model.activity import Activity, Arrival, Deletion, join_answers
from backstory.model.identity import Holder
from backstory.model.ids import ActivityId, ContactKey, Position, RandomPool, first_position
from backstory.model.moment import Microseconds
from backstory.model.page import Filters, Page, Place
from backstory.store.base import Arrivals, Homes, StreamPosition
from backstory.store.log import walk
from backstory.store.log.index_entries import EVERYTHING, contact_token, ref_token, term
from backstory.store.log.sqlite_search import NoIndex, SearchFile
from backstory.store.publish import NewRow
from backstory.store.records.sql import add_audit
from backstory.store.records.sqlite_homes import read_holder
from backstory.store.sqlite_database import SqliteDatabase, Transaction

ROWS_PER_STATEMENT = 64

_ROW = "position, tail, contact_key, timestamp, body"
_FULL_ROW = f"{_ROW}, source, name, object_type, actor_type"
_LAST_OF = "coalesce((SELECT max(position) FROM {}), 0)"
_LAST_POSITION = f"max({_LAST_OF.format('activities')}, {_LAST_OF.format('deletions')})"
_LOOK_UP = f"""
SELECT (SELECT json_group_array(json_array(hex(e.hash), e.position, hex(e.digest))) FROM json_each(?1) wanted
         CROSS JOIN event_keys e ON e.hash = unhex(wanted.value) WHERE e.expires IS NULL OR e.expires > ?2),
       (SELECT json_group_array(json_array(i.key, c.id, hex(c.key), c.named, c.merged_into)) FROM json_each(?3) wanted
         CROSS JOIN identifiers i ON i.key = wanted.value CROSS JOIN contacts c ON c.id = i.contact_id),
       {_LAST_POSITION}
"""  # noqa: S608 - columns are ours


_ENCODER = msgspec.json.Encoder()
_decode_rows = msgspec.json.Decoder(list[list[Any]]).decode


class Known(NamedTuple):
    """A replay's original."""

    position: Position
    digest: bytes


class Found(NamedTuple):
    """What a group of publications needs to know before it is written.

    `known` are the idempotency hashes that were seen before, `owners` the holders of identifiers, `last` is the newest
    position that anybody, also another process, has given out.
    """

    known: dict[bytes, Known]
    owners: dict[str, Holder]
    last: Position


def _insert(raw: sqlite3.Connection, into: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows, many with one statement: every statement gives the interpreter up and must win it back."""
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        marks = ",".join([f"({','.join('?' * len(part[0]))})"] * len(part))
        raw.execute(f"{into} VALUES {marks}", list(chain.from_iterable(part)))


def _columns(activity_id: ActivityId, row: NewRow) -> tuple[Any, ...]:
    """A row of `activities`."""
    item = row.publication
    described = (item.source, item.name, item.object_type, item.actor_type)
    return (*activity_id, row.contact_key, item.timestamp, *described, item.body, row.origin)


def look_up(
    raw: sqlite3.Connection, hashes: Sequence[bytes], keys: Iterable[str], moment: Microseconds
) -> Found:
    """Everything that a group needs to know, in one step.

    One step, because the interpreter is given up for each and must be won back from the event loop: a row at a time, a
    group of 16 waited longer for that than for the disk.
    """
    wanted = (
        _ENCODER.encode([each.hex() for each in hashes]).decode(),
        moment,
        _ENCODER.encode(list(keys)).decode(),
    )
    known, owners, last = raw.execute(_LOOK_UP, wanted).fetchone()
    return Found(
        {bytes.fromhex(row[0]): Known(row[1], bytes.fromhex(row[2])) for row in _decode_rows(known)},
        {
            key: read_holder(raw, (contact_id, bytes.fromhex(contact_key), named, merged_into))
            for key, contact_id, contact_key, named, merged_into in _decode_rows(owners)
        },
        last,
    )


def next_position(last: Position) -> Position:
    """The position behind the last one: the clock's, or just one more where the clock stands or went back."""
    return max(last + 1, first_position(time.time_ns() // 1_000_000))


def read_stream_position(raw: sqlite3.Connection) -> StreamPosition:
    """See `ActivityLog.stream_position`."""
    query = f"SELECT value, {_LAST_POSITION} FROM log_state WHERE name = 'generation'"  # noqa: S608
    return StreamPosition(*raw.execute(query).fetchone())


class Appender:
    """The write side, used inside a transaction on the writer's thread. Gives out positions, strictly rising."""

    def __init__(self) -> None:
        self._random = RandomPool()

    def prove_writable(self, raw: sqlite3.Connection, size: int) -> None:
        """Write `size` bytes over what was written last time: a full disk shows only then."""
        raw.execute("INSERT OR REPLACE INTO log_state VALUES ('ready', hex(randomblob(?)))", (size // 2,))

    def append(self, raw: sqlite3.Connection, rows: Sequence[NewRow], last: Position) -> list[ActivityId]:
        """Insert rows in their order, behind the last position that was given out; their ids."""
        first = next_position(last)
        ids = [ActivityId(first + offset, self._random.tail()) for offset in range(len(rows))]
        _insert(raw, "INSERT INTO activities", [_columns(*pair) for pair in zip(ids, rows, strict=True)])
        keys = [
            (
                row.publication.idempotency,
                activity_id.position,
                row.publication.digest,
                row.publication.expires,
            )
            for activity_id, row in zip(ids, rows, strict=True)
            if row.publication.idempotency is not None
        ]
        _insert(raw, "INSERT OR REPLACE INTO event_keys", keys)  # replaces a key that has expired
        return ids

    def original(
        self, raw: sqlite3.Connection, position: Position
    ) -> tuple[ActivityId, ContactKey | None, bytes | None]:
        """The first one of a replay: its id, its home, its origin (None where it was deleted or erased since)."""
        row = raw.execute(
            "SELECT tail, contact_key, origin FROM activities WHERE position = ?1"
            " UNION ALL SELECT tail, contact_key, NULL FROM deletions WHERE deleted = ?1"
            " UNION ALL SELECT tail, NULL, NULL FROM erased WHERE position = ?1",
            (position,),
        ).fetchone()
        return ActivityId(position, row[0]), row[1], row[2]


class SqliteLog:
    """The read side, and deletion."""

    overlap: Position = 0
    finds_words = True
    late_seconds = 0.0

    def __init__(self, database: SqliteDatabase, search: SearchFile) -> None:
        self._database = database
        self._search = search

    async def get(self, activity_id: ActivityId) -> Activity | None:
        """See `ActivityLog.get`."""
        row = await self._database.read(lambda raw: _select(raw, _ROW, activity_id))
        return walk.to_activity(row) if row else None

    async def origin(self, activity_id: ActivityId) -> bytes | None:
        """See `ActivityLog.origin`."""
        row = await self._database.read(lambda raw: _select(raw, "origin", activity_id))
        return bytes(row[0]) if row else None

    async def page(
        self, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
    ) -> Page:
        """See `ActivityLog.page`."""
        return await self._database.read(
            lambda raw: read_page(raw, self._search, homes, filters, after, limit)
        )

    async def find(self, filters: Filters, after: Place | None, limit: int) -> Page:
        """See `ActivityLog.find`."""
        return await self._database.read(lambda raw: _find(raw, self._search, filters, after, limit))

    async def arrivals(
        self, homes: Sequence[ContactKey], after: Position, limit: int, had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.arrivals`."""
        return await self._database.read(lambda raw: _arrivals(raw, homes, after, limit))

    async def all_arrivals(
        self, after: Position, limit: int, homes: frozenset[ContactKey], had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.all_arrivals`."""
        return await self._database.read(lambda raw: _all_arrivals(raw, after, limit, homes))

    async def stream_position(self) -> StreamPosition:
        """See `ActivityLog.stream_position`."""
        return await self._database.read(read_stream_position)

    async def delete(self, activity_id: ActivityId, entry: AuditEntry) -> Deletion | None:
        """See `ActivityLog.delete`."""
        return await self._database.write(lambda transaction: self._delete(transaction, activity_id, entry))

    async def erase(self, homes: Sequence[ContactKey], limit: int) -> int:
        """See `ActivityLog.erase`."""
        return await self._database.write(lambda transaction: self._erase(transaction, homes, limit))

    def _delete(
        self, transaction: Transaction, activity_id: ActivityId, entry: AuditEntry
    ) -> Deletion | None:
        raw = transaction.raw
        row = _select(raw, _ROW, activity_id)
        if row is None:
            return None
        deletion = Deletion(next_position(read_stream_position(raw).position), row[2], activity_id)
        self._search.remove([(row[0], *row[2:])])
        raw.execute("PRAGMA secure_delete = ON")  # its text is overwritten, also where its pages become free
        try:
            raw.execute("DELETE FROM activities WHERE position = ?", (row[0],))
        finally:
            raw.execute("PRAGMA secure_delete = FAST")
        raw.execute("INSERT INTO deletions VALUES (?, ?, ?, ?)", (deletion.position, row[2], *activity_id))
        add_audit(transaction.records, entry)
        return deletion

    def _erase(self, transaction: Transaction, homes: Sequence[ContactKey], limit: int) -> int:
        raw = transaction.raw
        rows: list[Sequence[Any]] = []
        for home in homes:
            query = (
                f"SELECT {_ROW} FROM activities INDEXED BY activities_timeline WHERE contact_key = ? LIMIT ?"  # noqa: S608
            )
            rows += raw.execute(query, (home, limit - len(rows))).fetchall()
        self._search.remove([(row[0], *row[2:]) for row in rows])
        raw.execute("PRAGMA secure_delete = ON")
        try:
            raw.executemany("DELETE FROM activities WHERE position = ?", [(row[0],) for row in rows])
        finally:
            raw.execute("PRAGMA secure_delete = FAST")
        raw.executemany("INSERT INTO erased VALUES (?, ?)", [(row[0], row[1]) for row in rows])
        return len(rows)


def _select(raw: sqlite3.Connection, columns: str, activity_id: ActivityId) -> Any:
    return raw.execute(
        f"SELECT {columns} FROM activities WHERE position = ? AND tail = ?",  # noqa: S608 - columns are ours
        activity_id,
    ).fetchone()


# Pages. Each is a walk over candidates in order, filtered, that ends when the page is full or SCAN_LIMIT is reached.


def read_page(
    raw: sqlite3.Connection,
    search: SearchFile,
    homes: Sequence[ContactKey],
    filters: Filters,
    after: Place | None,
    limit: int,
) -> Page:
    """See `ActivityLog.page`."""
    if filters.words:
        theirs = " OR ".join(f'"{contact_token(home.hex())}"' for home in homes)
        matches: list[Position] | None = None
        # Where the index cannot be asked they are met by walking, as where they are too many.
        with suppress(NoIndex, sqlite3.OperationalError):
            matches = search.read(raw, lambda: _word_matches(raw, f"({theirs}) AND {_all_tokens(filters)}"))
        if matches is not None:
            return _sorted_page(raw, matches, filters, after, limit)
    matcher = walk.matcher(filters)
    # Where every row passes, only so many are read, and only what is answered of each.
    columns, most = (_ROW, limit + 1) if matcher is None else (_FULL_ROW, walk.SCAN_LIMIT + 1)
    rows = [_timeline_rows(raw, columns, home, filters, after, most) for home in homes]
    merged = rows[0] if len(rows) == 1 else heapq.merge(*rows, key=lambda row: (row[3], row[0]), reverse=True)
    return walk.collect(merged, matcher, limit)


_WRITE_PAGE = """
SELECT CAST('[' || coalesce(group_concat('{"id":"' || printf(
           '%08x-%04x-7%03x-%04x-%012x', position >> 28, position >> 12 & 0xffff, position & 0xfff,
           tail >> 48 | 0x8000, tail & 0xffffffffffff
       ) || '","contact_id":' || ?1 || ',' || substr(body, 2)) FILTER (WHERE place <= ?6), '') || ']' AS BLOB),
       count(*), max(timestamp) FILTER (WHERE place = ?6), max(position) FILTER (WHERE place = ?6),
       max(tail) FILTER (WHERE place = ?6)
  FROM (SELECT *, row_number() OVER () AS place FROM (
           SELECT position, tail, timestamp, body FROM activities INDEXED BY activities_timeline
            WHERE contact_key = ?2 AND (timestamp, position) < (?3, ?4) AND timestamp >= ?5
            ORDER BY timestamp DESC, position DESC LIMIT ?6 + 1))
"""


def write_page(
    raw: sqlite3.Connection,
    search: SearchFile,
    homes: Homes,
    filters: Filters,
    after: Place | None,
    limit: int,
) -> tuple[bytes, Place | None]:
    """A page as `Activity.answer` writes it, and where it goes on.

    In one step of SQLite where one home's activities all pass: as fast as reading the rows alone, where making objects
    of them and text of those takes three times as long.
    """
    if len(homes.keys) > 1 or walk.matcher(filters) is not None:
        page = read_page(raw, search, homes.keys, filters, after, limit)
        return join_answers([each.answer(homes.contact_id) for each in page.activities]), page.next
    upper, lower = walk.bounds(filters, after)
    values = (homes.contact_id, *homes.keys, *upper, lower, limit)
    text, count, timestamp, *last = raw.execute(_WRITE_PAGE, values).fetchone()
    return text, Place(timestamp, ActivityId(*last)) if count > limit else None


def _timeline_rows(
    raw: sqlite3.Connection, columns: str, home: ContactKey, filters: Filters, after: Place | None, most: int
) -> Iterator[Sequence[Any]]:
    """One home's activities, newest first, read as they are asked for."""
    upper, lower = walk.bounds(filters, after)
    return raw.execute(
        f"SELECT {columns} FROM activities INDEXED BY activities_timeline"  # noqa: S608
        " WHERE contact_key = ? AND (timestamp, position) < (?, ?) AND timestamp >= ?"
        " ORDER BY timestamp DESC, position DESC LIMIT ?",
        (home, *upper, lower, most),
    )


def _find(
    raw: sqlite3.Connection, search: SearchFile, filters: Filters, after: Place | None, limit: int
) -> Page:
    """Without an index nothing is found, as while it is behind."""
    try:
        if filters.words or filters.ref is not None:
            matches = search.read(raw, lambda: _word_matches(raw, _all_tokens(filters)))
            if matches is not None:
                return _sorted_page(raw, matches, filters, after, limit)
        upper, lower = walk.bounds(filters, after)
        terms = _best_terms(filters)
        return search.read(
            raw,
            lambda: _walk_postings(raw, terms, upper, lower, filters, limit),
            lambda: [_posted(raw, each, upper, lower) for each in terms],
        )
    except NoIndex:
        return Page((), None)


def _walk_postings(
    raw: sqlite3.Connection,
    terms: Sequence[int],
    upper: tuple[int, int],
    lower: int,
    filters: Filters,
    limit: int,
) -> Page:
    walks = [_posting_rows(raw, each, upper, lower) for each in terms]
    merged = (
        walks[0] if len(walks) == 1 else heapq.merge(*walks, key=lambda row: (row[3], row[0]), reverse=True)
    )
    return walk.collect(merged, walk.matcher(filters), limit)


def _best_terms(filters: Filters) -> list[int]:
    """The postings to walk: the filter that is the rarest by its nature."""
    if filters.name is not None:
        return [term("name", filters.name)]
    if filters.types:
        return [term("type", each) for each in filters.types]
    if filters.sources:
        return [term("source", each) for each in filters.sources]
    return [EVERYTHING]


_POSTED = """
 WHERE p.term = ? AND (p.timestamp, p.position) < (?, ?) AND p.timestamp >= ?
 ORDER BY p.timestamp DESC, p.position DESC LIMIT ?
"""
_POSTED_ROWS = f"""
SELECT a.position, a.tail, a.contact_key, a.timestamp, a.body, a.source, a.name, a.object_type, a.actor_type
  FROM postings p CROSS JOIN activities a ON a.position = p.position {_POSTED}
"""  # noqa: S608 - ours
_POSTED_ALONE = f"SELECT p.position FROM postings p {_POSTED}"  # noqa: S608 - ours


def _posting_rows(
    raw: sqlite3.Connection, each: int, upper: tuple[int, int], lower: int
) -> Iterator[Sequence[Any]]:
    return raw.execute(_POSTED_ROWS, (each, *upper, lower, walk.SCAN_LIMIT + 1))


def _posted(raw: sqlite3.Connection, each: int, upper: tuple[int, int], lower: int) -> list[Any]:
    """What `_posting_rows` reads of the index."""
    return raw.execute(_POSTED_ALONE, (each, *upper, lower, walk.SCAN_LIMIT + 1)).fetchall()


def _all_tokens(filters: Filters) -> str:
    refs = () if filters.ref is None else (ref_token(filters.ref),)
    return " AND ".join(f'"{token}"' for token in (*refs, *filters.words))


def _word_matches(raw: sqlite3.Connection, query: str) -> list[Position] | None:
    """The positions of everything that has these words; None where they are too many to sort."""
    rows = raw.execute(
        "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (query, walk.MATCH_LIMIT + 1)
    ).fetchall()
    return None if len(rows) > walk.MATCH_LIMIT else [row[0] for row in rows]


def _sorted_page(
    raw: sqlite3.Connection, matches: Sequence[Position], filters: Filters, after: Place | None, limit: int
) -> Page:
    """A page from few enough matches: their places are sorted, and rows are read as far as the page needs."""
    upper, lower = walk.bounds(filters, after)
    places: list[tuple[int, int]] = []
    for position in matches:
        row = raw.execute("SELECT timestamp FROM activities WHERE position = ?", (position,)).fetchone()
        if row is not None and (row[0], position) < upper and row[0] >= lower:
            places.append((row[0], position))
    places.sort(reverse=True)
    select = f"SELECT {_FULL_ROW} FROM activities WHERE position = ?"  # noqa: S608
    rows = (raw.execute(select, (position,)).fetchone() for _, position in places)
    return walk.collect((row for row in rows if row is not None), walk.matcher(filters), limit)


# The order of arrival.


def _arrivals(raw: sqlite3.Connection, homes: Sequence[ContactKey], after: Position, limit: int) -> Arrivals:
    # One snapshot for all of it: an activity that arrives between two queries would be passed over for ever, behind a
    # deletion that the second one sees.
    raw.execute("BEGIN")
    try:
        return _read_events(raw, heapq.nsmallest(limit, _arrived(raw, homes, after)), after)
    finally:
        raw.execute("COMMIT")


def _arrived(
    raw: sqlite3.Connection, homes: Sequence[ContactKey], after: Position
) -> Iterator[tuple[Position, bool]]:
    """The positions behind `after`, and whether each is a deletion's."""
    for home in homes:
        # The index covers this: a contact's whole timeline is walked without touching its rows.
        rows = raw.execute(
            "SELECT position FROM activities INDEXED BY activities_timeline WHERE contact_key = ? AND position > ?",
            (home, after),
        )
        for (position,) in rows:
            yield position, False
        gone = raw.execute(
            "SELECT position FROM deletions WHERE contact_key = ? AND position > ?", (home, after)
        )
        for (position,) in gone:
            yield position, True


_ALL_ARRIVALS = """
SELECT json_group_array(json_array(position, hex(contact_key), deleted)) FROM (
    SELECT position, contact_key, 0 AS deleted FROM activities WHERE position > ?1
    UNION ALL SELECT position, contact_key, 1 FROM deletions WHERE position > ?1 ORDER BY 1 LIMIT ?2
)
"""


def _all_arrivals(
    raw: sqlite3.Connection, after: Position, limit: int, homes: frozenset[ContactKey]
) -> Arrivals:
    rows = _decode_rows(raw.execute(_ALL_ARRIVALS, (after, limit)).fetchone()[0])
    wanted = [(row[0], bool(row[2])) for row in rows if bytes.fromhex(row[1]) in homes]
    events = _read_events(raw, wanted, after).events
    return Arrivals(events, rows[-1][0] if rows else after, len(rows) == limit)


def _read_events(
    raw: sqlite3.Connection, wanted: Sequence[tuple[Position, bool]], after: Position
) -> Arrivals:
    events: list[Activity | Deletion] = []
    for position, deleted in wanted:
        if deleted:
            row = raw.execute("SELECT * FROM deletions WHERE position = ?", (position,)).fetchone()
            events.append(Deletion(row[0], row[1], ActivityId(row[2], row[3])))
        else:
            row = raw.execute(f"SELECT {_ROW} FROM activities WHERE position = ?", (position,)).fetchone()  # noqa: S608
            if row is not None:
                events.append(walk.to_activity(row))
    return Arrivals(tuple(events), wanted[-1][0] if wanted else after)
