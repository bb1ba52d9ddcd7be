"""The PostgreSQL store: activity log and records in one database, for as many server processes as you like."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import asyncpg
import sqlalchemy as sa
import structlog

from backstory.errors import Unavailable
from backstory.model.activity import Event, Publication, Published
from backstory.model.identity import Resolved, Sought
from backstory.model.ids import ActivityId
from backstory.model.moment import Microseconds, now
from backstory.model.page import Filters, Place
from backstory.store.base import Bookmark, PublishResult, StoreStats, TimelineRead
from backstory.store.log.postgres import APPEND, LOCK, Appender, PostgresLog
from backstory.store.log.postgres_index import Follower
from backstory.store.postgres_database import ATTEMPTS, RACED, UNKNOWN, PostgresDatabase, Refusal, sqlstate
from backstory.store.publish import Group, event_row, replayed
from backstory.store.records import sql
from backstory.store.records.postgres_resolve import (
    LOOK_UP,
    Found,
    Original,
    PlannedResolution,
    read_found,
    wanted,
)
from backstory.store.records.relational import RelationalRecords
from backstory.store.records.resolve import sent_numbers

READY_SECONDS = 1.0
"""For how long storage that was just proven is taken as ready."""

PROOF_BYTES = 512 * 1024

OPTIMISTIC = 3
"""After so many lost races a group holds the log's lock while it is decided: then nobody is faster."""

