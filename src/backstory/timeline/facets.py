"""What a contact's timeline can be narrowed to, with how many there are; and when each source was last heard."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from backstory.model.moment import Microseconds, parse_moment
from backstory.model.page import Filters, Place
from backstory.timeline.read import Timeline

MAX_COUNTED = 1_000
MAX_COUNTED_BYTES = 4 * 1024 * 1024
PIECE = 250
HEARD_SECONDS = 10
"""How long it is remembered when a source was last heard."""


class Facets(Struct, frozen=True):
    """Activities by source and by type of their object. Where `capped`, of the newest ones alone."""

    sources: dict[str, int]
    types: dict[str, int]
    capped: bool


class _Named(Struct):
    name: str | None = None
    type: str | None = None


class _Counted(Struct):
    source: _Named
    object: _Named | None = None


class _Received(Struct):
    received_at: str


_COUNTED = msgspec.json.Decoder(_Counted)
_RECEIVED = msgspec.json.Decoder(_Received)


async def count_facets(timeline: Timeline, contact_id: int) -> Facets:
    """What there is, counted up to a thousand.

    Raises:
        NotFound: there is no contact with this number.
    """
    sources: Counter[str] = Counter()
    types: Counter[str] = Counter()
    after: Place | None = None
    counted = size = 0
    while True:
        page = await timeline.page(contact_id, Filters(), after, PIECE)
        for shown in page.activities:
            body = _COUNTED.decode(shown.activity.body)
            sources[body.source.name or ""] += 1
            if body.object is not None and body.object.type:
                types[body.object.type] += 1
            size += len(shown.activity.body)
        counted += len(page.activities)
        after = page.next
        if after is None or counted >= MAX_COUNTED or size >= MAX_COUNTED_BYTES:
            return Facets(dict(sources.most_common()), dict(types.most_common()), after is not None)


class SourcesHeard:
    """When each source was last heard, of any contact: so that silence is not taken for "nothing happened"."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._heard: dict[str, tuple[float, Microseconds | None]] = {}

    async def last(self, sources: Iterable[str]) -> dict[str, Microseconds | None]:
        """When the newest activity of each was received; None of one that was never heard."""
        names = list(dict.fromkeys(sources))
        moments = await asyncio.gather(*(self._last(name) for name in names))
        return dict(zip(names, moments, strict=True))

    async def _last(self, source: str) -> Microseconds | None:
        known = self._heard.get(source)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        page = await self._timeline.find(Filters(sources=(source,)), None, 1)
        moment = None
        if page.activities:
            moment = parse_moment(_RECEIVED.decode(page.activities[0].activity.body).received_at)
        if len(self._heard) >= MAX_COUNTED:
            self._heard.clear()
        self._heard[source] = (time.monotonic() + HEARD_SECONDS, moment)
        return moment
