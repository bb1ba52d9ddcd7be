"""A timeline that is open: what arrives is sent to it as rows, for the page to put in their places."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from backstory.http.activities import (
    Followed,
    contact_id_of,
    decode_position,
    encode_position,
    follow_contact,
    follow_events,
    iter_reset,
)
from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.live.hub import Event, Signal
from backstory.model.activity import Activity, Deletion
from backstory.model.ids import ActivityId
from backstory.model.page import Filters
from backstory.store.base import Homes, StreamPosition
from backstory.timeline.match import matches
from backstory.timeline.read import Shown
from backstory.ui.clock import Clock
from backstory.ui.render import PAGE_HEADERS, render
from backstory.ui.rows import read_activity
from backstory.ui.timeline import query_filters, read_query, timeline_clock

MAX_TOLD = 256
_told: dict[tuple[ActivityId, int, str, str, str], str] = {}
"""Rows as they were sent last: a hundred viewers of one timeline, and the row is made once."""


async def stream_timeline(request: Request, services: Services) -> Response:
    """What arrives for a contact, as rows of its timeline."""
    contact_id = contact_id_of(request)
    contact = await services.timeline.contact(contact_id)
    query = read_query(request)
    clock = timeline_clock(request, contact, query)
    filters = query_filters(query, clock)
    after = next((value for name, value in request.query() if name == "after"), "")
    followed = await follow_contact(services, contact_id)
    start = decode_position(request.header(b"last-event-id") or after, followed.homes)
    pieces = iter_reset() if start is None else _rows(request, services, followed, start, filters, clock)
    headers = {**PAGE_HEADERS, "X-Accel-Buffering": "no"}
    return Response(content_type="text/event-stream; charset=utf-8", headers=headers, stream=pieces)


def _rows(
    request: Request,
    services: Services,
    followed: Followed,
    start: StreamPosition,
    filters: Filters,
    clock: Clock,
) -> AsyncGenerator[bytes]:
    homes = followed.homes

    async def may_read() -> bool:
        return await services.sessions.session(request.token) is not None

    async def write(event: Event) -> bytes | None:
        piece = await _event(request, services, event, homes.contact_id, filters, clock)
        return None if piece is None else _with_position(piece, event, homes, start.generation)

    return follow_events(services, followed, start, may_read, write)


async def _event(
    request: Request, services: Services, event: Event, contact_id: int, filters: Filters, clock: Clock
) -> str | None:
    """The event's name and data; None where the viewer need not know."""
    if event is Signal.RESET:
        return "event: reset\ndata: -"
    if event is Signal.QUIET:
        return ": still here"
    if isinstance(event, Deletion):
        return f"event: deleted\ndata: {event.id}"
    if not isinstance(event, Activity) or not matches(event, filters):
        return None
    known = await services.sources.known()
    manner = (event.id, contact_id, clock.zone_name, clock.region, clock.language)
    if (told := _told.get(manner)) is None:
        row = read_activity(Shown(event, contact_id), known.minor_units)
        day = clock.day_of(event.timestamp)
        text = render(
            request, "_live_row.html", row=row, clock=clock, date=day.isoformat(), label=clock.day(day)
        )
        told = "event: activity\n" + "\n".join(f"data: {line}" for line in text.splitlines())
        if len(_told) >= MAX_TOLD:
            _told.clear()
        _told[manner] = told
    return told


def _with_position(piece: str, event: Event, homes: Homes, generation: str) -> bytes:
    if isinstance(event, Signal):
        return f"{piece}\n\n".encode()
    position = StreamPosition(generation, event.arrival)
    return f"{piece}\nid: {encode_position(position, homes)}\n\n".encode()
