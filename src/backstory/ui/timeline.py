"""A contact's timeline: one component, without a page around it. The pages that show it differ in what they give it.

It reads through `timeline.read.Timeline`, as the API does. What it shows is in its address: the filters, the place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.pins import pinned
from backstory.http.activities import encode_position
from backstory.http.message import Request
from backstory.http.routes import API
from backstory.http.services import Services
from backstory.model.contact import Contact
from backstory.model.ids import parse_activity_id
from backstory.model.json_text import shorten
from backstory.model.moment import Microseconds, format_moment, parse_moment
from backstory.model.page import Filters, Place, decode_cursor, encode_cursor
from backstory.model.words import split_words
from backstory.timeline.facets import MAX_COUNTED, Facets, count_facets
from backstory.timeline.fold import FoldedPage, read_folded
from backstory.timeline.read import Shown, ShownPage
from backstory.ui.clock import Clock, clock_of, is_zone
from backstory.ui.rows import Activity, read_activity

GROUPS_A_PAGE = 50
MAX_CHIPS = 12
MAX_ALTERNATIVES = 50
PARAMETERS = ("source", "type", "q", "since", "until", "at", "zone", "cursor")
NOT_KEPT = (*PARAMETERS, "done")
"""What links of the component do not carry on from the address of the page around it."""

ZONES = ("mine", "contact", "utc")

Pairs = list[tuple[str, str]]


class Query(Struct, frozen=True):
    """What the address asks for, as it stands there."""

    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    q: str = ""
    since: str = ""
    until: str = ""
    at: str = ""
    zone: str = ""
    cursor: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether anything is left out."""
        return bool(self.sources or self.types or self.q or self.since or self.until)

    def pairs(self) -> Pairs:
        """As it stands in an address."""
        lists = [("source", each) for each in self.sources] + [("type", each) for each in self.types]
        single = [(name, getattr(self, name)) for name in ("q", "since", "until", "at", "zone", "cursor")]
        return [*lists, *((name, value) for name, value in single if value)]


class Mark(Struct, frozen=True):
    """A moment that is pointed out: "This ticket was opened here"."""

    at: Microseconds
    text: str


class Group(Struct, frozen=True):
    """One activity, or a run of three and more alike."""

    activities: tuple[Activity, ...]

    @property
    def first(self) -> Activity:
        """The newest."""
        return self.activities[0]

    @property
    def last(self) -> Activity:
        """The oldest."""
        return self.activities[-1]


class Day(Struct, frozen=True):
    """A day of the viewer's, newest first."""

    date: str
    label: str
    items: tuple[Group | Mark, ...]


class Chip(Struct, frozen=True):
    """A source to narrow to: how many there are, and when it was last heard, of any contact."""

    name: str
    count: str
    href: str
    on: bool
    heard: Microseconds | None


class Choice(Struct, frozen=True):
    """Something to choose, and the address that does it."""

    text: str
    href: str
    on: bool = False


