"""A log on Cassandra, copied out of and into: see `store.copying.LogCopy`.

Positions are in no order there, so what is to be read in order is found by a scan of all ids, which are kept in memory
while they are read: some 100 bytes for each activity.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from backstory.model.ids import ActivityId, Position
from backstory.store.copying import NOBODY, PIECE, KeptActivity, KeptDeletion, KeptKey, LogState
from backstory.store.log.cassandra import (
    PUT_DELETION,
    PUT_NEWEST,
    PUT_WHERE,
    CassandraLog,
    Draft,
    written,
)
from backstory.store.log.cassandra_buckets import Bucket
from backstory.store.log.cassandra_walk import Row

AT_ONCE = 128
"""How many rows are under way at once."""

TOGETHER = 250
"""So many activities are written with the same requests. While the cluster is at it, the next ones are prepared."""

NO_TAIL = -1
"""The copy brings keys before activities: the id's tail is looked up by its position."""

_SCAN_ACTIVITIES = "SELECT installation, position, tail FROM activities"
_SCAN_DELETIONS = "SELECT installation, deleted, contact, position, tail FROM deletions"
_SCAN_KEYS = "SELECT installation, hash, position, digest, expires FROM event_keys"
_PUT_KEY = (
    "INSERT INTO event_keys (installation, hash, position, tail, digest, expires) VALUES (?, ?, ?, ?, ?, ?)"
    " USING TIMESTAMP ?"
)
_SET_GENERATION = "UPDATE log_state SET value = ? WHERE installation = ? AND name = 'generation' IF EXISTS"


Item = TypeVar("Item")
Result = TypeVar("Result")