SEND_AGAIN = f"{UNKNOWN} Send it again; what has an id is never kept twice."
_LOG_IS_ELSEWHERE = Refusal(  # what was published would go into another log, and nobody would be told
    "SELECT to_regclass('activity_outbox') IS NOT NULL",
    "its activity log is on a cluster: name that in BACKSTORY_ACTIVITY_LOG (of a copy: --from-log, --to-log)",
)
_NEW_IDS = "SELECT nextval('contacts_id_seq') FROM generate_series(1, $1::integer)"
_PROVE = """
INSERT INTO log_state SELECT 'ready', string_agg(md5(random()::text), '') FROM generate_series(1, $1::integer)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_SAVE_BOOKMARK = """
INSERT INTO bookmarks (name, line, "offset") VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET line = excluded.line, "offset" = excluded."offset"
"""


log = structlog.get_logger(__name__)


class PostgresStore:
    """One installation in one PostgreSQL database. See `store.base.Store`."""

    atomic = True

    def __init__(self, url: str) -> None:
        self.database = PostgresDatabase(url)
        self._appender = Appender()
        self._follower = Follower(self.database)
        self._ready_until = 0.0
        self._refusing = False
        self.log = PostgresLog(self.database)
        self.records = RelationalRecords(self.database)

    def open(self) -> None:
        """Look whether the database can be used and bring it up to date (see `PostgresDatabase.open`)."""
        self.database.appender = self._append_events
        self.database.resolver = resolve
        self.database.open(_LOG_IS_ELSEWHERE)

    async def start(self, arrived: Callable[[], None]) -> None:
        """See `Store.start`."""
        for risk in self.database.risks:
            log.warning("database_risk", risk=risk)
        self._follower.arrived = arrived
        self._follower.start()

    async def publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None = None
    ) -> list[PublishResult]:
        """See `Store.publish`."""
        try:
            results = await self.database.to_its_end(self._publish(publications, bookmark))
        except Unavailable:
            self._refusing = True
            raise
        self._refusing = False
        return results

    async def _publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None
    ) -> list[PublishResult]:
        async with self.database.connection(lost=SEND_AGAIN) as connection:
            for attempt in itertools.count(1):
                try:
                    if bookmark is None and attempt <= OPTIMISTIC:
                        return await self._attempt(connection, publications)
                    async with connection.transaction():
                        await connection.execute(LOCK)
                        results = await self._attempt(connection, publications)
                        if bookmark is not None:
                            await connection.execute(
                                _SAVE_BOOKMARK, bookmark.name, bookmark.line, bookmark.offset
                            )
                        return results
                except asyncpg.PostgresError as error:
                    if sqlstate(error) not in RACED or attempt == ATTEMPTS:
                        raise
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self,
        connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
        publications: Sequence[Publication],
    ) -> list[PublishResult]:
        """Look, decide, write: two round trips, one more where contacts are made."""
        moment = now()
        hashes = [item.idempotency for item in publications if item.idempotency is not None]
        found = read_found(await connection.fetch(LOOK_UP, *wanted(publications, hashes, moment)))

        def sort_out(group: Group, resolution: PlannedResolution) -> None:
            group.sort_out(found.known, _replay, resolution)

        group, resolution = await decide(connection, publications, found, moment, sort_out)
        if not group.rows:
            return group.results([])
        relied_on = {row.contact_key for row in group.rows} - resolution.created
        arguments = self._appender.arguments(group.rows, resolution.plan(), relied_on)
        first = await connection.fetchval(APPEND, *arguments)
        ids = [ActivityId(first + offset, tail) for offset, tail in enumerate(arguments[2])]
        self._follower.note_append(ids[-1].position)
        return group.results(ids)

    def _append_events(self, connection: sa.Connection, events: Sequence[Event]) -> None:
        """See `RecordsTransaction.append`."""
        arguments = self._appender.arguments([event_row(event) for event in events])
        first = connection.exec_driver_sql(APPEND, arguments).scalar_one()
        self._follower.note_append(first + len(events) - 1)

    async def read_timeline(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> TimelineRead | None:
        """See `Store.read_timeline`."""
        homes = await self.records.homes(contact_id)
        if homes is None:
            return None
        # Taken before the read: what arrives between the two is sent again by the stream, never missed.
        position = await self.log.stream_position() if after is None else None
        return TimelineRead(homes, await self.log.page(homes.keys, filters, after, limit), position)

    async def bookmark(self, name: str) -> Bookmark | None:
        """See `Store.bookmark`."""
        return await self.database.read_records(lambda records: sql.select_bookmark(records, name))

    async def ready(self) -> None:
        """See `Store.ready`: commits something, and reads. At most once a second: anybody may ask, without a key."""
        if time.monotonic() < self._ready_until and not self._refusing:
            return
        # A little fits into the last free pages of a full disk: where publishing is refused, more must fit.
        size = PROOF_BYTES if self._refusing else 32
        async with self.database.connection() as connection:
            await connection.execute(_PROVE, size // 32)
        self._refusing = False
        self._ready_until = time.monotonic() + READY_SECONDS

    def stats(self) -> StoreStats:
        """See `Store.stats`."""
        return StoreStats(self._follower.lag)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._follower.close()
        await self.database.close()


async def decide(
    connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
    publications: Sequence[Publication],
    found: Found,
    moment: Microseconds,
    sort_out: Callable[[Group, PlannedResolution], None],
) -> tuple[Group, PlannedResolution]:
    """Sort out a group of publications; where it makes contacts, once more with numbers that only those have."""
    numbers = sent_numbers(publications)

    def attempt(ids: Iterator[int]) -> tuple[Group, PlannedResolution]:
        group, resolution = Group(publications), PlannedResolution(found, ids, moment, numbers)
        sort_out(group, resolution)
        return group, resolution

    group, resolution = attempt(itertools.count(-1, -1))
    if resolution.created:
        rows = await connection.fetch(_NEW_IDS, len(resolution.created))
        group, resolution = attempt(row[0] for row in rows)
    return group, resolution


def _replay(item: Publication, original: Original) -> Published:
    return replayed(item, original.id, original.contact_id, original.origin, original.digest)


def resolve(connection: sa.Connection, sought: Sought) -> Resolved:
    """See `RecordsTransaction.resolve`. The log's lock is held from here on: what publishing makes is seen."""
    connection.exec_driver_sql(LOCK)
    moment = now()
    found = read_found(connection.exec_driver_sql(LOOK_UP, wanted([sought], [], moment)))

    def decide(ids: Iterator[int]) -> tuple[Resolved, PlannedResolution]:
        resolution = PlannedResolution(found, ids, moment, sent_numbers([sought]))
        return resolution.resolve(sought), resolution

    resolved, resolution = decide(itertools.count(-1, -1))
    if resolution.created:
        rows = connection.exec_driver_sql(_NEW_IDS, (len(resolution.created),)).all()
        resolved, resolution = decide(row[0] for row in rows)
    plan = resolution.plan()
    if plan is not None:
        connection.exec_driver_sql("SELECT write_contacts($1::json)", (plan,))
    return resolved
