"""Records on PostgreSQL, the activity log on a Cassandra cluster: for those whose log outgrows any one machine.

A publication's contact is found or made in PostgreSQL, in a transaction of its own; then its activity is appended; then
it is answered. Between the two a crash may leave a contact who has no activity yet: the retry finds that contact.

What the records append (tickets' events) is noted in their own transaction, in `activity_outbox`, and a relay brings it
to the log a moment later, under idempotency keys of its own: nothing is lost, and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import asyncpg
import msgspec
import sqlalchemy as sa
import structlog
from msgspec.structs import replace

from backstory.errors import BackstoryError, Unavailable
from backstory.model.access import AuditEntry
from backstory.model.activity import Event, Publication, Published
from backstory.model.ids import ActivityId, ContactKey
from backstory.model.moment import now
from backstory.model.page import Filters, Place
from backstory.store.base import Bookmark, PublishResult, RecordsTransaction, StoreStats, TimelineRead
from backstory.store.log.cassandra import LANES, Appended, CassandraLog, Known
from backstory.store.log.cassandra_session import read_address
from backstory.store.log.postgres import LOCK
from backstory.store.postgres import decide, resolve
from backstory.store.postgres_database import ATTEMPTS, RACED, PostgresDatabase, Refusal, explain, sqlstate
from backstory.store.publish import Group, event_row, replayed
from backstory.store.records import sql
from backstory.store.records.postgres_resolve import LOOK_UP, PlannedResolution, read_found, wanted
from backstory.store.records.relational import RelationalRecords

READY_SECONDS = 1.0
RELAY_SECONDS = 1.0
"""How often the relay looks for what another process noted, or what it could not bring."""

RELAY_PIECE = 100
OUTBOX_DAYS = 9
"""How long the log recognises an event that the relay brings again: less than a claim lasts."""

_DAY = 86_400 * 1_000_000

_CREATE_OUTBOX = """
CREATE TABLE IF NOT EXISTS activity_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, noted bigint NOT NULL, event bytea NOT NULL
)
"""
_LOG_IS_HERE = Refusal(
    "SELECT EXISTS (SELECT FROM activities)",
    "its activity log is in it, and a cluster would hide it: leave BACKSTORY_ACTIVITY_LOG empty, or copy both into a"
    " second, empty database ('backstory copy --to-log')",
)
_TAKE_LANE = f"""
SELECT lane FROM generate_series(0, {LANES - 1}) AS lane WHERE pg_try_advisory_lock(4870020391872200000 + lane) LIMIT 1
"""  # noqa: S608 - the number is ours
_NOTE = "INSERT INTO activity_outbox (noted, event) VALUES ($1, $2)"
_TAKE = f"SELECT id, event FROM activity_outbox ORDER BY id LIMIT {RELAY_PIECE} FOR UPDATE SKIP LOCKED"  # noqa: S608
_BROUGHT = "DELETE FROM activity_outbox WHERE id = ANY ($1::bigint[])"
_THERE = "SELECT key FROM contacts WHERE key = ANY ($1::bytea[])"
_RELIED_ON = "SELECT count(*) FROM contacts WHERE key = ANY ($1::bytea[])"
_SAVE_BOOKMARK = """
INSERT INTO bookmarks (name, line, "offset") VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET line = excluded.line, "offset" = excluded."offset"
"""
_PROVE = "INSERT INTO log_state VALUES ('ready', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Event)

log = structlog.get_logger(__name__)


class CassandraStore:
    """One installation on a database and a cluster. See `store.base.Store`."""

    atomic = False

    def __init__(self, database_url: str, log_url: str) -> None:
        self.database = PostgresDatabase(database_url)
        self._noted = asyncio.Event()
        self.records = RelationalRecords(_Noting(self.database, self._noted))
        self.log = CassandraLog(read_address(log_url), self._audit, self._is_there)
        self._relay: asyncio.Task[None] | None = None
        self._ready_until = 0.0
        self._lane: asyncpg.Connection[asyncpg.Record] | None = None
        self._taking_lane = asyncio.Lock()
        self._here: asyncpg.Connection[asyncpg.Record] | None = None

    def open(self) -> None:
        """Look whether both can be used, and bring them up to date; of processes that start together one does.

        Raises:
            StorageError: one of them cannot be used as it is.
        """
        self.database.appender = self._note_events
        self.database.resolver = resolve
        self.database.open(_LOG_IS_HERE)
        self.database.prepare_alone(_CREATE_OUTBOX, self.log.open)

    async def start(self, arrived: Callable[[], None]) -> None:
        """See `Store.start`. What other processes appended is polled for; the relay begins."""
        if self._relay is None:
            self._relay = asyncio.create_task(self._run_relay(arrived))

    async def _be_known(self) -> None:
        """Hold a session by which others know that somebody serves this installation; and look at the clock by it."""
        if self._here is None or self._here.is_closed():
            self._here = await self.database.listener()
        await self.database.keep_time(self._here)

    async def _is_there(self, contact_key: ContactKey) -> bool:
        return bool(await self.records.contact_ids([contact_key]))

    async def _audit(self, entry: AuditEntry) -> None:
        await self.records.audit(entry)

    # Publishing.

    async def publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None = None
    ) -> list[PublishResult]:
        """See `Store.publish`. One that the log could not take is answered so, alone."""
        return await self.database.to_its_end(self._publish(publications, bookmark))

    async def _publish(
        self, publications: Sequence[Publication], bookmark: Bookmark | None
    ) -> list[PublishResult]:
        await self._take_lane()
        hashes = [item.idempotency for item in publications if item.idempotency is not None]
        known = await self.log.known(list(dict.fromkeys(hashes)))
        numbers = await self._contact_ids(known.values())
        group = await self._resolve(publications, known, numbers)
        appended = await self.log.append(group.rows)
        lost = [each.known for each in appended if isinstance(each, Appended) and each.known is not None]
        numbers |= await self._contact_ids(lost)
        results = group.results(
            [
                self._given(row.publication, each, numbers)
                for row, each in zip(group.rows, appended, strict=True)
            ]
        )
        if bookmark is not None and not any(isinstance(each, Unavailable) for each in results):
            async with self.database.connection() as connection:
                await connection.execute(_SAVE_BOOKMARK, bookmark.name, bookmark.line, bookmark.offset)
        return results

    def _given(
        self, item: Publication, appended: Appended | BackstoryError, numbers: Mapping[ContactKey, int]
    ) -> ActivityId | PublishResult:
        """What became of a row: an id, or somebody else was first, or it could not be kept."""
        if isinstance(appended, BackstoryError):
            return appended
        if appended.known is None:
            return appended.id
        return _replay(numbers, item, appended.known)

    async def _contact_ids(self, known: Iterable[Known]) -> dict[ContactKey, int]:
        keys = sorted({each.contact_key for each in known})
        return await self.records.contact_ids(keys) if keys else {}

    async def _take_lane(self) -> None:
        """Before an append: see `CassandraLog.set_lane`. It is ours as long as the session lives that holds it."""
        async with self._taking_lane:
            if self._lane is None or self._lane.is_closed():
                self._lane, lane = await self.database.session(take_lane)
                self.log.set_lane(lane)

    async def _resolve(
        self,
        publications: Sequence[Publication],
        known: Mapping[bytes, Known],
        numbers: Mapping[ContactKey, int],
    ) -> Group:
        """Find out what each is, and make the contacts that are new."""

        def sort_out(group: Group, resolution: PlannedResolution) -> None:
            group.sort_out(known, partial(_replay, numbers), resolution)

        async with self.database.connection() as connection:
            for attempt in itertools.count(1):
                moment = now()
                found = read_found(await connection.fetch(LOOK_UP, *wanted(publications, [], moment)))
                group, resolution = await decide(connection, publications, found, moment, sort_out)
                relied_on = {row.contact_key for row in group.rows} - resolution.created
                plan = resolution.plan()
                if plan is None:
                    return group
                try:
                    async with connection.transaction():
                        await connection.execute(LOCK)
                        await connection.execute("SELECT write_contacts($1::json)", plan)
                        there = await connection.fetchval(_RELIED_ON, sorted(relied_on))
                        if there == len(relied_on) or attempt == ATTEMPTS:
                            return group
                        raise _Raced
                except _Raced:
                    continue
                except asyncpg.PostgresError as error:
                    if sqlstate(error) not in RACED or attempt == ATTEMPTS:
                        raise
        raise AssertionError("the last attempt returns or raises")

    # What the records append.

    def _note_events(self, connection: sa.Connection, events: Sequence[Event]) -> None:
        """See `RecordsTransaction.append`."""
        for event in events:
            connection.exec_driver_sql(_NOTE, (now(), _ENCODER.encode(event)))

    async def _run_relay(self, arrived: Callable[[], None]) -> None:
        while True:
            try:
                await self._be_known()
                while await self.relay() == RELAY_PIECE:
                    arrived()
                arrived()
            except (BackstoryError, OSError, TimeoutError, asyncpg.PostgresError) as error:
                log.warning("relay_failed", error=explain(error))
            except Exception:  # whatever it is, the next round must try again
                log.exception("relay_failed")
            try:
                async with asyncio.timeout(RELAY_SECONDS):
                    await self._noted.wait()
            except TimeoutError:
                continue
            self._noted.clear()

    async def relay(self) -> int:
        """Bring events that were noted to the log, the oldest first; how many there were.

        Of several processes each brings others. One that dies here leaves its events noted, and whoever brings them
        then is told by the log that they are there. What happened to a contact who was erased since is dropped.
        """
        await self._take_lane()
        async with self.database.connection() as connection, connection.transaction():
            rows = await connection.fetch(_TAKE)
            if not rows:
                return 0
            events = {number: _relayed(number, _DECODER.decode(event)) for number, event in rows}
            keys = {event.contact_key for event in events.values()}
            there = {key for (key,) in await connection.fetch(_THERE, sorted(keys))}
            kept = {number: event for number, event in events.items() if event.contact_key in there}
            appended = await self.log.append([event_row(event) for event in kept.values()])
            left = {
                number for number, each in zip(kept, appended, strict=True) if not isinstance(each, Appended)
            }
            await connection.execute(_BROUGHT, sorted(events.keys() - left))
            if left:
                log.warning("relay_left_some", left=len(left))
            return len(events) - len(left)

    # Reading.

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
        return await self.records.read(lambda records: sql.select_bookmark(records, name))

    async def ready(self) -> None:
        """See `Store.ready`: writes to both, and reads. At most once a second: anybody may ask, without a key."""
        if time.monotonic() < self._ready_until:
            return
        async with self.database.connection() as connection:
            await connection.execute(_PROVE, str(now()))
        await self.log.ready()
        self._ready_until = time.monotonic() + READY_SECONDS

    def stats(self) -> StoreStats:
        """See `Store.stats`. What is searched is written with the activity."""
        return StoreStats(0.0)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._relay is not None:
            self._relay.cancel()
            await asyncio.gather(self._relay, return_exceptions=True)
        for session in (self._here, self._lane):
            if session is not None:
                session.terminate()
        await self.database.close()
        await self.log.close()


async def take_lane(connection: asyncpg.Connection[asyncpg.Record]) -> int | None:
    """A lane that no other process has, taken until the connection ends; None where all are taken."""
    lane: int | None = await connection.fetchval(_TAKE_LANE)
    return lane


class _Noting:
    """The database as the records use it: after each change the relay looks whether there is something to bring."""

    def __init__(self, database: PostgresDatabase, noted: asyncio.Event) -> None:
        self._database = database
        self._noted = noted

    async def read_records(self, work: Callable[[sa.Connection], T]) -> T:
        return await self._database.read_records(work)

    async def write(self, work: Callable[[RecordsTransaction], T]) -> T:
        result = await self._database.write(work)
        self._noted.set()
        return result


class _Raced(Exception):
    """A contact that a publication relied on is gone: it is resolved again."""


def _replay(numbers: Mapping[ContactKey, int], item: Publication, known: Known) -> Published:
    return replayed(item, known.id, numbers.get(known.contact_key), known.origin, known.digest)


def _relayed(number: int, event: Event) -> Event:
    """An event with an idempotency key that no sender can have."""
    moment = now()
    key = hashlib.sha256(b"outbox\0%d\0" % number + event.publication.body).digest()
    publication = replace(event.publication, idempotency=key, digest=key, expires=moment + OUTBOX_DAYS * _DAY)
    return event._replace(publication=publication)
