"""Which partition a row goes to, so that none grows without bound and few are read: buckets of time, as deep as needed.

An owner's rows begin in buckets that last about a year. One that has filled is marked full, and what comes later for
its time goes one level deeper, into a bucket of days, then hours, minutes, seconds. So a contact with a row a month is
read from a few partitions, and one with a thousand a second has many small ones; several levels of one time are merged
by the reader. On the deepest level, where time alone cannot divide (a million rows of one moment), each writer fills
parts of its own.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from backstory.model.moment import Microseconds

SECOND = 1_000_000
DAY = 86_400 * SECOND
SPANS: tuple[Microseconds, ...] = (360 * DAY, 12 * DAY, DAY // 3, 900 * SECOND, 30 * SECOND)
"""How long a bucket of each level lasts."""

DEEPEST = len(SPANS) - 1
FULL_ROWS = 20_000
"""With about a kilobyte a row, 20 MB: a partition is best below 100 MB."""

RECOUNT_ROWS = 2_000
"""After so many rows of one process a bucket is counted: other processes write to it too."""

FIRST_COUNT_ROWS = 100
REMEMBERED = 200_000


class Bucket(NamedTuple):
    """A partition: whose, how deep, when it begins, and which part of that."""

    owner: bytes
    level: int
    start: Microseconds
    part: int

    @property
    def end(self) -> Microseconds:
        """The first moment after it."""
        return self.start + SPANS[self.level]


def bucket_at(owner: bytes, level: int, moment: Microseconds, part: int = 0) -> Bucket:
    """The bucket of a level that a moment belongs to."""
    return Bucket(owner, level, moment // SPANS[level] * SPANS[level], part)


class Chosen(NamedTuple):
    """Where a row goes; whether the bucket must be registered with it; whether to count it now."""

    bucket: Bucket
    new: bool
    recount: bool


class BucketChooser:
    """Chooses buckets, and remembers how full they are. What it forgot it learns again by counting."""

    def __init__(self) -> None:
        self.alone = False
        self._rows: OrderedDict[Bucket, int] = OrderedDict()
        self._registered: set[Bucket] = set()
        self._parts: dict[tuple[bytes, Microseconds], int] = {}

    def choose(self, owner: bytes, moment: Microseconds) -> Chosen:
        """Where the next row of an owner goes. It counts as written."""
        for level in range(DEEPEST):
            bucket = bucket_at(owner, level, moment)
            rows = self._rows.get(bucket, 0)
            if rows < FULL_ROWS:
                return self._take(bucket, rows)
        return self._choose_part(bucket_at(owner, DEEPEST, moment))

    def _choose_part(self, first: Bucket) -> Chosen:
        """On the deepest level a part belongs to one writer, which therefore needs no count of others' rows."""
        key = (first.owner, first.start)
        bucket = first._replace(part=self._parts.get(key, 0))
        rows = self._rows.get(bucket, 0)
        if bucket.part == 0 or rows >= FULL_ROWS:
            if len(self._parts) > REMEMBERED:
                self._parts.clear()
            self._parts[key] = secrets.randbelow(2**31 - 1) + 1
            bucket = first._replace(part=self._parts[key])
            rows = 0
        return self._take(bucket, rows)._replace(recount=False)

    def _take(self, bucket: Bucket, rows: int) -> Chosen:
        self._rows[bucket] = rows + 1
        self._rows.move_to_end(bucket)
        if len(self._rows) > REMEMBERED:
            self._registered.discard(self._rows.popitem(last=False)[0])
        recount = rows + 1 == FIRST_COUNT_ROWS or (not self.alone and (rows + 1) % RECOUNT_ROWS == 0)
        return Chosen(bucket, bucket not in self._registered, recount)

    def learn(self, bucket: Bucket, rows: int) -> None:
        """So many rows there are in a bucket."""
        self._rows[bucket] = max(rows, self._rows.get(bucket, 0))

    def is_registered(self, bucket: Bucket) -> bool:
        """Whether this process knows that a bucket is known."""
        return bucket in self._registered

    def registered(self, buckets: Iterable[Bucket]) -> None:
        """These are durably known as their owners' buckets. Until then every row brings its bucket along."""
        self._registered.update(each for each in buckets if each in self._rows)
