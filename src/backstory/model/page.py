"""Pages by position: what a reader asks for, what is found, and the opaque cursor between two pages."""

from __future__ import annotations

import base64
import struct
from typing import NamedTuple

from msgspec import Struct

from backstory.model.activity import Activity
from backstory.model.ids import ActivityId
from backstory.model.moment import Microseconds

DEFAULT_PER_PAGE = 30
MAX_PER_PAGE = 100


class Place(NamedTuple):
    """A place in the order of a timeline: newest timestamp first, ties by the larger id first."""

    timestamp: Microseconds
    id: ActivityId


class Filters(Struct, frozen=True):
    """What a reader narrows a timeline to; all that is given must hold.

    `since` ≤ timestamp < `until`; `words` must all be in the activity; `sources` and `types` are alternatives.
    """

    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    name: str | None = None
    actor_type: str | None = None
    since: Microseconds | None = None
    until: Microseconds | None = None
    words: tuple[str, ...] = ()
    ref: str | None = None


class Page(Struct, frozen=True):
    """Some activities in order, and where to go on (None on the last page).

    A rare filter on a long history may give a short page that still has a `next`.
    """

    activities: tuple[Activity, ...]
    next: Place | None


_CURSOR = struct.Struct(">qQQ")


def encode_cursor(place: Place) -> str:
    """A cursor that means "after this place"."""
    packed = _CURSOR.pack(place.timestamp, place.id.position, place.id.tail)
    return base64.urlsafe_b64encode(packed).decode()


def decode_cursor(text: str) -> Place:
    """Read a cursor.

    Raises:
        ValueError: it is not one of ours.
    """
    if len(text) != 32:
        raise ValueError("a cursor has 32 characters; take it from the Link header as it is")
    packed = base64.b64decode(text, altchars=b"-_", validate=True)
    if len(packed) != _CURSOR.size:  # padded
        raise ValueError("not a cursor of this service; take it from the Link header as it is")
    timestamp, position, tail = _CURSOR.unpack(packed)
    if position >> 60 or tail >> 62:
        raise ValueError("not a cursor of this service; take it from the Link header as it is")
    return Place(timestamp, ActivityId(position, tail))