class TimelineView(Struct, frozen=True):
    """Everything that the component shows."""

    contact_id: int
    base: str
    keep: tuple[tuple[str, str], ...]
    query: Query
    clock: Clock
    days: tuple[Day, ...]
    pins: tuple[Activity, ...]
    chips: tuple[Chip, ...]
    types: tuple[Choice, ...]
    zones: tuple[Choice, ...]
    narrowed: tuple[Choice, ...]
    reset: str
    newest: str | None
    older: str | None
    stream: str | None
    mark_href: str | None
    curl: str | None
    compact: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing on this page."""
        return not self.days


def read_query(request: Request) -> Query:
    """What the address asks for; blank fields of a form are left out.

    Raises:
        FieldErrors: something cannot be.
    """
    values: dict[str, list[str]] = {}
    for name, value in request.query():
        if name in PARAMETERS and value.strip():
            values.setdefault(name, []).append(value.strip())
    faults = [
        Fault(name, "It is too long.", Code.INVALID_VALUE)
        for name, texts in values.items()
        if len(texts) > MAX_ALTERNATIVES or any(len(text) > 1_024 or "\0" in text for text in texts)
    ]
    if faults:
        raise FieldErrors(faults)
    single = {
        name: values[name][-1] for name in ("q", "since", "until", "at", "zone", "cursor") if name in values
    }
    sources, types = (tuple(dict.fromkeys(values.get(name, ()))) for name in ("source", "type"))
    return Query(sources=sources, types=types, **single)


def query_filters(query: Query, clock: Clock) -> Filters:
    """The filters of a query; its days are the viewer's.

    Raises:
        FieldErrors: a date, a moment or a word that is none.
    """
    faults: list[Fault] = []
    until = _moment(query, "until", clock, faults, end=True)
    at = _moment(query, "at", clock, faults, end=True)
    words = tuple(dict.fromkeys(split_words(query.q)))
    if query.q and not words:
        faults.append(Fault("q", f"{shorten(query.q)} has no word in it.", Code.INVALID_VALUE))
    filters = Filters(
        sources=query.sources,
        types=query.types,
        since=_moment(query, "since", clock, faults, end=False),
        until=min((moment for moment in (until, at) if moment is not None), default=None),
        words=words,
    )
    if faults:
        raise FieldErrors(faults)
    return filters


def _moment(query: Query, name: str, clock: Clock, faults: list[Fault], *, end: bool) -> Microseconds | None:
    """A day or a moment; as the `end` of a range it is included."""
    text = getattr(query, name)
    if not text:
        return None
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            return clock.start_of(day + timedelta(days=1) if end else day)
        return parse_moment(text) + (1 if end else 0)
    except (ValueError, OverflowError):
        faults.append(Fault(name, f"{shorten(text)} is not a date, such as 2026-03-02.", Code.INVALID_VALUE))
        return None


def query_place(query: Query) -> Place | None:
    """Where to go on; None at the top.

    Raises:
        FieldErrors: it is no place.
    """
    if not query.cursor:
        return None
    try:
        return decode_cursor(query.cursor)
    except ValueError:
        raise FieldErrors(
            [Fault("cursor", "This address is not complete. Begin again at the top.", Code.INVALID_VALUE)]
        ) from None


def timeline_clock(request: Request, contact: Contact, query: Query) -> Clock:
    """The clock of a timeline: mine, the contact's, or UTC."""
    preferred = request.session.preferences.get("zone", "mine") if request.session else "mine"
    return clock_of(request, choice=query.zone or preferred, theirs=contact.time_zone)


async def read_timeline(
    request: Request,
    services: Services,
    contact: Contact,
    *,
    mark: Mark | None = None,
    compact: bool = False,
    query: Query | None = None,
) -> TimelineView:
    """A contact's timeline as the request's address asks for it. `mark` is a moment to point out.

    `query` is what to show instead of what the address asks for.

    Raises:
        FieldErrors: the address asks for something that cannot be.
        NotFound: there is no such contact.
    """
    query = read_query(request) if query is None else query
    clock = timeline_clock(request, contact, query)
    filters, after = query_filters(query, clock), query_place(query)
    known = await services.sources.known()
    rows: dict[Any, Activity] = {}

    async def read(place: Place | None, limit: int) -> ShownPage:
        page = await services.timeline.page(contact.id, filters, place, limit)
        for shown in page.activities:
            rows[shown.activity.id] = read_activity(shown, known.minor_units)
        return page

    def likeness(shown: Shown) -> Any:
        at = shown.activity.timestamp
        return rows[shown.activity.id].key, clock.day_of(at), mark is not None and at >= mark.at

    page, facets, pins = await asyncio.gather(
        read_folded(read, after, GROUPS_A_PAGE, likeness),
        count_facets(services.timeline, contact.id),
        _read_pins(services, contact.id, known.minor_units),
    )
    heard = await services.heard.last([*facets.sources, *known.expected])
    address = _Address(request, query)
    groups = [Group(tuple(rows[shown.activity.id] for shown in group)) for group in page.groups]
    items = list(_with_mark(groups, mark, after, page))
    is_top = after is None
    return TimelineView(
        contact_id=contact.id,
        base=request.path,
        keep=tuple(address.keep),
        query=query,
        clock=clock,
        days=tuple(days_of(items, clock)),
        pins=pins if is_top and not query.narrowed and not query.at else (),
        chips=tuple(_chips(facets, heard, query, address)),
        types=tuple(_types(facets, query)),
        zones=tuple(_zones(contact, query, clock, address)),
        narrowed=tuple(_narrowed(query, address)),
        reset=address.to(Query(zone=query.zone)),
        newest=address.to(query, at="", cursor="") if query.at or not is_top else None,
        older=address.to(query, cursor=encode_cursor(page.next)) if page.next else None,
        stream=_stream_address(contact.id, query, page) if is_top and not query.at else None,
        mark_href=address.to(query, at=format_moment(mark.at), cursor="") if mark else None,
        curl=_curl(request, contact) if not facets.sources else None,
        compact=compact,
    )


async def _read_pins(
    services: Services, contact_id: int, minor_units: frozenset[str]
) -> tuple[Activity, ...]:
    found = []
    for text in await pinned(services.store.records, contact_id):
        try:
            shown = await services.timeline.activity(parse_activity_id(text))
        except NotFound:
            continue  # deleted since
        found.append(read_activity(shown, minor_units))
    return tuple(found)


