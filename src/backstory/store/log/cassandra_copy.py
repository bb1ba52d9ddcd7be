"""A log on Cassandra, copied out of and into: see `store.copying.LogCopy`.

It is read as the nodes have it, in no order, so a copy out of it looks at everything in each pass. The ids of what an
earlier run has copied into it are kept in memory where they may come again: out of another engine the last thousand,
out of another cluster all of them, some 150 bytes for each activity.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, TypeVar

from backstory.model.ids import ActivityId, ContactKey, Position
from backstory.store.copying import NOBODY, PIECE, KeptActivity, KeptDeletion, KeptKey, LogState
from backstory.store.log.cassandra import (
    GET_STATE,
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

LANDING_SECONDS = 5.0
"""Well longer than a node goes on with a write whose sender was killed (`write_request_timeout`: 2 seconds)."""

NO_TAIL = -1
"""The copy brings keys before activities: the id's tail is looked up by its position."""

_SCAN_IDS = "SELECT installation, position, tail FROM activities"
_SCAN_TIMELINE = (
    "SELECT position, tail, owner, timestamp, source, name, object_type, actor_type, body, origin"
    " FROM timeline"
)
_SCAN_DELETIONS = "SELECT installation, deleted, contact, position, tail FROM deletions"
_SCAN_KEYS = "SELECT installation, hash, position, digest, expires FROM event_keys"
_PUT_KEY = (
    "INSERT INTO event_keys (installation, hash, position, tail, digest, expires) VALUES (?, ?, ?, ?, ?, ?)"
    " USING TIMESTAMP ?"
)
_UNDER_WAY = "copying"
_NOTE_RUN = "INSERT INTO log_state (installation, name, value) VALUES (?, ?, ?)"
_SET_GENERATION = "UPDATE log_state SET value = ? WHERE installation = ? AND name = 'generation' IF EXISTS"


Item = TypeVar("Item")
Result = TypeVar("Result")


class CassandraLogCopy:
    """See `store.copying.LogCopy`."""

    in_order = False

    def __init__(self, log: CassandraLog, contacts: Callable[[], Awaitable[Collection[ContactKey]]]) -> None:
        """`contacts` tells the keys of this installation's contacts: others may share the keyspace."""
        self._log = log
        self._log.write_alone()
        self._session = log.session
        self._contacts = contacts
        # What an earlier run of this copy may have left half done.
        self._begun: frozenset[ActivityId] = frozenset()
        self._run = secrets.token_hex(6)

    async def _scan(self, query: str) -> AsyncGenerator[list[Row]]:
        """Rows of this installation, which the first column tells."""
        async with aclosing(self._session.pages(query)) as pages:
            async for rows in pages:
                yield [row[1:] for row in rows if row[0] == self._log.installation]

    async def state(self) -> LogState:
        """See `LogCopy.state`. What is there came before this moment."""
        return LogState(*await self._log.moment())

    async def complete(self, *, in_order: bool) -> Position:
        """See `LogCopy.complete`. The rows of a piece are written in any order, so its last ones may be there alone."""
        await self._let_land()
        newest: list[ActivityId] = []
        begun: list[ActivityId] = []
        async for rows in self._scan(_SCAN_IDS):
            ids = [ActivityId(*row) for row in rows]
            newest = heapq.nlargest(PIECE + 1, chain(newest, ids))
            if not in_order:
                begun += ids
        self._begun = frozenset(newest if in_order else begun)
        return newest[PIECE].position if len(newest) > PIECE else 0

    async def _let_land(self) -> None:
        """Where an earlier run was killed: wait until what it had sent is there, or never will be."""
        rows = await self._session.read(GET_STATE, (self._log.installation, _UNDER_WAY))
        if rows and rows[0][0] not in ("", self._run):
            await asyncio.sleep(LANDING_SECONDS)
        await self._session.write(_NOTE_RUN, (self._log.installation, _UNDER_WAY, self._run))

    async def activities(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptActivity]]:
        """See `LogCopy.activities`. What is being deleted is not among them."""
        gone = {(row[2], row[3]) async for rows in self._scan(_SCAN_DELETIONS) for row in rows}
        ours = await self._contacts()
        async with aclosing(self._session.pages(_SCAN_TIMELINE)) as pages:
            async for rows in pages:
                yield [
                    row
                    for row in map(KeptActivity._make, rows)
                    if after < row.position <= until
                    and row.contact_key in ours
                    and (row.position, row.tail) not in gone
                ]

    async def deletions(self, until: Position) -> AsyncIterator[Sequence[KeptDeletion]]:
        """See `LogCopy.deletions`."""
        async for rows in self._scan(_SCAN_DELETIONS):
            yield [row for row in map(_deletion, rows) if row.position <= until]

    async def keys(self, after: Position, until: Position) -> AsyncIterator[Sequence[KeptKey]]:
        """See `LogCopy.keys`."""
        async for rows in self._scan(_SCAN_KEYS):
            yield [row for row in map(KeptKey._make, rows) if after < row.position <= until]

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
        await self._session.write(_NOTE_RUN, (name, _UNDER_WAY, ""))


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
