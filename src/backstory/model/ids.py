"""Activity ids: UUID version 7 whose first 60 bits are the activity's position in the order of arrival.

A position is `milliseconds << 12 | counter`, given out by whoever owns the write transaction, strictly rising.
So one number is the row's key, the resume point of a live stream, and (with 62 random bits behind it) the public id.
"""

from __future__ import annotations

import os
import secrets
from typing import NamedTuple
from uuid import UUID

Position = int
"""A place in the order of arrival: 60 bits, larger is later."""

ContactKey = bytes
"""The log's own name of a contact: 16 random bytes, never its public number."""

_TAIL_BITS = 62
_VARIANT = 0b10 << 14
_TAIL_MASK = (1 << _TAIL_BITS) - 1


class ActivityId(NamedTuple):
    """A UUIDv7 taken apart: where it stands in the order of arrival, and its random tail."""

    position: Position
    tail: int

    def __str__(self) -> str:
        milliseconds, counter = self.position >> 12, self.position & 0xFFF
        high, low = self.tail >> 48 | _VARIANT, self.tail & 0xFFFF_FFFF_FFFF
        return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{counter:03x}-{high:04x}-{low:012x}"


def parse_activity_id(text: str) -> ActivityId:
    """Read an id as `str(ActivityId)` wrote it, in either case.

    Raises:
        ValueError: not a UUID of version 7 in its usual form with hyphens.
    """
    value = UUID(text)
    if value.version != 7 or str(value) != text.lower():  # UUID() reads other spellings too
        raise ValueError("not a UUID of version 7")
    milliseconds, counter = value.int >> 80, (value.int >> 64) & 0xFFF
    return ActivityId(milliseconds << 12 | counter, value.int & _TAIL_MASK)


def first_position(milliseconds: int) -> Position:
    """The lowest position that the given millisecond since the epoch has."""
    return milliseconds << 12


class RandomPool:
    """Random bytes of the system, fetched many at a time: a system call for each id costs more than the id.

    Not shared between threads: whoever needs ids on a thread of its own has a pool of its own.
    """

    _SIZE = 4_096

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        """`count` bytes that nobody had before."""
        start, end = self._used, self._used + count
        if end > len(self._bytes):
            self._bytes = os.urandom(self._SIZE)
            start, end = 0, count
        self._used = end
        return self._bytes[start:end]

    def tail(self) -> int:
        """62 bits for an activity's id."""
        return int.from_bytes(self.take(8), "big") & _TAIL_MASK


def new_contact_key() -> ContactKey:
    """A key for a new contact."""
    return secrets.token_bytes(16)