def _with_mark(
    groups: Sequence[Group], mark: Mark | None, after: Place | None, page: FoldedPage
) -> Iterator[Group | Mark]:
    """The groups with the mark at its moment, if that lies on this page."""
    waiting = mark if mark is not None and (after is None or mark.at < after.timestamp) else None
    for group in groups:
        if waiting is not None and group.first.at < waiting.at:
            yield waiting
            waiting = None
        yield group
    if waiting is not None and page.next is None and groups:
        yield waiting


def days_of(items: Iterable[Group | Mark], clock: Clock) -> Iterator[Day]:
    """The days of the viewer's that these lie in, in their order."""
    day: date | None = None
    gathered: list[Group | Mark] = []
    for item in items:
        this = clock.day_of(item.at if isinstance(item, Mark) else item.first.at)
        if day is not None and this != day:
            yield Day(day.isoformat(), clock.day(day), tuple(gathered))
            gathered = []
        day = this
        gathered.append(item)
    if day is not None:
        yield Day(day.isoformat(), clock.day(day), tuple(gathered))


class _Address:
    """Makes addresses of this page with another query, and keeps what belongs to the page around it."""

    def __init__(self, request: Request, query: Query) -> None:
        self._path = request.path
        self.query = query
        self.keep = [(name, value) for name, value in request.query() if name not in NOT_KEPT]

    def to(self, query: Query, **changes: Any) -> str:
        """The address of a query with some changes."""
        changed = Query(**{name: getattr(query, name) for name in Query.__struct_fields__} | changes)
        pairs = [*self.keep, *changed.pairs()]
        return f"{self._path}?{urlencode(pairs)}" if pairs else self._path


def _chips(
    facets: Facets, heard: dict[str, Microseconds | None], query: Query, address: _Address
) -> Iterator[Chip]:
    shown = list(dict.fromkeys([*facets.sources, *heard]))[:MAX_CHIPS]
    for name in dict.fromkeys([*shown, *query.sources]):
        on = name in query.sources
        others = tuple(each for each in query.sources if each != name)
        count = _count(facets.sources.get(name, 0), facets)
        href = address.to(query, sources=others if on else (*others, name), cursor="")
        yield Chip(name, count, href, on, heard.get(name))


def _count(number: int, facets: Facets) -> str:
    if number >= MAX_COUNTED:
        return f"{MAX_COUNTED:,}+"
    return f"{number:,}+" if facets.capped else f"{number:,}"


def _types(facets: Facets, query: Query) -> Iterator[Choice]:
    for name in dict.fromkeys([*query.types, *facets.types]):
        yield Choice(name, _count(facets.types.get(name, 0), facets), name in query.types)


def _zones(contact: Contact, query: Query, clock: Clock, address: _Address) -> Iterator[Choice]:
    texts = {"mine": "My time", "contact": "Contact's time", "utc": "UTC"}
    # UTC until a browser has told its zone.
    shown = query.zone or ("utc" if clock.zone_name == "UTC" else "mine")
    for zone in ZONES:
        if zone != "contact" or is_zone(contact.time_zone):
            yield Choice(texts[zone], address.to(query, zone=zone), zone == shown)


def _narrowed(query: Query, address: _Address) -> Iterator[Choice]:
    """What is left out, each with the address that takes it back in. Sources are seen at their chips."""
    for name in query.types:
        others = tuple(each for each in query.types if each != name)
        yield Choice(f"Type: {name}", address.to(query, types=others, cursor=""))
    for name, text in (("q", "“{}”"), ("since", "From {}"), ("until", "To {}")):
        if value := getattr(query, name):
            yield Choice(text.format(value), address.to(query, **{name: "", "cursor": ""}))


def _stream_address(contact_id: int, query: Query, page: FoldedPage) -> str | None:
    if page.position is None:
        return None
    pairs = [("after", encode_position(page.position, page.homes)), *query.pairs()]
    return f"/contacts/{contact_id}/timeline/stream?{urlencode(pairs)}"


def _curl(request: Request, contact: Contact) -> str:
    """The call that sends a first activity."""
    body = {
        "activity": {
            "name": "Order placed",
            "actor": {"type": "customer"},
            "source": {"name": "my-shop"},
            "context": {"Order id": "1001", "Amount": "20.00", "Currency": "EUR"},
        },
        "contact": {"email": contact.email} if contact.email else {"id": contact.id},
    }
    text = json.dumps(body, indent=2, ensure_ascii=True).replace("'", "\\u0027")
    address = request.url("").rstrip("/")
    return (
        f'curl -u "$KEY:X" {address}{API}/contact-activities \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d '{text}'"
    )
