"""The activity log on SQLite: queries, nothing else. What they mean is in `store/base.py`."""

from __future__ import annotations

import functools
import hashlib
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import pysqlite3 as sqlite3

from backstory.model.access import AuditEntry
from backstory.model.activity import Activity, Deletion, Publication, decode_text
from backstory.model.ids import ActivityId, ContactKey, Position, RandomPool, first_position
from backstory.model.json_text import parse_stored
from backstory.model.moment import Microseconds, now
from backstory.model.page import Filters, Page, Place
from backstory.model.refs import refs_of
from backstory.model.words import words_of
from backstory.store.base import Arrivals, StreamPosition
from backstory.store.records.sql import add_audit
from backstory.store.sqlite_database import SqliteDatabase, Transaction

SCAN_LIMIT = 5_000
"""How many activities one page looks at before it answers short, with a `next`."""

MATCH_LIMIT = 50_000
"""Up to how many matches of words are sorted; more than that are common enough to be met by walking the timeline."""

INDEX_PIECE = 500
INDEX_LAG_SECONDS = 0.2
"""How old the oldest missing entry becomes before the index follows: well within the second that is promised."""

ROWS_PER_STATEMENT = 64

_ROW = "position, tail, contact_key, timestamp, body"
_FULL_ROW = f"{_ROW}, source, name, object_type, actor_type"
_LAST = (1 << 63) - 1


class NewRow(NamedTuple):
    """One row to append, its contact known."""

    publication: Publication
    contact_key: ContactKey
    origin: bytes


class Known(NamedTuple):
    """A replay's original."""

    position: Position
    digest: bytes


def _activity(row: Sequence[Any]) -> Activity:
    return Activity(ActivityId(row[0], row[1]), row[2], row[3], row[4])


@functools.lru_cache(maxsize=16_384)
def term(kind: str, value: str) -> int:
    """The signed 64-bit name of a value in `postings`."""
    hashed = hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big", signed=True)


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


