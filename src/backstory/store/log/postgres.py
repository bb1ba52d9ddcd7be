"""The activity log on PostgreSQL: queries, nothing else. What they mean is in `store/base.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa

from backstory.model.access import AuditEntry
from backstory.model.activity import Activity, Arrival, Deletion
from backstory.model.ids import ActivityId, ContactKey, Position, RandomPool
from backstory.model.page import Filters, Page, Place
from backstory.store.base import Arrivals, RecordsTransaction, StreamPosition
from backstory.store.log import walk
from backstory.store.log.index_entries import term
from backstory.store.postgres_database import PostgresDatabase
from backstory.store.publish import NewRow
from backstory.store.records.sql import add_audit

FIRST_CHUNK, MAX_CHUNK = 200, 1_000
"""How many candidates are fetched at once where they are tested here: more and more, for most pages fill soon."""

NEAR_ROWS = 1_000
"""Among how many of the newest a search looks first."""

LOCK = "SELECT pg_advisory_xact_lock(4870020391872134145)"  # the log's: see postgres_schema.sql

APPEND = """
SELECT append_activities($1::json, $2::bytea[], $3::bigint[], $4::bytea[], $5::bigint[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bigint[])
"""

_ROW = "a.position, a.tail, a.contact_key, a.timestamp, a.body"
_FULL_ROW = f"{_ROW}, a.source, a.name, a.object_type, a.actor_type"
_ONE = f"SELECT {_ROW} FROM activities a WHERE position = $1 AND tail = $2"  # noqa: S608 - columns are ours
_ORIGIN = "SELECT origin FROM activities WHERE position = $1 AND tail = $2"
_IN_BOUNDS = (
    "(timestamp, position) < ({0}, {1}) AND timestamp >= {2} ORDER BY timestamp DESC, position DESC LIMIT {3}"
)

_TIMELINE = f"""
SELECT {{}} FROM activities a
 WHERE contact_key = ($1::bytea[])[1] AND {_IN_BOUNDS.format("$2", "$3", "$4", "$5")}
"""  # noqa: S608
_TIMELINES = f"""
SELECT {{}} FROM unnest($1::bytea[]) AS home CROSS JOIN LATERAL (
       SELECT * FROM activities WHERE contact_key = home AND {_IN_BOUNDS.format("$2", "$3", "$4", "$5")}) a
 ORDER BY a.timestamp DESC, a.position DESC LIMIT $5
"""  # noqa: S608

_FOUND = f"""
SELECT {_FULL_ROW}, i.timestamp, i.position FROM ({{}}) i LEFT JOIN activities a ON a.position = i.position
 ORDER BY i.timestamp DESC, i.position DESC
"""  # noqa: S608
_BY_TERM = f"""
SELECT i.timestamp, i.position FROM unnest($5::bigint[]) AS wanted CROSS JOIN LATERAL (
       SELECT timestamp, position FROM activity_index
        WHERE {{}} = wanted AND {_IN_BOUNDS.format("$1", "$2", "$3", "$4")}) i
 ORDER BY 1 DESC, 2 DESC LIMIT $4
"""  # noqa: S608
_BY_TIME = f"""
SELECT timestamp, position FROM activity_index WHERE {_IN_BOUNDS.format("$1", "$2", "$3", "$4")}
"""  # noqa: S608
_BY_POSITION = "SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS i (timestamp, position)"

# The matches are gathered by the index on terms, whatever the planner thinks of the order, and then sorted.
_MATCHES = """
WITH matches AS MATERIALIZED (
     SELECT timestamp, position FROM activity_index
      WHERE ({}) AND (timestamp, position) < ($1, $2) AND timestamp >= $3 LIMIT $4)
SELECT timestamp, position, (SELECT count(*) FROM matches) FROM matches ORDER BY 1 DESC, 2 DESC LIMIT $5
"""

# The same among the newest alone: what is common is met there, and need not be gathered from everywhere.
_NEAR = f"""
SELECT timestamp, position FROM (
       SELECT timestamp, position, terms FROM activity_index
        WHERE {_IN_BOUNDS.format("$1", "$2", "$3", "$4")}) AS newest
 WHERE {{}} ORDER BY 1 DESC, 2 DESC
"""  # noqa: S608
_NEAR_OF_CONTACT = f"""
SELECT newest.timestamp, newest.position FROM (
       SELECT a.timestamp, a.position FROM unnest($5::bytea[]) AS home CROSS JOIN LATERAL (
              SELECT timestamp, position FROM activities
               WHERE contact_key = home AND {_IN_BOUNDS.format("$1", "$2", "$3", "$4")}) a
        ORDER BY 1 DESC, 2 DESC LIMIT $4) AS newest
  JOIN activity_index ON activity_index.position = newest.position WHERE {{}} ORDER BY 1 DESC, 2 DESC
"""  # noqa: S608

_LAST = "greatest((SELECT max(position) FROM activities), (SELECT max(position) FROM deletions), 0)"
_STREAM_POSITION = f"SELECT value, {_LAST} FROM log_state WHERE name = 'generation'"  # noqa: S608

_EVENTS = f"""
SELECT {_ROW}, d.position AS gone_at, d.contact_key AS gone_from, d.deleted, d.tail AS gone_tail,
       wanted.position AS place FROM wanted
  LEFT JOIN activities a ON NOT wanted.gone AND a.position = wanted.position
  LEFT JOIN deletions d ON wanted.gone AND d.position = wanted.position ORDER BY place
"""  # noqa: S608
_ARRIVALS = f"""
WITH wanted AS (
     SELECT position, false AS gone FROM activities WHERE contact_key = ANY ($1::bytea[]) AND position > $2
      UNION ALL SELECT position, true FROM deletions WHERE contact_key = ANY ($1::bytea[]) AND position > $2
      ORDER BY 1 LIMIT $3)
{_EVENTS}
"""  # noqa: S608
_ALL_ARRIVALS = f"""
WITH arrived AS MATERIALIZED (
     (SELECT position, contact_key, false AS gone FROM activities WHERE position > $1 ORDER BY 1 LIMIT $2)
      UNION ALL (SELECT position, contact_key, true FROM deletions WHERE position > $1 ORDER BY 1 LIMIT $2)
      ORDER BY 1 LIMIT $2),
  wanted AS (SELECT position, gone FROM arrived WHERE contact_key = ANY ($3::bytea[])),
  events AS ({_EVENTS})
SELECT seen.*, events.* FROM (SELECT max(position), count(*) FROM arrived) AS seen (last, number)
  LEFT JOIN events ON true ORDER BY place
"""  # noqa: S608

Chunk = Callable[[tuple[int, int], int, int], Awaitable[Sequence[Sequence[Any]]]]
"""Reads candidates below a place (exclusive) and not older than a timestamp, in order, at most so many."""


class Appender:
    """The arguments of `append_activities`."""

    def __init__(self) -> None:
        self._random = RandomPool()

    def arguments(
        self, rows: Sequence[NewRow], plan: str | None = None, relied_on: Collection[ContactKey] = ()
    ) -> tuple[Any, ...]:
        """For `APPEND`; the third ones are the tails that the rows' ids get."""
        items = [row.publication for row in rows]
        return (
            plan,
            list(relied_on),
            [self._random.tail() for _ in rows],
            [row.contact_key for row in rows],
            [item.timestamp for item in items],
            [item.source for item in items],
            [item.name for item in items],
            [item.object_type for item in items],
            [item.actor_type for item in items],
            [item.body for item in items],
            [row.origin for row in rows],
            [item.idempotency for item in items],
            [item.digest for item in items],
            [item.expires for item in items],
        )


class PostgresLog:
    """The read side, and deletion."""

    overlap: Position = 0
    finds_words = True
    late_seconds = 0.0

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Any]:
        async with self._database.connection() as connection:
            return await connection.fetch(query, *arguments)

    async def get(self, activity_id: ActivityId) -> Activity | None:
        """See `ActivityLog.get`."""
        rows = await self._fetch(_ONE, *activity_id)
        return walk.to_activity(rows[0]) if rows else None

    async def origin(self, activity_id: ActivityId) -> bytes | None:
        """See `ActivityLog.origin`."""
        rows = await self._fetch(_ORIGIN, *activity_id)
        return rows[0][0] if rows else None

    async def page(
        self, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
    ) -> Page:
        """See `ActivityLog.page`."""
        if filters.words:
            sets = [[term("contact", home.hex()), *_word_terms(filters)] for home in homes]
            page = await self._page_of_terms(_NEAR_OF_CONTACT, [homes], sets, filters, after, limit)
            if page is not None:
                return page
        columns = _ROW if walk.matcher(filters) is None else _FULL_ROW
        query = (_TIMELINE if len(homes) == 1 else _TIMELINES).format(columns)

        async def read(upper: tuple[int, int], lower: int, most: int) -> Sequence[Sequence[Any]]:
            return await self._fetch(query, homes, *upper, lower, most)

        return await self._page(read, filters, after, limit)

    async def find(self, filters: Filters, after: Place | None, limit: int) -> Page:
        """See `ActivityLog.find`."""
        if filters.words or filters.ref is not None:
            refs = [] if filters.ref is None else [term("ref", filters.ref)]
            sets = [[*refs, *_word_terms(filters)]]
            page = await self._page_of_terms(_NEAR, [], sets, filters, after, limit)
            if page is not None:
                return page
        column, terms = _best_terms(filters)
        query = _FOUND.format(_BY_TERM.format(column) if terms else _BY_TIME)

        async def read(upper: tuple[int, int], lower: int, most: int) -> Sequence[Sequence[Any]]:
            return await self._fetch(query, *upper, lower, most, *([terms] if terms else []))

        return await self._page(read, filters, after, limit)

    async def _page_of_terms(
        self,
        near: str,
        arguments: Sequence[Any],
        sets: Sequence[Sequence[int]],
        filters: Filters,
        after: Place | None,
        limit: int,
    ) -> Page | None:
        """A page of what has all terms of one of the sets; None where that is too much, and not among the newest."""
        upper, lower = walk.bounds(filters, after)
        query = near.format(_any_of(sets, 5 + len(arguments)))
        places = await self._fetch(query, *upper, lower, NEAR_ROWS, *arguments, *sets)
        if len(places) > limit:
            page = await self._page(_listed(places, self._fetch), filters, after, limit)
            if page.next is not None:
                return page
        matches = await self._matches(sets, filters, after)
        if matches is None:
            return None
        return await self._page(_listed(matches, self._fetch), filters, after, limit)

    async def _matches(
        self, sets: Sequence[Sequence[int]], filters: Filters, after: Place | None
    ) -> Sequence[Sequence[Any]] | None:
        """The places, newest first, of what has all terms of one of the sets; None where they are too many to sort."""
        upper, lower = walk.bounds(filters, after)
        most = walk.MATCH_LIMIT + 1
        query = _MATCHES.format(_any_of(sets, 6))
        rows = await self._fetch(query, *upper, lower, most, walk.SCAN_LIMIT + MAX_CHUNK, *sets)
        return None if rows and rows[0][2] == most else rows

    async def _page(self, read: Chunk, filters: Filters, after: Place | None, limit: int) -> Page:
        """Walk candidates until the page is full."""
        matches = walk.matcher(filters)
        upper, lower = walk.bounds(filters, after)
        if matches is None:
            filling, size = walk.Filling(lambda row: True, limit), limit + 1
        else:
            filling, size = walk.Filling(matches, limit), FIRST_CHUNK
        while True:
            rows = await read(upper, lower, size)
            page = filling.take(row for row in rows if row[0] is not None)  # not those that were just deleted
            if page is not None:
                return page
            if len(rows) < size:
                return filling.end()
            # Where rows come by an index, its place stands at their end: the row itself may be gone.
            upper = (rows[-1][-2], rows[-1][-1]) if len(rows[-1]) > 9 else (rows[-1][3], rows[-1][0])
            size = min(size * 2, MAX_CHUNK)

    async def arrivals(
        self, homes: Sequence[ContactKey], after: Position, limit: int, had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.arrivals`."""
        events = [_event(row) for row in await self._fetch(_ARRIVALS, homes, after, limit)]
        last = after
        if events:
            newest = events[-1]
            last = newest.position if isinstance(newest, Deletion) else newest.id.position
        return Arrivals(tuple(events), last)

    async def all_arrivals(
        self, after: Position, limit: int, homes: frozenset[ContactKey], had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.all_arrivals`."""
        rows = await self._fetch(_ALL_ARRIVALS, after, limit, list(homes))
        last, number = rows[0][:2]
        events = tuple(_event(row[2:]) for row in rows if row[2] is not None or row[7] is not None)
        return Arrivals(events, after if last is None else last, number == limit)

    async def stream_position(self) -> StreamPosition:
        """See `ActivityLog.stream_position`."""
        (row,) = await self._fetch(_STREAM_POSITION)
        return StreamPosition(*row)

    async def delete(self, activity_id: ActivityId, entry: AuditEntry) -> Deletion | None:
        """See `ActivityLog.delete`. The index follows within a second."""

        def work(transaction: RecordsTransaction) -> Deletion | None:
            row = transaction.records.execute(
                sa.text("SELECT deletion, home FROM delete_activity(:position, :tail)"), activity_id._asdict()
            ).one_or_none()
            if row is None:
                return None
            add_audit(transaction.records, entry)
            return Deletion(row.deletion, row.home, activity_id)

        return await self._database.write(work)

    async def erase(self, homes: Sequence[ContactKey], limit: int) -> int:
        """See `ActivityLog.erase`. Each leaves what a deletion leaves; the index follows within a second."""

        def work(transaction: RecordsTransaction) -> int:
            # Who found a contact there and has not committed yet holds the lock: what comes of it is seen behind it.
            transaction.records.exec_driver_sql(LOCK)
            values = {"homes": list(homes), "limit": limit}
            return int(transaction.records.scalar(sa.text(_ERASE), values) or 0)

        return await self._database.write(work)


_ERASE = """
SELECT count(*) FROM (
    SELECT position, tail FROM activities WHERE contact_key = ANY (:homes) LIMIT :limit
) wanted CROSS JOIN LATERAL delete_activity(wanted.position, wanted.tail)
"""


def _event(row: Sequence[Any]) -> Activity | Deletion:
    if row[0] is not None:
        return walk.to_activity(row)
    return Deletion(row[5], row[6], ActivityId(row[7], row[8]))


def _listed(
    places: Sequence[Sequence[Any]], fetch: Callable[..., Awaitable[Sequence[Sequence[Any]]]]
) -> Chunk:
    """Candidates from a list of their places, which are in order."""
    rest = iter(places)

    async def read(upper: tuple[int, int], lower: int, most: int) -> Sequence[Sequence[Any]]:
        some = list(islice(rest, most))
        if not some:
            return []
        columns = [place[0] for place in some], [place[1] for place in some]
        return await fetch(_FOUND.format(_BY_POSITION), *columns)

    return read


def _any_of(sets: Sequence[Sequence[int]], first: int) -> str:
    """A condition for rows that have all terms of one of the sets, which are the arguments from `first` on."""
    return "(" + " OR ".join(f"terms @> ${first + number}::bigint[]" for number in range(len(sets))) + ")"


def _word_terms(filters: Filters) -> list[int]:
    return [term("word", word) for word in filters.words]


def _best_terms(filters: Filters) -> tuple[str, list[int]]:
    """The column to walk by and its terms: the filter that is the rarest by its nature."""
    if filters.name is not None:
        return "name_term", [term("name", filters.name)]
    if filters.types:
        return "type_term", [term("type", each) for each in filters.types]
    if filters.sources:
        return "source_term", [term("source", each) for each in filters.sources]
    return "", []
