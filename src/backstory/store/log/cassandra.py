"""The activity log on a Cassandra-protocol cluster: queries, nothing else. What they mean is in `store/base.py`.

An activity is written in two steps: all that points at it, then its row in `timeline`, which makes it be there; what
points at no row is passed over. With an idempotency key there is a step before: the key is claimed, atomically, by a
row that holds the whole activity, so that a retry finishes what a crash cut off.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog
from msgspec.structs import replace

from backstory.errors import BackstoryError, Code, Fault, FieldErrors, Unavailable
from backstory.model.access import AuditEntry
from backstory.model.activity import Activity, Arrival, Deletion
from backstory.model.ids import ActivityId, ContactKey, Position, RandomPool, first_position
from backstory.model.moment import Microseconds, now
from backstory.model.page import Filters, Page, Place
from backstory.model.searched import read_refs
from backstory.store.base import Arrivals, StreamPosition
from backstory.store.log.cassandra_buckets import DEEPEST, Bucket, BucketChooser, Chosen, bucket_at
from backstory.store.log.cassandra_session import CassandraAddress, CassandraSession, Write
from backstory.store.log.cassandra_walk import WALK_STATEMENTS, Row, Span, walk
from backstory.store.log.walk import Filling, Matcher, matcher
from backstory.store.publish import NewRow

APPEND_SECONDS = 12.0
"""After so long an append that is not through is answered 503."""

QUEUE_SECONDS = 30.0
"""For so long an append may wait for its turn."""

LATE_SECONDS = 60.0
"""So long after its contact was looked up nothing of an append is under way any more: the look-up's deadline, the
queue's, its own, and what the cluster still does with a request that nobody waits for."""

ARRIVED_SECONDS = 1_800
"""How far back in the order of arrival an eraser looks for what appeared late."""

OVERLAP_SECONDS = 15
"""For so long an arrival may appear behind others that came later: an append's time, and what clocks may differ."""

LANES = 64
"""Of the 4,096 positions of a millisecond each process has every 64th."""

SLOT_SECONDS = 900
KNOWN_SECONDS = 3 * 86_400
"""How long the order of arrival is kept (`arrivals` in the schema)."""

CLAIM_SECONDS = 10 * 86_400
AT_ONCE = 128
"""How many appends are under way at once; the next ones wait."""

HASHES_AT_ONCE = 50
PARTITIONS_AT_ONCE = 48
PIECE = 200
FETCH_AT_ONCE = 100
NEWEST_SECONDS = 0.25
CLOCK_SECONDS = 60.0
CLOCK_WARNING_SECONDS = 1.0

_LAST = (1 << 63) - 1
_BUCKET = "owner = ? AND level = ? AND start = ? AND part = ?"
_BETWEEN = "(timestamp, position, tail) < (?, ?, ?) AND (timestamp, position, tail) >= (?, ?, ?)"
_ROW = "timestamp, position, tail, owner, body, source, name, object_type, actor_type"
_ID = "installation = ? AND position = ? AND tail = ?"
_PLACE = "timestamp = ? AND position = ? AND tail = ?"

WALK_TIMELINE = f"SELECT {_ROW} FROM timeline WHERE {_BUCKET} AND {_BETWEEN} LIMIT ?"  # noqa: S608 - columns are ours
WALK_POSTINGS = (
    "SELECT timestamp, position, tail, contact, its_level, its_start, its_part FROM postings"  # noqa: S608 - as above
    f" WHERE {_BUCKET} AND {_BETWEEN} LIMIT ?"
)
GET_ROW = f"SELECT {_ROW}, origin FROM timeline WHERE {_BUCKET} AND {_PLACE}"  # noqa: S608 - as above
GET_WHERE = f"SELECT contact, level, start, part, timestamp, hash FROM activities WHERE {_ID}"  # noqa: S608 - as above
GET_TAIL = "SELECT tail FROM activities WHERE installation = ? AND position = ?"
GET_KEYS = "SELECT hash, position, tail, digest, expires FROM event_keys WHERE installation = ? AND hash IN ?"
GET_DELETION = f"SELECT deleted, contact FROM deletions WHERE {_ID}"  # noqa: S608 - as above
GET_ARRIVALS = (
    "SELECT arrived, position, tail, deleted, contact, level, start, part, timestamp FROM arrivals"
    " WHERE contact IN ? AND slot IN ? AND arrived > ? PER PARTITION LIMIT ?"
)
GET_STATE = "SELECT value, position FROM log_state WHERE installation = ? AND name = ?"
GET_A_BUCKET = "SELECT level, start, part FROM buckets WHERE owner = ? LIMIT 1"
GET_BUCKETS_AT = "SELECT part FROM buckets WHERE owner = ? AND level = ? AND start = ?"
COUNT = {
    table: f"SELECT count(*) FROM {table} WHERE {_BUCKET}"  # noqa: S608 - the names are ours
    for table in ("timeline", "postings")
}