class Appender:
    """The write side, used inside a transaction on the writer's thread. Gives out positions, strictly rising."""

    def __init__(self) -> None:
        self._random = RandomPool()

    def last_position(self, raw: sqlite3.Connection) -> Position:
        """The newest position that anybody, also another process, has given out."""
        row = raw.execute(
            "SELECT max((SELECT coalesce(max(position), 0) FROM activities),"
            " (SELECT coalesce(max(position), 0) FROM deletions))"
        ).fetchone()
        return int(row[0])

    def next_position(self, raw: sqlite3.Connection) -> Position:
        """The position for one more row: the clock's, or one behind the last where the clock stands or went back."""
        return max(self.last_position(raw) + 1, first_position(time.time_ns() // 1_000_000))

    def known(
        self, raw: sqlite3.Connection, hashes: Sequence[bytes], moment: Microseconds
    ) -> dict[bytes, Known]:
        """Which of these idempotency hashes were seen before."""
        if not hashes:
            return {}
        marks = ",".join("?" * len(hashes))
        query = f"SELECT hash, position, digest FROM event_keys WHERE hash IN ({marks})"  # noqa: S608 - only marks
        rows = raw.execute(f"{query} AND (expires IS NULL OR expires > ?)", (*hashes, moment)).fetchall()
        return {row[0]: Known(row[1], row[2]) for row in rows}

    def prove_writable(self, raw: sqlite3.Connection) -> None:
        """Write something: a full disk shows only then."""
        raw.execute("INSERT OR REPLACE INTO log_state VALUES ('ready', ?)", (str(time.time_ns()),))

    def append(self, raw: sqlite3.Connection, rows: Sequence[NewRow]) -> list[ActivityId]:
        """Insert rows in their order; their ids."""
        first = self.next_position(raw)
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
    ) -> tuple[ActivityId, ContactKey, bytes | None]:
        """The first one of a replay: its id, its home, its origin (None where it was deleted since)."""
        row = raw.execute(
            "SELECT tail, contact_key, origin FROM activities WHERE position = ?1"
            " UNION ALL SELECT tail, contact_key, NULL FROM deletions WHERE deleted = ?1",
            (position,),
        ).fetchone()
        return ActivityId(position, row[0]), row[1], row[2]


class Indexer:
    """Follows the log behind a durable watermark: postings and words, in sorted bulk."""

    def __init__(self) -> None:
        self._oldest_missing: float | None = None  # seconds since the epoch
        self._pending = True

    def note_append(self) -> None:
        """There is something new to index."""
        self._pending = True
        if self._oldest_missing is None:
            self._oldest_missing = time.time()

    @property
    def lag(self) -> float:
        """Seconds since the oldest activity that is not indexed yet arrived; 0 where all are."""
        oldest = self._oldest_missing
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def due_in(self) -> float | None:
        """Seconds until the next piece: entries gather, because sorted bulk is far cheaper than one at a time."""
        if not self._pending:
            return None
        return max(0.0, INDEX_LAG_SECONDS - self.lag) if self._oldest_missing else 0.0

    def do(self, transaction: Transaction) -> None:
        """Index the next piece and move the watermark, in one transaction."""
        raw = transaction.raw
        watermark = int(raw.execute("SELECT value FROM log_state WHERE name = 'indexed'").fetchone()[0])
        rows = raw.execute(
            f"SELECT {_FULL_ROW} FROM activities WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608
            (watermark, INDEX_PIECE),
        ).fetchall()
        if rows:
            _add_to_index(raw, rows)
            raw.execute("UPDATE log_state SET value = ? WHERE name = 'indexed'", (str(rows[-1][0]),))
        _drop_expired(raw, now())
        self._pending = len(rows) == INDEX_PIECE
        self._oldest_missing = (rows[-1][0] >> 12) / 1000 if self._pending else None


def _drop_expired(raw: sqlite3.Connection, moment: Microseconds) -> None:
    """Forget some idempotency keys whose time is over."""
    raw.execute(
        "DELETE FROM event_keys WHERE hash IN"
        " (SELECT hash FROM event_keys WHERE expires IS NOT NULL AND expires <= ? LIMIT 500)",
        (moment,),
    )


def _terms(row: Sequence[Any], refs: Iterable[str]) -> list[int]:
    """The postings of a row (see `find`)."""
    source, name, object_type = row[5], row[6], row[7]
    terms = [term("all", ""), term("source", source), term("name", name)]
    if object_type is not None:
        terms.append(term("type", object_type))
    return terms + [term("ref", ref) for ref in refs]


def _index_entries(row: Sequence[Any]) -> tuple[list[int], str]:
    """A row's postings and its words, as they stand in the index."""
    text = decode_text(row[4])
    context = parse_stored(bytes(text.context))
    object_id = text.object["id"] if text.object else None
    refs = refs_of(object_id, text.external_id, context)
    words = words_of(text.name, text.description, text.object, text.actor, context)
    return _terms(row, refs), " ".join([f"@{row[2].hex()}", *sorted(words)])


def _add_to_index(raw: sqlite3.Connection, rows: Sequence[Sequence[Any]]) -> None:
    postings: list[tuple[int, int, int]] = []
    texts: list[tuple[int, str]] = []
    for row in rows:
        terms, words = _index_entries(row)
        postings.extend((each, row[3], row[0]) for each in terms)
        texts.append((row[0], words))
    postings.sort()
    _insert(raw, "INSERT OR IGNORE INTO postings", postings)
    _insert(raw, "INSERT INTO words (rowid, folded)", texts)


def _remove_from_index(raw: sqlite3.Connection, row: Sequence[Any]) -> None:
    terms, words = _index_entries(row)
    raw.executemany(
        "DELETE FROM postings WHERE (term, timestamp, position) = (?, ?, ?)",
        [(t, row[3], row[0]) for t in terms],
    )
    raw.execute("INSERT INTO words (words, rowid, folded) VALUES ('delete', ?, ?)", (row[0], words))


class SqliteLog:
    """The read side, and deletion."""

    def __init__(self, database: SqliteDatabase, appender: Appender) -> None:
        self._database = database
        self._appender = appender

    async def get(self, activity_id: ActivityId) -> Activity | None:
        """See `ActivityLog.get`."""
        row = await self._database.read(lambda raw: _select(raw, _ROW, activity_id))
        return _activity(row) if row else None

    async def origin(self, activity_id: ActivityId) -> bytes | None:
        """See `ActivityLog.origin`."""
        row = await self._database.read(lambda raw: _select(raw, "origin", activity_id))
        return bytes(row[0]) if row else None

    async def page(
        self, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
    ) -> Page:
        """See `ActivityLog.page`."""
        return await self._database.read(lambda raw: _page(raw, homes, filters, after, limit))

    async def find(self, filters: Filters, after: Place | None, limit: int) -> Page:
        """See `ActivityLog.find`."""
        return await self._database.read(lambda raw: _find(raw, filters, after, limit))

    async def arrivals(self, homes: Sequence[ContactKey], after: Position, limit: int) -> Arrivals:
        """See `ActivityLog.arrivals`."""
        return await self._database.read(lambda raw: _arrivals(raw, homes, after, limit))

    async def all_arrivals(self, after: Position, limit: int) -> Arrivals:
        """What arrived for anybody after a position, oldest first: what the live viewers are fed from."""
        return await self._database.read(lambda raw: _all_arrivals(raw, after, limit))

    async def stream_position(self) -> StreamPosition:
        """See `ActivityLog.stream_position`."""
        return await self._database.read(self._stream_position)

    def _stream_position(self, raw: sqlite3.Connection) -> StreamPosition:
        generation = raw.execute("SELECT value FROM log_state WHERE name = 'generation'").fetchone()[0]
        return StreamPosition(generation, self._appender.last_position(raw))

    async def delete(self, activity_id: ActivityId, entry: AuditEntry) -> Deletion | None:
        """See `ActivityLog.delete`."""
        return await self._database.write(lambda transaction: self._delete(transaction, activity_id, entry))

    def _delete(
        self, transaction: Transaction, activity_id: ActivityId, entry: AuditEntry
    ) -> Deletion | None:
        raw = transaction.raw
        row = _select(raw, _FULL_ROW, activity_id)
        if row is None:
            return None
        deletion = Deletion(self._appender.next_position(raw), row[2], activity_id)
        indexed = int(raw.execute("SELECT value FROM log_state WHERE name = 'indexed'").fetchone()[0])
        if row[0] <= indexed:
            _remove_from_index(raw, row)
        raw.execute("DELETE FROM activities WHERE position = ?", (row[0],))
        raw.execute("INSERT INTO deletions VALUES (?, ?, ?, ?)", (deletion.position, row[2], *activity_id))
        add_audit(transaction.records, entry)
        return deletion


def _select(raw: sqlite3.Connection, columns: str, activity_id: ActivityId) -> Any:
    return raw.execute(
        f"SELECT {columns} FROM activities WHERE position = ? AND tail = ?",  # noqa: S608 - columns are ours
        activity_id,
    ).fetchone()


# Pages. Each is a walk over candidates in order, filtered, that ends when the page is full or SCAN_LIMIT is reached.


def _page(
    raw: sqlite3.Connection, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
) -> Page:
    if filters.words:
        tokens = " OR ".join(f'"@{home.hex()}"' for home in homes)
        matches = _word_matches(raw, f"({tokens}) AND {_all_words(filters)}")
        if matches is not None:
            return _sorted_page(raw, matches, filters, after, limit)
    rows = [_timeline_rows(raw, home, filters, after) for home in homes]
    merged = rows[0] if len(rows) == 1 else heapq.merge(*rows, key=lambda row: (row[3], row[0]), reverse=True)
    return _collect(merged, _matcher(filters), limit)


def _timeline_rows(
    raw: sqlite3.Connection, home: ContactKey, filters: Filters, after: Place | None
) -> Iterator[Sequence[Any]]:
    """One home's activities, newest first, read as they are asked for."""
    upper, lower = _bounds(filters, after)
    return raw.execute(
        f"SELECT {_FULL_ROW} FROM activities INDEXED BY activities_timeline"  # noqa: S608
        " WHERE contact_key = ? AND (timestamp, position) < (?, ?) AND timestamp >= ?"
        " ORDER BY timestamp DESC, position DESC LIMIT ?",
        (home, *upper, lower, SCAN_LIMIT + 1),
    )


def _find(raw: sqlite3.Connection, filters: Filters, after: Place | None, limit: int) -> Page:
    if filters.words and filters.ref is None:
        matches = _word_matches(raw, _all_words(filters))
        if matches is not None:
            return _sorted_page(raw, matches, filters, after, limit)
    upper, lower = _bounds(filters, after)
    walks = [_posting_rows(raw, each, upper, lower) for each in _best_terms(filters)]
    merged = (
        walks[0] if len(walks) == 1 else heapq.merge(*walks, key=lambda row: (row[3], row[0]), reverse=True)
    )
    return _collect(merged, _matcher(filters), limit)


def _best_terms(filters: Filters) -> list[int]:
    """The postings to walk: the filter that is the rarest by its nature."""
    if filters.ref is not None:
        return [term("ref", filters.ref)]
    if filters.name is not None:
        return [term("name", filters.name)]
    if filters.types:
        return [term("type", each) for each in filters.types]
    if filters.sources:
        return [term("source", each) for each in filters.sources]
    return [term("all", "")]


def _posting_rows(
    raw: sqlite3.Connection, each: int, upper: tuple[int, int], lower: int
) -> Iterator[Sequence[Any]]:
    return raw.execute(
        "SELECT a.position, a.tail, a.contact_key, a.timestamp, a.body, a.source, a.name, a.object_type, a.actor_type"
        " FROM postings p CROSS JOIN activities a ON a.position = p.position"
        " WHERE p.term = ? AND (p.timestamp, p.position) < (?, ?) AND p.timestamp >= ?"
        " ORDER BY p.timestamp DESC, p.position DESC LIMIT ?",
        (each, *upper, lower, SCAN_LIMIT + 1),
    )


def _bounds(filters: Filters, after: Place | None) -> tuple[tuple[int, int], int]:
    """Where a walk begins (exclusive) and the oldest timestamp that it reaches."""
    upper = (after.timestamp, after.id.position) if after else (_LAST, 0)
    if filters.until is not None:
        upper = min(upper, (filters.until, 0))
    return upper, filters.since if filters.since is not None else -_LAST


def _all_words(filters: Filters) -> str:
    return " AND ".join(f'"{word}"' for word in filters.words)


def _word_matches(raw: sqlite3.Connection, query: str) -> list[Position] | None:
    """The positions of everything that has these words; None where they are too many to sort."""
    rows = raw.execute(
        "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?", (query, MATCH_LIMIT + 1)
    ).fetchall()
    return None if len(rows) > MATCH_LIMIT else [row[0] for row in rows]


def _sorted_page(
    raw: sqlite3.Connection, matches: Sequence[Position], filters: Filters, after: Place | None, limit: int
) -> Page:
    """A page from few enough matches: their places are sorted, and rows are read as far as the page needs."""
    upper, lower = _bounds(filters, after)
    places: list[tuple[int, int]] = []
    for position in matches:
        row = raw.execute("SELECT timestamp FROM activities WHERE position = ?", (position,)).fetchone()
        if row is not None and (row[0], position) < upper and row[0] >= lower:
            places.append((row[0], position))
    places.sort(reverse=True)
    select = f"SELECT {_FULL_ROW} FROM activities WHERE position = ?"  # noqa: S608
    rows = (raw.execute(select, (position,)).fetchone() for _, position in places)
    return _collect((row for row in rows if row is not None), _matcher(filters), limit)


def _matcher(filters: Filters) -> Callable[[Sequence[Any]], bool]:
    """A test of one row. Hashes and indexes narrow; this decides, on the values themselves."""
    sources, types, wanted = set(filters.sources), set(filters.types), set(filters.words)

    def matches(row: Sequence[Any]) -> bool:
        return (
            (not sources or row[5] in sources)
            and (filters.name is None or row[6] == filters.name)
            and (not types or row[7] in types)
            and (filters.actor_type is None or row[8] == filters.actor_type)
            and (filters.ref is None or filters.ref in _row_refs(row))
            and (not wanted or wanted <= _row_words(row))
        )

    return matches


def _row_refs(row: Sequence[Any]) -> list[str]:
    text = decode_text(row[4])
    return refs_of(
        text.object["id"] if text.object else None, text.external_id, parse_stored(bytes(text.context))
    )


def _row_words(row: Sequence[Any]) -> set[str]:
    text = decode_text(row[4])
    return words_of(text.name, text.description, text.object, text.actor, parse_stored(bytes(text.context)))


def _collect(rows: Iterable[Sequence[Any]], matches: Callable[[Sequence[Any]], bool], limit: int) -> Page:
    """Fill a page. There is a `next` where a row beyond it was met, matching or not looked at any more."""
    found: list[Activity] = []
    last: Sequence[Any] | None = None
    for scanned, row in enumerate(rows):
        if scanned >= SCAN_LIMIT and last is not None:
            return Page(tuple(found), _place(last))
        if matches(row):
            if len(found) == limit:
                return Page(tuple(found), Place(found[-1].timestamp, found[-1].id))
            found.append(_activity(row))
        last = row
    return Page(tuple(found), None)


def _place(row: Sequence[Any]) -> Place:
    return Place(row[3], ActivityId(row[0], row[1]))


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
) -> list[tuple[Position, bool]]:
    """The positions behind `after`, and whether each is a deletion's."""
    positions: list[tuple[Position, bool]] = []
    for home in homes:
        # The index covers this: a contact's whole timeline is walked without touching its rows.
        rows = raw.execute(
            "SELECT position FROM activities INDEXED BY activities_timeline WHERE contact_key = ? AND position > ?",
            (home, after),
        )
        positions.extend((row[0], False) for row in rows)
        gone = raw.execute(
            "SELECT position FROM deletions WHERE contact_key = ? AND position > ?", (home, after)
        )
        positions.extend((row[0], True) for row in gone)
    return positions


def _all_arrivals(raw: sqlite3.Connection, after: Position, limit: int) -> Arrivals:
    rows = raw.execute(
        "SELECT position, 0 FROM activities WHERE position > ?1"
        " UNION ALL SELECT position, 1 FROM deletions WHERE position > ?1 ORDER BY 1 LIMIT ?2",
        (after, limit),
    ).fetchall()
    return _read_events(raw, [(row[0], bool(row[1])) for row in rows], after)


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
                events.append(_activity(row))
    return Arrivals(tuple(events), wanted[-1][0] if wanted else after)