class CassandraLogCopy:
    """See `store.copying.LogCopy`."""

    in_order = False

    def __init__(self, log: CassandraLog) -> None:
        self._log = log
        self._log.write_alone()
        self._session = log.session
        self._ids: list[ActivityId] = []
        self._begun: frozenset[ActivityId] = (
            frozenset()
        )  # what an earlier run of this copy may have left half done
        self._deletions: list[KeptDeletion] = []
        self._keys: list[KeptKey] = []

    async def _scan(self, query: str) -> list[Any]:
        """All rows of this installation."""
        rows = await asyncio.to_thread(self._session.scan, query)
        return [row[1:] for row in rows if row[0] == self._log.installation]

    async def _read_ids(self) -> None:
        deletions = await self._scan(_SCAN_DELETIONS)
        gone = {(row[2], row[3]) for row in deletions}
        self._deletions = sorted(map(_deletion, deletions))
        ids = await self._scan(_SCAN_ACTIVITIES)
        self._ids = sorted(ActivityId(*row) for row in ids if tuple(row) not in gone)

    async def state(self) -> LogState:
        """See `LogCopy.state`."""
        await self._read_ids()
        generation = (await self._log.stream_position()).generation
        return LogState(
            generation,
            self._ids[-1].position if self._ids else 0,
            self._deletions[-1].position if self._deletions else 0,
        )

    async def complete(self) -> LogState:
        """See `LogCopy.complete`. The rows of a piece are written in any order, so its last ones may be there alone."""
        generation, _, _ = await self.state()
        self._begun = frozenset(self._ids)
        activities = [each.position for each in self._ids[-PIECE - 1 : -PIECE]]
        deletions = [each.position for each in self._deletions[-PIECE - 1 : -PIECE]]
        return LogState(generation, *(max(each, default=0) for each in (activities, deletions)))

    async def read_activities(self, after: Position, limit: int) -> Sequence[KeptActivity]:
        """See `LogCopy.read_activities`."""
        if after == 0:
            await self._read_ids()
        found: list[KeptActivity] = []
        start = bisect_right(self._ids, (after, 1 << 62))
        while not found and start < len(self._ids):  # what was begun and never finished is passed over
            piece = self._ids[start : start + limit]
            start += len(piece)
            found = [_kept(row) for row in await _each(self._log.find_row, piece) if row is not None]
        return found

    async def read_deletions(self, after: Position, limit: int) -> Sequence[KeptDeletion]:
        """See `LogCopy.read_deletions`."""
        if after == 0:
            await self._read_ids()
        start = bisect_right(self._deletions, after, key=lambda each: each.position)
        return self._deletions[start : start + limit]

    async def read_keys(self, after: bytes, newer_than: Position, limit: int) -> Sequence[KeptKey]:
        """See `LogCopy.read_keys`."""
        if not after:
            self._keys = sorted(KeptKey(*row) for row in await self._scan(_SCAN_KEYS))
        start = bisect_right(self._keys, after, key=lambda each: each.hash)
        found: list[KeptKey] = []
        for key in self._keys[start:]:
            if key.position > newer_than:
                found.append(key)
                if len(found) == limit:
                    break
        return found

    async def write_activities(self, rows: Sequence[KeptActivity]) -> int:
        """See `LogCopy.write_activities`."""
        drafts = [draft for draft in await _each(self._draft, rows) if draft is not None]
        parts = [drafts[at : at + TOGETHER] for at in range(0, len(drafts), TOGETHER)]
        await asyncio.gather(*map(self._log.store_many, parts))
        return len(drafts)

    async def _draft(self, row: KeptActivity) -> Draft | None:
        """What is to be stored; None where it is there. What was begun goes where that which points at it leads."""
        activity_id = ActivityId(row.position, row.tail)
        where = await self._log.where(activity_id) if activity_id in self._begun else None
        if where is not None and await self._log.find_row(activity_id) is not None:
            return None
        bucket = where[0] if where is not None else self._log.bucket_of(row.contact_key, row.timestamp)
        described = (row.source, row.name, row.object_type, row.actor_type)
        return Draft(activity_id, bucket, row.timestamp, *described, row.body, row.origin, None, None, None)

    async def write_deletions(self, rows: Sequence[KeptDeletion]) -> int:
        """See `LogCopy.write_deletions`."""
        return sum(await _each(self._write_deletion, rows))

    async def _write_deletion(self, row: KeptDeletion) -> bool:
        """Whether it was not there."""
        activity_id = ActivityId(row.deleted, row.tail)
        there = await self._log.find_row(activity_id)
        name = self._log.installation
        if there is None:  # that there was one, for its replay
            nowhere = Bucket(row.contact_key, 0, 0, 0)
            await self._session.write(
                PUT_WHERE, (name, *activity_id, *nowhere, 0, None, written(activity_id))
            )
        deletion = (name, *activity_id, row.contact_key, row.position)
        found = await self._session.compare_and_set(PUT_DELETION, deletion)
        if there is not None:
            await self._log.remove(there)
        return found is None

    async def write_keys(self, rows: Sequence[KeptKey]) -> None:
        """See `LogCopy.write_keys`."""
        await self._session.write_many([(_PUT_KEY, self._key(row)) for row in rows])

    def _key(self, row: KeptKey) -> tuple[Any, ...]:
        key = (self._log.installation, row.hash, row.position, NO_TAIL, row.digest, row.expires)
        return (*key, written(ActivityId(row.position, 0)))

    async def adopt(self, state: LogState) -> None:
        """See `LogCopy.adopt`."""
        name = self._log.installation
        await self._session.compare_and_set(_SET_GENERATION, (state.generation, name))
        if state.last:
            await self._session.write(PUT_NEWEST, (name, state.last, state.last))
        self._log.adopt(state.generation, state.last)


async def _each(work: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """Do something for each, so many at once; what came of each, in order."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Result:
        async with gate:
            return await work(item)

    return await asyncio.gather(*map(one, items))


def _deletion(row: Sequence[Any]) -> KeptDeletion:
    position, contact_key, deleted, tail = row
    return KeptDeletion(position, NOBODY if position == deleted else contact_key, deleted, tail)


def _kept(row: Row) -> KeptActivity:
    timestamp, position, tail, contact, body, source, name, object_type, actor_type, origin = row
    return KeptActivity(
        position, tail, contact, timestamp, source, name, object_type, actor_type, body, origin
    )
