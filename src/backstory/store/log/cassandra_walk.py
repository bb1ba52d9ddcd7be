"""Reading an owner's rows newest first, over as few partitions as the reader needs.

An owner's buckets are ranges of time that may lie over each other (a long one that filled, and the shorter ones after
it). The walk opens the bucket that ends last, and the next one as soon as it might hold something newer than what is
at hand; what is open is merged.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from backstory.model.moment import Microseconds
from backstory.store.log.cassandra_buckets import DEEPEST, SPANS, Bucket
from backstory.store.log.cassandra_session import CassandraSession

Row = tuple[Any, ...]
"""`(timestamp, position, tail, ...)`"""

Bound = tuple[int, int, int]
"""A place in the order of a timeline: timestamp, position, tail."""

MANY_BUCKETS = 64
OPEN_AT_ONCE = 4

_SOME = "SELECT level, start, part FROM buckets WHERE owner = ? LIMIT ?"
_LEVEL = (
    "SELECT level, start, part FROM buckets WHERE owner = ? AND level = ? AND start <= ?"
    " ORDER BY level ASC, start DESC LIMIT ?"
)
_ONE_START = "SELECT level, start, part FROM buckets WHERE owner = ? AND level = ? AND start = ?"
WALK_STATEMENTS = (_SOME, _LEVEL, _ONE_START)


class Span(NamedTuple):
    """What is read: from before `upper` down to `lower`, which is included."""

    upper: Bound
    lower: Bound

    def meets(self, bucket: Bucket) -> bool:
        """Whether a bucket can hold anything of it."""
        return bucket.start <= self.upper[0] and bucket.end > self.lower[0]


class _Level:
    """An owner's buckets of one level, newest first, read as they are asked for."""

    def __init__(self, session: CassandraSession, owner: bytes, level: int, span: Span) -> None:
        self._session = session
        self._owner, self._level, self._span = owner, level, span
        self._next: Microseconds | None = span.upper[0]
        self.buckets: list[Bucket] = []  # the newest last

    async def fill(self) -> None:
        """See that there is a bucket, if there is one."""
        while not self.buckets and self._next is not None:
            await self._read(self._next)

    async def _read(self, start: Microseconds) -> None:
        found = await self._session.read(_LEVEL, (self._owner, self._level, start, MANY_BUCKETS))
        if len(found) == MANY_BUCKETS:
            last = found[-1][1]
            self._next = last - SPANS[self._level]
            ends_with = await self._session.read(_ONE_START, (self._owner, self._level, last))
            found = [row for row in found if row[1] != last] + ends_with
        else:
            self._next = None
        kept = [bucket for row in found if self._span.meets(bucket := Bucket(self._owner, *row))]
        if found and not kept and found[0][1] <= self._span.lower[0]:
            self._next = None
        self.buckets = kept[::-1]


class _Open:
    """A bucket that is being read."""

    def __init__(
        self, session: CassandraSession, select: str, bucket: Bucket, span: Span, piece: int
    ) -> None:
        self._session, self._select, self._bucket = session, select, bucket
        self._upper, self._lower, self._piece = span.upper, span.lower, piece
        self._rows: list[Row] = []
        self._more = True

    async def next(self) -> Row | None:
        """The next row; None where there is no more."""
        if not self._rows and self._more:
            found = await self._session.read(
                self._select, (*self._bucket, *self._upper, *self._lower, self._piece)
            )
            self._more = len(found) == self._piece
            if found:
                self._upper = (found[-1][0], found[-1][1], found[-1][2])
            self._rows = found[::-1]
        return self._rows.pop() if self._rows else None


async def walk(
    session: CassandraSession, select: str, owners: Sequence[bytes], span: Span, piece: int
) -> AsyncGenerator[Row]:
    """The rows of some owners, newest first, each once. `select` reads a bucket: its key, two bounds, a limit."""
    levels = await _levels(session, owners, span)
    heap: list[tuple[int, int, int, int, Row, _Open]] = []
    last: Bound | None = None
    number = 0
    at_once = 1
    while True:
        while True:
            await asyncio.gather(*(each.fill() for each in levels))
            levels = [each for each in levels if each.buckets]
            # What can still hold something newer than what is at hand, the latest first.
            waiting = heapq.nlargest(
                at_once if not heap else OPEN_AT_ONCE, levels, key=lambda each: each.buckets[-1].end
            )
            if heap:
                waiting = [each for each in waiting if each.buckets[-1].end > -heap[0][0]]
            if not waiting:
                break
            opened = [
                _Open(session, select, bucket, span, piece)
                for each in waiting
                for bucket in _pop_start(each.buckets, at_once if not heap else 1)
            ]
            at_once = min(at_once * 2, 2 * OPEN_AT_ONCE)
            for each, row in zip(
                opened, await asyncio.gather(*(each.next() for each in opened)), strict=True
            ):
                if row is not None:
                    number += 1
                    heapq.heappush(heap, (*_key(row), number, row, each))
        if not heap:
            return
        *_, row, source = heap[0]
        following = await source.next()
        if following is None:
            heapq.heappop(heap)
        else:
            number += 1
            heapq.heapreplace(heap, (*_key(following), number, following, source))
        place: Bound = (row[0], row[1], row[2])
        if place != last:  # a crash that was healed may have left a row in two buckets
            yield row
        last = place


def _key(row: Row) -> Bound:
    return -row[0], -row[1], -row[2]


def _pop_start(buckets: list[Bucket], count: int) -> list[Bucket]:
    """Take the newest buckets, at least `count`, and with one all parts of its range."""
    taken: list[Bucket] = []
    while buckets and (len(taken) < count or buckets[-1].start == taken[-1].start):
        taken.append(buckets.pop())
    return taken


async def _levels(session: CassandraSession, owners: Sequence[bytes], span: Span) -> list[_Level]:
    """Each owner's levels. Most owners have few buckets, which one query tells."""
    found = await asyncio.gather(*(session.read(_SOME, (owner, MANY_BUCKETS)) for owner in owners))
    levels: list[_Level] = []
    for owner, rows in zip(owners, found, strict=True):
        for level in range(DEEPEST + 1):
            each = _Level(session, owner, level, span)
            if len(rows) < MANY_BUCKETS:
                each._next = None
                kept = [Bucket(owner, *row) for row in rows if row[0] == level]
                each.buckets = [bucket for bucket in kept if span.meets(bucket)][::-1]
            levels.append(each)
    return levels