CLAIM = (
    "INSERT INTO claims (installation, hash, position, tail, contact, level, start, part, timestamp, source, name,"
    " object_type, actor_type, body, origin, digest, expires) VALUES"
    " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " IF NOT EXISTS USING TTL ?"
)
PUT_BUCKET = "INSERT INTO buckets (owner, level, start, part) VALUES (?, ?, ?, ?) USING TIMESTAMP 1"
PUT_ROW = (
    "INSERT INTO timeline (owner, level, start, part, timestamp, position, tail, source, name, object_type,"
    " actor_type, body, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
PUT_POSTING = (
    "INSERT INTO postings (owner, level, start, part, timestamp, position, tail, contact, its_level, its_start,"
    " its_part) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
PUT_WHERE = (
    "INSERT INTO activities (installation, position, tail, contact, level, start, part, timestamp, hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
PUT_KEY = (
    "INSERT INTO event_keys (installation, hash, position, tail, digest, expires) VALUES (?, ?, ?, ?, ?, ?)"
    " USING TIMESTAMP ? AND TTL ?"
)
PUT_ARRIVAL = (
    "INSERT INTO arrivals (contact, slot, arrived, position, tail, deleted, level, start, part, timestamp)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
)
PUT_DELETION = (
    "INSERT INTO deletions (installation, position, tail, contact, deleted) VALUES (?, ?, ?, ?, ?)"
    " IF NOT EXISTS"
)
PUT_NEWEST = "INSERT INTO log_state (installation, name, position) VALUES (?, 'newest', ?) USING TIMESTAMP ?"
PUT_READY = "INSERT INTO log_state (installation, name, value) VALUES (?, 'ready', ?)"
PUT_GENERATION = "INSERT INTO log_state (installation, name, value) VALUES (?, 'generation', ?) IF NOT EXISTS"
BLANK_CLAIM = (
    "UPDATE claims SET body = null, origin = null, source = null, name = null, object_type = null,"
    " actor_type = null WHERE installation = ? AND hash = ? IF EXISTS"
)
DROP_ROW = f"DELETE FROM timeline USING TIMESTAMP ? WHERE {_BUCKET} AND {_PLACE}"  # noqa: S608 - as above
DROP_ROWS = (
    f"DELETE FROM timeline USING TIMESTAMP ? WHERE {_BUCKET} AND (timestamp, position, tail) >= (?, ?, ?)"  # noqa: S608 - as above
)
DROP_BUCKET = "DELETE FROM buckets USING TIMESTAMP 2 WHERE owner = ? AND level = ? AND start = ? AND part = ?"
DROP_ARRIVAL = (
    "DELETE FROM arrivals USING TIMESTAMP ?"
    " WHERE contact = ? AND slot = ? AND arrived = ? AND position = ? AND tail = ?"
)
DROP_POSTING = f"DELETE FROM postings USING TIMESTAMP ? WHERE {_BUCKET} AND {_PLACE}"  # noqa: S608 - as above

log = structlog.get_logger(__name__)


class Known(NamedTuple):
    """A replay's original. `origin` is None where it was deleted since."""

    id: ActivityId
    digest: bytes
    contact_key: ContactKey
    origin: bytes | None


class Appended(NamedTuple):
    """What an append came to: a new activity, or the replay of one that was first."""

    id: ActivityId
    known: Known | None


class Draft(NamedTuple):
    """An activity with all that its rows need."""

    id: ActivityId
    bucket: Bucket
    timestamp: Microseconds
    source: str
    name: str
    object_type: str | None
    actor_type: str
    body: bytes
    origin: bytes
    hash: bytes | None
    digest: bytes | None
    expires: Microseconds | None

    @property
    def written(self) -> int:
        """The write timestamp of its rows: the same whoever writes them, and how often."""
        return written(self.id)

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in a timeline."""
        return (self.timestamp, *self.id)


def written(activity_id: ActivityId) -> int:
    """The write timestamp of an activity's rows; they are deleted with one more."""
    return (activity_id.position >> 12) * 1000


class _Positions:
    """Gives out positions: strictly rising here, and by the cluster's clock, whatever this machine's says.

    Each process has a lane, the last bits of all its positions, so that two hardly ever give out the same.
    """

    def __init__(self) -> None:
        self.last: Position = 0
        self.offset = 0.0
        self.lane = secrets.randbelow(LANES)

    def now(self) -> Position:
        """The position of this moment."""
        return first_position(time.time_ns() // 1_000_000 + round(self.offset * 1000))

    def take(self, count: int = 1) -> range:
        """So many new ones."""
        behind = max(self.last, self.now())
        first = (behind // LANES + 1) * LANES + self.lane
        self.last = first + (count - 1) * LANES
        return range(first, self.last + 1, LANES)


class CassandraLog:
    """See `store.base.ActivityLog`."""

    def __init__(
        self,
        address: CassandraAddress,
        audit: Callable[[AuditEntry], Awaitable[None]],
        is_there: Callable[[ContactKey], Awaitable[bool]],
    ) -> None:
        """`audit` keeps an entry durably; it is called before anything is removed. `is_there` finds a contact."""
        self.session = CassandraSession(address)
        self._audit = audit
        self._is_there = is_there
        self.installation = address.installation
        self.late_seconds = LATE_SECONDS
        self._chooser = BucketChooser()
        self._positions = _Positions()
        self._random = RandomPool()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._claiming: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._generation = ""
        self._newest: Position = 0
        self._newest_read = self._newest_written = self._clock_read = float("-inf")

    overlap: Position = OVERLAP_SECONDS * 1000 << 12
    finds_words = False

    def open(self) -> None:
        """Connect, and bring what is missing (see `CassandraSession.open`).

        Raises:
            StorageError: the cluster cannot be used as it is.
        """
        with self.session.naming_faults():
            self.session.open()
            for statement in STATEMENTS:
                self.session.statement(statement)
            self._set_offset(self.session.clock_offset() or 0.0)
            self._generation = self.session.first_value(
                PUT_GENERATION, GET_STATE, self.installation, "generation", secrets.token_hex(6)
            )
            self._positions.last = self._newest = self.session.read_now(
                GET_STATE, (self.installation, "newest"), 1
            )
        self._newest_read = time.monotonic()

    def _set_offset(self, seconds: float) -> None:
        self._positions.offset = seconds
        self._clock_read = time.monotonic()
        if abs(seconds) > CLOCK_WARNING_SECONDS:
            log.warning("clock_differs_from_cluster", seconds=round(seconds, 3))

    def adopt(self, generation: str, newest: Position) -> None:
        """Be the copy of a log: go on with its generation, behind its newest position."""
        self._generation = generation
        self._positions.last = max(self._positions.last, newest)

    def set_lane(self, lane: int | None) -> None:
        """The lane that this process has to itself; None where there is none left: then it shares one."""
        self._positions.lane = secrets.randbelow(LANES) if lane is None else lane

    def write_alone(self) -> None:
        """Be the only process that appends, so that a bucket is counted once."""
        self._chooser.alone = True

    async def ready(self) -> None:
        """Write something and read it.

        Raises:
            Unavailable: that is not possible now.
        """
        await self.session.write(PUT_READY, (self.installation, str(now())))
        await self.session.read(GET_STATE, (self.installation, "ready"))

    async def close(self) -> None:
        """Finish what runs beside the requests, then let go of the cluster."""
        await self.settle()
        if self._positions.last > self._newest:
            await asyncio.gather(self._tell_newest(), return_exceptions=True)
        await asyncio.to_thread(self.session.close)

    async def settle(self) -> None:
        """Return when what runs beside the requests now is done."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def bucket_of(self, contact_key: ContactKey, moment: Microseconds) -> Bucket:
        """Where a row of a contact would go now."""
        return self._chooser.choose(contact_key, moment).bucket

    def _beside(self, work: Awaitable[None]) -> None:
        """Do something that no request waits for; what it cannot do now it may leave."""

        async def run() -> None:
            try:
                await work
            except BackstoryError as error:
                log.info("cassandra_later", error=str(error))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Appending.

    async def known(self, hashes: Sequence[bytes]) -> dict[bytes, Known]:
        """Which idempotency hashes were seen before, and what came of them."""
        pieces = [list(hashes[at : at + HASHES_AT_ONCE]) for at in range(0, len(hashes), HASHES_AT_ONCE)]
        found = await asyncio.gather(
            *(self.session.read(GET_KEYS, (self.installation, piece)) for piece in pieces)
        )
        moment = now()
        rows = [row for piece in found for row in piece if row[4] is None or row[4] > moment]
        originals = await asyncio.gather(*(self._original(ActivityId(*row[1:3]), row[3]) for row in rows))
        return {
            row[0]: original for row, original in zip(rows, originals, strict=True) if original is not None
        }

    async def _original(self, activity_id: ActivityId, digest: bytes) -> Known | None:
        """A replay's original; None where it was never finished."""
        if activity_id.tail < 0:  # its key was copied from another engine, where a position is enough
            tails = await self.session.read(GET_TAIL, (self.installation, activity_id.position))
            if not tails:
                return None
            activity_id = activity_id._replace(tail=tails[0][0])
        where = await self.where(activity_id)
        if where is None:
            return None
        row = await self._row(where[0], where[1], activity_id)
        if row is not None:
            return Known(activity_id, digest, where[0].owner, row[9])
        if await self.session.read(GET_DELETION, (self.installation, *activity_id)):
            return Known(activity_id, digest, where[0].owner, None)
        return None

    async def append(self, rows: Sequence[NewRow]) -> list[Appended | BackstoryError]:
        """Make activities durable; what became of each, in order. An error stands for that one alone.

        Where somebody else was first with an idempotency key, what that one began is finished.
        """
        if not rows:
            return []
        if time.monotonic() - self._clock_read > CLOCK_SECONDS:
            self._clock_read = time.monotonic()
            self._beside(self._read_clock())
        drafts = [
            self._draft(ActivityId(position, self._random.tail()), row)
            for position, row in zip(self._positions.take(len(rows)), rows, strict=True)
        ]
        results = await asyncio.gather(*(self._append(each) for each in drafts))
        self._note_newest()
        return results

    def _draft(self, activity_id: ActivityId, row: NewRow) -> Draft:
        item = row.publication
        chosen = self._choose("timeline", row.contact_key, item.timestamp)
        hashed, expires = item.idempotency, item.expires
        if expires is not None and expires <= now():
            hashed = None  # it recognises nothing any more
        return Draft(
            activity_id,
            chosen.bucket,
            item.timestamp,
            item.source,
            item.name,
            item.object_type,
            item.actor_type,
            item.body,
            row.origin,
            hashed,
            item.digest,
            expires,
        )

    def _hash(self, kind: str, value: bytes) -> bytes:
        """An owner or a key of this installation."""
        return hashlib.blake2b(
            b"\0".join((self.installation.encode(), kind.encode(), value)), digest_size=16
        ).digest()

    async def _append(self, draft: Draft) -> Appended | BackstoryError:
        try:
            async with (
                asyncio.timeout(QUEUE_SECONDS + APPEND_SECONDS),
                self._gate,
                asyncio.timeout(APPEND_SECONDS),
            ):
                if draft.hash is None:
                    await self.store(draft, draft.id.position)
                    return Appended(draft.id, None)
                # Those of this process take turns: the cluster would let one through at a time, with far more ado.
                lock = self._claiming.setdefault(draft.hash, asyncio.Lock())
                async with lock:
                    return await self._append_once(draft)
        except TimeoutError:
            return Unavailable("The activity log did not take it in time; send it again.", retry_after=2)
        except BackstoryError as error:
            return error
        except Exception:  # the others of its group are kept all the same, so it must not fail them
            log.exception("append_failed")
            return Unavailable("It is not known whether this was kept. Send it again.", retry_after=2)

    async def _append_once(self, draft: Draft) -> Appended:
        found = await self.session.compare_and_set(CLAIM, (self.installation, *_claim_values(draft)))
        first = draft if found is None else _claimed(found)
        if first.id == draft.id:
            await self.store(draft, draft.id.position)
            return Appended(draft.id, None)
        digest = first.digest or b""
        original = await self._original(first.id, digest)
        if original is None and not await self._is_there(first.bucket.owner):
            await self._forget(first)  # cut off, and its contact was erased since
            original = Known(first.id, digest, first.bucket.owner, None)
        if original is None:  # cut off, or just under way in another process: what both write is the same
            late = self._positions.now() - first.id.position > self.overlap // 2
            await self.store(first, self._positions.take()[0] if late else first.id.position)
            original = Known(first.id, digest, first.bucket.owner, first.origin)
        return Appended(first.id, original)

    async def _forget(self, draft: Draft) -> None:
        """Leave of an activity what recognises its replays, as if it had been stored and erased."""
        await self.session.write_together([self._pointer(draft), *self._key(draft)])
        await self._note_erased(draft.id, draft.bucket.owner, draft.hash)

    def _pointer(self, draft: Draft) -> Write:
        where = (*draft.bucket, draft.timestamp, draft.hash)
        return PUT_WHERE, (self.installation, *draft.id, *where, draft.written)

    def _key(self, draft: Draft) -> list[Write]:
        if draft.hash is None:
            return []
        lifetime = 0 if draft.expires is None else _seconds_left(draft.expires)
        key = (self.installation, draft.hash, *draft.id, draft.digest, draft.expires)
        return [(PUT_KEY, (*key, draft.written, lifetime))]

    async def store(self, draft: Draft, arrived: Position) -> None:
        """Write all that points at an activity, then its row."""
        pointers, new_buckets = self._pointers([draft], arrived)
        await self.session.write_together(pointers)
        self._chooser.registered(new_buckets)
        await self.session.write(*_row_of(draft))

    async def store_many(self, drafts: Sequence[Draft]) -> None:
        """The same for many that arrived when their ids say, with few requests."""
        pointers, new_buckets = self._pointers(drafts, None)
        await self.session.write_many(pointers)
        self._chooser.registered(new_buckets)
        await self.session.write_many([_row_of(draft) for draft in drafts])

    def _pointers(
        self, drafts: Sequence[Draft], arrived: Position | None
    ) -> tuple[list[Write], list[Bucket]]:
        """All that points at some activities, and the buckets that are registered with it."""
        known_since = self._positions.now() - (KNOWN_SECONDS * 1000 << 12)
        buckets = {draft.bucket for draft in drafts}
        writes: list[Write] = []
        for draft in drafts:
            for owner in self._terms(draft.source, draft.name, draft.object_type, draft.body):
                bucket, new, _ = self._choose("postings", owner, draft.timestamp)
                if new:
                    buckets.add(bucket)
                writes.append((PUT_POSTING, (*bucket, *draft.place, *draft.bucket, draft.written)))
            writes.append(self._pointer(draft))
            when = draft.id.position if arrived is None else arrived
            if when > known_since:
                arrival = _arrival(draft.bucket, when, draft.id, draft.timestamp, deleted=False)
                writes.append((PUT_ARRIVAL, arrival))
            writes.extend(self._key(draft))
        new_buckets = [each for each in buckets if not self._chooser.is_registered(each)]
        writes.extend((PUT_BUCKET, each) for each in new_buckets)
        return writes, new_buckets

    def _choose(self, table: str, owner: bytes, timestamp: Microseconds) -> Chosen:
        chosen = self._chooser.choose(owner, timestamp)
        if chosen.recount:
            self._beside(self._count(table, chosen.bucket))
        return chosen

    async def _count(self, table: str, bucket: Bucket) -> None:
        rows = await self.session.read(COUNT[table], bucket)
        self._chooser.learn(bucket, rows[0][0])

    def _terms(self, source: str, name: str, object_type: str | None, body: bytes) -> Iterable[bytes]:
        """The owners of an activity's postings."""
        terms = [("all", ""), ("source", source), ("name", name)]
        if object_type is not None:
            terms.append(("type", object_type))
        terms.extend(("ref", ref) for ref in read_refs(body))
        return [self._term(*each) for each in terms]

    def _term(self, kind: str, value: str) -> bytes:
        return self._hash(f"term {kind}", value.encode())

    def _note_newest(self) -> None:
        """Tell the others how far we are, now and then: who does not know yet is sent a little more again."""
        if time.monotonic() - self._newest_written > NEWEST_SECONDS:
            self._newest_written = time.monotonic()
            self._beside(self._tell_newest())

    async def _tell_newest(self) -> None:
        # The position is its write timestamp too: of several writers the furthest wins.
        position = self._positions.last
        await self.session.write(PUT_NEWEST, (self.installation, position, position))

    async def _read_clock(self) -> None:
        offset = await asyncio.to_thread(self.session.clock_offset)
        if offset is not None:
            self._set_offset(offset)

    # Reading.

    async def where(self, activity_id: ActivityId) -> tuple[Bucket, Microseconds, bytes | None] | None:
        """Where an activity is, or was or was to be; with its idempotency hash, if any."""
        rows = await self.session.read(GET_WHERE, (self.installation, *activity_id))
        if not rows:
            return None
        *bucket, timestamp, hashed = rows[0]
        return Bucket(*bucket), timestamp, hashed

    async def _row(self, bucket: Bucket, timestamp: Microseconds, activity_id: ActivityId) -> Row | None:
        rows = await self.session.read(GET_ROW, (*bucket, timestamp, *activity_id))
        return rows[0] if rows else None

    async def find_row(self, activity_id: ActivityId) -> Row | None:
        """An activity as it is kept; None where there is none."""
        where = await self.where(activity_id)
        return None if where is None else await self._row(where[0], where[1], activity_id)

    async def get(self, activity_id: ActivityId) -> Activity | None:
        """See `ActivityLog.get`."""
        row = await self.find_row(activity_id)
        return None if row is None else _activity(row)

    async def origin(self, activity_id: ActivityId) -> bytes | None:
        """See `ActivityLog.origin`."""
        row = await self.find_row(activity_id)
        return None if row is None else row[9]

    async def page(
        self, homes: Sequence[ContactKey], filters: Filters, after: Place | None, limit: int
    ) -> Page:
        """See `ActivityLog.page`."""
        test = matcher(filters)
        piece = limit + 1 if test is None else PIECE
        rows = walk(self.session, WALK_TIMELINE, homes, _span(filters, after), piece)
        return await _fill(rows, test, limit, piece, None)

    async def find(self, filters: Filters, after: Place | None, limit: int) -> Page:
        """See `ActivityLog.find`.

        Raises:
            FieldErrors: words were asked for, which this engine finds in one contact's timeline alone.
        """
        if filters.words:
            message = (
                "the activity log on Cassandra finds words in one contact's timeline, not across contacts"
            )
            raise FieldErrors([Fault("q", message, Code.INACCESSIBLE_FIELD)])
        test = matcher(filters)
        rows = walk(self.session, WALK_POSTINGS, self._best_terms(filters), _span(filters, after), PIECE)
        return await _fill(rows, test, limit, min(limit + 1, FETCH_AT_ONCE), self._fetch)

    def _best_terms(self, filters: Filters) -> list[bytes]:
        """The postings to walk: the filter that is the rarest by its nature."""
        if filters.ref is not None:
            return [self._term("ref", filters.ref)]
        if filters.name is not None:
            return [self._term("name", filters.name)]
        if filters.types:
            return [self._term("type", each) for each in dict.fromkeys(filters.types)]
        if filters.sources:
            return [self._term("source", each) for each in dict.fromkeys(filters.sources)]
        return [self._term("all", "")]

    async def _fetch(self, pointers: Sequence[Row]) -> list[Row]:
        """The rows that are pointed at; what points at none is passed over."""
        rows = await asyncio.gather(
            *(self._row(Bucket(*row[3:7]), row[0], ActivityId(*row[1:3])) for row in pointers)
        )
        return [row for row in rows if row is not None]

    # The order of arrival.

    async def arrivals(
        self, homes: Sequence[ContactKey], after: Position, limit: int, had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.arrivals`."""
        more = True
        events: tuple[Activity | Deletion, ...] = ()
        while more and not events:
            found = sorted(await self._arrived(homes, after, limit))
            more = len(found) > limit
            if more:  # two processes may have given out one position: it is answered whole
                found = [row for row in found if row[0] <= found[limit - 1][0]]
            events = await self._events([row for row in found if _arrival_of(row) not in had])
            after = found[-1][0] if found else after
        return Arrivals(events, after, more)

    async def _events(self, found: Sequence[Row]) -> tuple[Activity | Deletion, ...]:
        pointed = [row for row in found if not row[3]]
        rows = await asyncio.gather(
            *(self._row(Bucket(*row[4:8]), row[8], ActivityId(*row[1:3])) for row in pointed)
        )
        there = {ActivityId(*row[1:3]): _activity(row) for row in rows if row is not None}
        events: list[Activity | Deletion] = []
        for arrived, position, tail, deleted, contact, *_ in found:
            activity_id = ActivityId(position, tail)
            if deleted:
                events.append(Deletion(arrived, contact, activity_id))
            elif activity_id in there:
                healed = None if arrived == position else arrived
                events.append(there[activity_id]._replace(arrived=healed))
        return tuple(events)

    async def _arrived(self, homes: Sequence[ContactKey], after: Position, limit: int) -> list[Row]:
        newest = max(self._positions.now(), self._positions.last, await self._newest_position())
        newest += self.overlap
        oldest = max(after, newest - (KNOWN_SECONDS * 1000 << 12))
        slots = list(range(_slot(oldest), _slot(newest) + 1))
        homes_at_once = max(1, PARTITIONS_AT_ONCE // len(slots))
        asked = [
            (list(homes[first : first + homes_at_once]), slots[start : start + PARTITIONS_AT_ONCE])
            for first in range(0, len(homes), homes_at_once)
            for start in range(0, len(slots), PARTITIONS_AT_ONCE)
        ]
        found = await asyncio.gather(
            *(self.session.read(GET_ARRIVALS, (*each, after, limit + 1)) for each in asked)
        )
        return [row for rows in found for row in rows]

    async def all_arrivals(
        self, after: Position, limit: int, homes: frozenset[ContactKey], had: Collection[Arrival] = ()
    ) -> Arrivals:
        """See `ActivityLog.all_arrivals`. Only those of `homes` are looked at: the others' are elsewhere."""
        newest = (await self.stream_position()).position
        arrivals = await self.arrivals(sorted(homes), after, limit, had)
        if arrivals.more:
            return arrivals
        return replace(arrivals, position=max(arrivals.position, newest))

    async def moment(self) -> tuple[str, Position]:
        """The generation, and the position of this moment; 0 where nothing was ever appended."""
        newest = await self._newest_position()
        return self._generation, newest and max(newest, self._positions.now())

    async def stream_position(self) -> StreamPosition:
        """See `ActivityLog.stream_position`."""
        position = await self._newest_position()
        if position == 0:
            return StreamPosition(self._generation, 0)
        # Where nothing has happened for long, a position that was given out just now must be known a while longer.
        known = _slot(self._positions.now()) - KNOWN_SECONDS // SLOT_SECONDS
        oldest = first_position(known * SLOT_SECONDS * 1000)
        quiet = first_position((known + KNOWN_SECONDS // SLOT_SECONDS // 2) * SLOT_SECONDS * 1000)
        return StreamPosition(self._generation, max(position, quiet), oldest)

    async def _newest_position(self) -> Position:
        """The newest position that this process knows of; others' may be some moments ahead."""
        if time.monotonic() - self._newest_read > NEWEST_SECONDS:
            self._newest_read = time.monotonic()
            rows = await self.session.read(GET_STATE, (self.installation, "newest"))
            self._newest = max(self._newest, rows[0][1] if rows else 0)
        return max(self._newest, self._positions.last)

    # Deletion.

    async def delete(self, activity_id: ActivityId, entry: AuditEntry) -> Deletion | None:
        """See `ActivityLog.delete`. Audited before anything is removed: after a crash rather twice than never."""
        where = await self.where(activity_id)
        row = None if where is None else await self._row(where[0], where[1], activity_id)
        if where is None or row is None:
            return None
        bucket, timestamp, _ = where
        position = self._positions.take()[0]
        found = await self.session.compare_and_set(
            PUT_DELETION, (self.installation, *activity_id, bucket.owner, position)
        )
        first = position if found is None else int(found["deleted"])
        if first != position and self._positions.now() - first < self.overlap:
            return None  # somebody else is at it
        await self._audit(entry)
        await self.session.write(
            PUT_ARRIVAL, _arrival(bucket, position, activity_id, timestamp, deleted=True)
        )
        await self.remove(row)
        self._note_newest()
        return Deletion(position, bucket.owner, activity_id)

    async def remove(self, row: Row) -> None:
        """Remove an activity and what leads to it."""
        activity_id = ActivityId(*row[1:3])
        where = await self.where(activity_id)
        assert where is not None, "it was written before the row"
        await self._blank_claim(where[2])
        await self.session.write(DROP_ROW, (written(activity_id) + 1, *where[0], row[0], *activity_id))
        await self._drop_pointers(row)

    async def erase(self, homes: Sequence[ContactKey], limit: int) -> int:
        """See `ActivityLog.erase`. A bucket after the other; one that is empty is taken off its owner's.

        What appears in such a bucket later is found by its arrival.
        """
        removed = 0
        for home in homes:
            while removed < limit:
                found = await self.session.read(GET_A_BUCKET, (home,))
                if not found:
                    break
                bucket = Bucket(home, *found[0])
                piece = min(limit - removed, PIECE)
                rows = await self.session.read(
                    WALK_TIMELINE, (*bucket, *_EVERYTHING.upper, *_EVERYTHING.lower, piece)
                )
                await asyncio.gather(*(self._erase(row) for row in rows))
                if rows:
                    after = max(written(ActivityId(*row[1:3])) for row in rows) + 1
                    await self.session.write(DROP_ROWS, (after, *bucket, *rows[-1][:3]))
                if len(rows) < piece:
                    await self.session.write(DROP_BUCKET, bucket)
                removed += len(rows)
        if removed < limit:
            since = self._positions.now() - (ARRIVED_SECONDS * 1000 << 12)
            arrivals = await self._arrived(homes, since, limit - removed)
            late = [arrival for arrival in arrivals if not arrival[3]][: limit - removed]
            await asyncio.gather(*(self._erase_arrived(arrival) for arrival in late))
            removed += len(late)
        return removed

    async def _erase(self, row: Row) -> None:
        """All of an activity but its row, which goes with those beside it."""
        activity_id = ActivityId(*row[1:3])
        where = await self.where(activity_id)
        async with self._gate:
            await self._note_erased(activity_id, row[3], where[2] if where else None)
            await self._drop_pointers(row)

    async def _erase_arrived(self, arrival: Row) -> None:
        """An activity that an arrival leads to, also where its row may yet come: it is dead then."""
        arrived, position, tail, _, owner, *rest = arrival
        activity_id = ActivityId(position, tail)
        bucket, timestamp = Bucket(owner, *rest[:3]), rest[3]
        where = await self.where(activity_id)
        row = await self._row(bucket, timestamp, activity_id)
        after = written(activity_id) + 1
        async with self._gate:
            await self._note_erased(activity_id, owner, where[2] if where else None)
            await self.session.write(DROP_ROW, (after, *bucket, timestamp, *activity_id))
            if row is not None:
                await self._drop_pointers(row)
            await self.session.write(DROP_ARRIVAL, (after, owner, _slot(arrived), arrived, *activity_id))

    async def _note_erased(self, activity_id: ActivityId, owner: ContactKey, hashed: bytes | None) -> None:
        """Written down as a deletion, so that a replay is recognised; nobody hears of it. And no text stays behind."""
        await self.session.compare_and_set(
            PUT_DELETION, (self.installation, *activity_id, owner, activity_id.position)
        )
        await self._blank_claim(hashed)

    async def _blank_claim(self, hashed: bytes | None) -> None:
        """A claim holds an activity's text too; that it was claimed stays."""
        if hashed is not None:
            await self.session.compare_and_set(BLANK_CLAIM, (self.installation, hashed))

    async def _drop_pointers(self, row: Row) -> None:
        """Remove what leads to an activity across contacts and in the order of arrival."""
        timestamp, position, tail, owner = row[:4]
        after = written(ActivityId(position, tail)) + 1
        await self.session.write(DROP_ARRIVAL, (after, owner, _slot(position), position, position, tail))
        terms = self._terms(row[5], row[6], row[7], row[4])
        await asyncio.gather(
            *(self._drop_postings(term, after, (timestamp, position, tail)) for term in terms)
        )

    async def _drop_postings(self, owner: bytes, after: int, place: tuple[int, int, int]) -> None:
        """From every bucket that may have it: which one it was, its writer alone knew."""
        for level in range(DEEPEST + 1):
            first = bucket_at(owner, level, place[0])
            parts = await self.session.read(GET_BUCKETS_AT, first[:3])
            for (part,) in parts:
                await self.session.write(DROP_POSTING, (after, *first._replace(part=part), *place))


STATEMENTS = (
    *(
        WALK_TIMELINE,
        WALK_POSTINGS,
        GET_ROW,
        GET_WHERE,
        GET_TAIL,
        GET_KEYS,
        GET_DELETION,
        GET_ARRIVALS,
        GET_STATE,
    ),
    *(
        GET_BUCKETS_AT,
        *COUNT.values(),
        CLAIM,
        PUT_BUCKET,
        PUT_ROW,
        PUT_POSTING,
        PUT_WHERE,
        PUT_KEY,
    ),
    *(PUT_ARRIVAL, PUT_DELETION, PUT_NEWEST, PUT_READY, PUT_GENERATION, BLANK_CLAIM, DROP_ROW, DROP_POSTING),
    *(GET_A_BUCKET, DROP_ROWS, DROP_BUCKET),
    DROP_ARRIVAL,
    *WALK_STATEMENTS,
)
"""All that a server sends: prepared before it serves, for to prepare one blocks, and asks every node."""


_EVERYTHING = Span((_LAST, 0, 0), (-_LAST, 0, 0))


def _activity(row: Row) -> Activity:
    return Activity(ActivityId(row[1], row[2]), row[3], row[0], row[4])


def _arrival_of(row: Row) -> Arrival:
    return Arrival(bool(row[3]), ActivityId(*row[1:3]))


def _slot(position: Position) -> int:
    return (position >> 12) // 1000 // SLOT_SECONDS


def _arrival(
    bucket: Bucket, arrived: Position, activity_id: ActivityId, timestamp: Microseconds, *, deleted: bool
) -> tuple[Any, ...]:
    where = (bucket.owner, _slot(arrived), arrived, *activity_id)
    return (*where, deleted, *bucket[1:], timestamp, written(activity_id))


def _row_of(draft: Draft) -> Write:
    described = (draft.source, draft.name, draft.object_type, draft.actor_type)
    return PUT_ROW, (*draft.bucket, *draft.place, *described, draft.body, draft.origin, draft.written)


def _seconds_left(moment: Microseconds) -> int:
    """Whole seconds until a moment, at least one."""
    return max(1, -((now() - moment) // 1_000_000))


def _claim_values(draft: Draft) -> tuple[Any, ...]:
    lifetime = CLAIM_SECONDS if draft.expires is None else min(CLAIM_SECONDS, _seconds_left(draft.expires))
    described = (draft.source, draft.name, draft.object_type, draft.actor_type)
    return (
        *(draft.hash, *draft.id, *draft.bucket, draft.timestamp, *described, draft.body, draft.origin),
        *(draft.digest, draft.expires, lifetime),
    )


def _claimed(row: Mapping[str, Any]) -> Draft:
    """The activity that a claim holds."""
    return Draft(
        ActivityId(row["position"], row["tail"]),
        Bucket(row["contact"], row["level"], row["start"], row["part"]),
        row["timestamp"],
        row["source"],
        row["name"],
        row["object_type"],
        row["actor_type"],
        row["body"],
        row["origin"],
        row["hash"],
        row["digest"],
        row["expires"],
    )


def _span(filters: Filters, after: Place | None) -> Span:
    upper = (after.timestamp, *after.id) if after else (_LAST, 0, 0)
    if filters.until is not None:
        upper = min(upper, (filters.until, 0, 0))
    return Span(upper, (filters.since if filters.since is not None else -_LAST, 0, 0))


async def _fill(
    rows: AsyncGenerator[Row],
    test: Matcher | None,
    limit: int,
    piece: int,
    fetch: Callable[[Sequence[Row]], Awaitable[list[Row]]] | None,
) -> Page:
    """Fill a page from a walk, a piece at a time. `fetch` brings the rows where the walk has pointers."""
    filling = Filling(test or (lambda row: True), limit)
    async with aclosing(rows) as walking:
        gathered: list[Row] = []
        async for row in walking:
            gathered.append(row)
            if len(gathered) == piece:
                page = filling.take(map(_candidate, await fetch(gathered) if fetch else gathered))
                if page is not None:
                    return page
                gathered = []
                piece = min(2 * piece, FETCH_AT_ONCE)  # what is looked for is rarer than hoped
        page = filling.take(map(_candidate, await fetch(gathered) if fetch else gathered))
        return page or filling.end()


def _candidate(row: Row) -> tuple[Any, ...]:
    """A row in the order that `walk` wants."""
    return row[1], row[2], row[3], row[0], *row[4:9]
