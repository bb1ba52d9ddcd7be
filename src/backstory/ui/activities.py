"""The activities' pages: one of them, what its row opens to, and finding them across contacts."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk import pins
from backstory.helpdesk.contact_finding import contact_names
from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.model.contact import Contact
from backstory.model.ids import parse_activity_id
from backstory.model.json_text import shorten
from backstory.model.moment import format_moment
from backstory.model.page import encode_cursor
from backstory.timeline.fold import fold
from backstory.timeline.read import Shown
from backstory.ui.clock import Clock, clock_of
from backstory.ui.forms import form_values
from backstory.ui.render import redirect, show
from backstory.ui.rows import Details, read_activity, read_details
from backstory.ui.timeline import Group, days_of, query_filters, query_place, read_query
from backstory.ui.visitor import safe_address

FOUND_A_PAGE = 50


async def _read(request: Request, services: Services) -> Shown:
    text = request.path_values["id"]
    try:
        activity_id = parse_activity_id(text)
    except ValueError:
        raise NotFound(f"There is no activity {shorten(text)}.") from None
    return await services.timeline.activity(activity_id)


async def _read_details(request: Request, services: Services) -> tuple[Details, Contact, Clock, bool]:
    shown = await _read(request, services)
    known = await services.sources.known()
    contact = await services.timeline.contact(shown.contact_id)
    zone = next((value for name, value in request.query() if name == "zone"), "")
    preferred = request.session.preferences.get("zone", "mine") if request.session else "mine"
    clock = clock_of(request, choice=zone or preferred, theirs=contact.time_zone)
    details = read_details(shown, known.minor_units)
    is_pinned = details.activity.id in await pins.pinned(services.store.records, shown.contact_id)
    return details, contact, clock, is_pinned


async def read_page(request: Request, services: Services) -> Response:
    """An activity's own page."""
    details, contact, clock, is_pinned = await _read_details(request, services)
    around = f"/contacts/{contact.id}?at={format_moment(details.activity.at)}#a-{details.activity.id}"
    return show(
        request,
        "activity.html",
        details=details,
        contact=contact,
        clock=clock,
        is_pinned=is_pinned,
        around=around,
        permalink=request.url(request.path),
        to=request.path,
    )


async def read_part(request: Request, services: Services) -> Response:
    """What a row of a timeline opens to. `to` is the page to come back to from what is done there."""
    details, contact, clock, is_pinned = await _read_details(request, services)
    permalink = request.url(f"/activities/{details.activity.id}")
    return show(
        request,
        "_details_part.html",
        details=details,
        contact=contact,
        clock=clock,
        is_pinned=is_pinned,
        permalink=permalink,
        to=dict(request.query()).get("to") or f"/contacts/{contact.id}",
    )


async def pin(request: Request, services: Services) -> Response:
    """Pin an activity to its contact's timeline."""
    shown = await _read(request, services)
    await pins.pin(services.store.records, shown.contact_id, shown.activity, request.caller.agent_id)
    return _back(request, shown)


async def unpin(request: Request, services: Services) -> Response:
    """Take a pin away."""
    shown = await _read(request, services)
    await pins.unpin(services.store.records, shown.contact_id, shown.activity)
    return _back(request, shown)


async def delete(request: Request, services: Services) -> Response:
    """Remove an activity."""
    shown = await _read(request, services)
    activity_id = shown.activity.id
    entry = request.audit("activity.delete", f"activity:{activity_id}")
    if await services.store.log.delete(activity_id, entry) is None:
        raise NotFound(f"There is no activity {activity_id}.")
    services.hub.notify_commit()
    return redirect(f"/contacts/{shown.contact_id}")


def _back(request: Request, shown: Shown) -> Response:
    return redirect(safe_address(form_values(request).get("to") or f"/contacts/{shown.contact_id}"))


# Across contacts.


class FoundBy(Struct, frozen=True):
    """What the form on the page asks for beside the timeline's own filters."""

    ref: str = ""
    name: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether it asks for anything."""
        return bool(self.ref or self.name)


async def find(request: Request, services: Services) -> Response:
    """Activities of all contacts: by a reference, by words, by source, name, type and time."""
    query = read_query(request)
    clock = clock_of(request, choice="utc" if query.zone == "utc" else "mine")
    by = FoundBy(**{name: _last(request, name) for name in ("ref", "name")})
    filters = replace(query_filters(query, clock), name=by.name or None, ref=by.ref or None)
    page = await services.timeline.find(filters, query_place(query), FOUND_A_PAGE)
    known = await services.sources.known()
    rows = {shown.activity.id: read_activity(shown, known.minor_units) for shown in page.activities}

    def likeness(shown: Shown) -> Any:
        row = rows[shown.activity.id]
        return row.key, row.contact_id, clock.day_of(row.at)

    groups = [Group(tuple(rows[each.activity.id] for each in run)) for run in fold(page.activities, likeness)]
    names = await contact_names(services.store.records, {row.contact_id for row in rows.values()})
    pairs = [(name, value) for name, value in request.query() if value.strip() and name != "cursor"]
    heard = await services.heard.last(known.expected)
    return show(
        request,
        "activities.html",
        query=query,
        by=by,
        finds_words=services.store.log.finds_words,
        clock=clock,
        days=tuple(days_of(groups, clock)),
        names=names,
        older=f"{request.path}?{urlencode([*pairs, ('cursor', encode_cursor(page.next))])}"
        if page.next
        else None,
        narrowed=query.narrowed or by.narrowed,
        is_first=not query.cursor,
        sources=sorted({*known.expected, *query.sources}),
        heard=heard,
    )


def _last(request: Request, name: str) -> str:
    values = [value.strip() for key, value in request.query() if key == name]
    text = values[-1] if values else ""
    if "\0" in text or len(text) > 1_024:
        raise FieldErrors([Fault(name, "It is too long.", Code.INVALID_VALUE)])
    return text
