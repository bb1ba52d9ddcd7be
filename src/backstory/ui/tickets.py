"""The tickets' pages: lists, a ticket with its customer's story beside it, and what is done to one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct
from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.search import MAX_PAGE
from backstory.helpdesk.staff import list_groups, list_staff
from backstory.helpdesk.ticket_merge import TicketMerge
from backstory.http.attachments import attachment_answer
from backstory.http.conversations import NOTE, REPLY
from backstory.http.message import Request, Response
from backstory.http.query import is_number
from backstory.http.services import Services
from backstory.http.tickets import (
    NEW_TICKET,
    TICKET_CHANGE,
    acting,
    as_changes,
    as_new,
    take_requester,
    ticket_id_of,
)
from backstory.model.access import Colleague
from backstory.model.contact import Contact
from backstory.model.conversation import Conversation, Delivery, DraftKind, NewNote, NewReply
from backstory.model.identity import is_email
from backstory.model.moment import Microseconds, format_moment, now
from backstory.model.rich_text import text_to_html
from backstory.model.search import Searched
from backstory.model.ticket import (
    NewTicket,
    Order,
    Priority,
    Status,
    Ticket,
    TicketFilters,
    TicketSource,
    View,
)
from backstory.model.words import split_words
from backstory.ui.forms import Form, form_files, form_values, is_query, read_values, split_list, with_faults
from backstory.ui.render import redirect, show
from backstory.ui.said import Said, show_said
from backstory.ui.timeline import Mark, TimelineView, read_timeline

PER_PAGE = 30
FARTHEST_PAGE = 10_000
MAX_SEARCH = 200
MAX_SHOWN = 100
"""So many of the last replies and notes are shown; those before them when they are asked for."""

MAX_READ = 1_000
MAX_ABOVE = 3
NOW = "now"
"""In an address: the timeline is to begin at its newest entry, not at the ticket."""

ALL_TIMES = TicketFilters(created_since=0)

VIEWS: dict[str, tuple[str, TicketFilters]] = {
    "all": ("All", ALL_TIMES),
    "new_and_my_open": ("New and my open", TicketFilters(View.NEW_AND_MY_OPEN, created_since=0)),
    "my_open": ("My open", TicketFilters(View.MY_OPEN, created_since=0)),
    "unassigned": ("Unassigned", TicketFilters(View.UNASSIGNED, created_since=0)),
    "pending": ("Pending", TicketFilters(statuses=(Status.PENDING,), created_since=0)),
    "resolved": ("Resolved", TicketFilters(statuses=(Status.RESOLVED, Status.CLOSED), created_since=0)),
    "watching": ("Watching", TicketFilters(View.WATCHING, created_since=0)),
    "spam": ("Spam", TicketFilters(View.SPAM, created_since=0)),
    "deleted": ("Deleted", TicketFilters(View.DELETED, created_since=0)),
}
ORDERS = {
    Order.CREATED: "Newest",
    Order.UPDATED: "Last changed",
    Order.DUE: "Due first",
    Order.STATUS: "Status",
}
PROPERTIES = ("subject", "status", "priority", "responder_id", "group_id", "type", "tags")
STATUSES = [(status.value, status.label) for status in Status]
PRIORITIES = [(priority.value, priority.label) for priority in Priority]
TYPES = ("Question", "Incident", "Problem", "Refund", "Feature request")
TOLD = {
    "reply": "The reply was added.",
    "sending": "The reply is on its way again.",
    "note": "The note was added.",
    "properties": "The changes were saved.",
    "draft": "The draft was kept. Nobody else sees it.",
    "merge": "The tickets were merged into this one.",
    "new": "The ticket was opened.",
    "logged": "The activity was logged.",
}
"""What a change is answered with."""


# Lists.


class Asked(Struct, frozen=True):
    """Which list an address asks for."""

    view: str
    q: str
    order: Order
    page: int

    def address(self, **changes: Any) -> str:
        """The address of this list with some changes, and of its first page where that is not among them."""
        values = {"view": self.view, "q": self.q, "order": self.order, "page": 1, **changes}
        usual = {"view": "all", "q": "", "order": Order.CREATED, "page": 1}
        pairs = [(name, str(value)) for name, value in values.items() if value != usual[name]]
        return f"/tickets?{urlencode(pairs)}" if pairs else "/tickets"


def _asked(request: Request) -> Asked:
    """What the address says; what it cannot say counts as not said."""
    query = dict(request.query())
    page, order = query.get("page", ""), query.get("order", "")
    return Asked(
        view=query.get("view", "") if query.get("view") in VIEWS else "all",
        q=query.get("q", "").replace("\0", "").strip()[:MAX_SEARCH],
        order=next((each for each in ORDERS if each == order), Order.CREATED),
        page=int(page) if is_number(page) and 0 < int(page) <= FARTHEST_PAGE else 1,
    )


async def list_tickets(request: Request, services: Services) -> Response:
    """Tickets: in a view, or those that a search finds in it."""
    asked = _asked(request)
    if (number := asked.q.removeprefix("#")) and is_number(number) and await _exists(services, int(number)):
        return redirect(f"/tickets/{int(number)}")
    found, fault = await _listed(request, services, asked)
    shown = found[:PER_PAGE]
    return show(
        request,
        "tickets.html",
        asked=asked,
        views=[(name, text) for name, (text, _) in VIEWS.items()],
        orders=[(order.value, text) for order, text in ORDERS.items()],
        tickets=shown,
        fault=fault,
        beside=await services.tickets.shown_with(shown),
        newer=asked.address(page=asked.page - 1) if asked.page > 1 else "",
        older=asked.address(page=asked.page + 1) if len(found) > PER_PAGE else "",
        moment=now(),
    )


async def _listed(request: Request, services: Services, asked: Asked) -> tuple[list[Ticket], str]:
    """A page of tickets and one more where there is a next one; and what is wrong with a query."""
    if is_query(asked.q, Searched.TICKETS):
        if asked.page > MAX_PAGE:
            return [], ""
        try:
            total, found = await services.search.tickets(f'"{asked.q}"', asked.page)
        except FieldErrors as error:
            return [], " ".join(fault.message for fault in error.faults)
        is_last = total <= asked.page * PER_PAGE or asked.page == MAX_PAGE
        return (found if is_last else [*found, *found[:1]]), ""
    found = await services.tickets.page(
        await _filters(asked, services),
        viewer=request.caller.agent_id or 0,
        order=asked.order,
        descending=asked.order not in (Order.DUE, Order.STATUS),
        offset=(asked.page - 1) * PER_PAGE,
        limit=PER_PAGE + 1,
    )
    return found, ""


async def _exists(services: Services, number: int) -> bool:
    try:
        await services.tickets.get(number)
    except NotFound:
        return False
    return True


async def _filters(asked: Asked, services: Services) -> TicketFilters:
    """What a list is narrowed to. An email means its contact; other words are those of subjects and of names."""
    _, filters = VIEWS[asked.view]
    if not asked.q:
        return filters
    values = {name: getattr(filters, name) for name in filters.__struct_fields__}
    if is_email(asked.q):
        return TicketFilters(**values | {"homes": await services.tickets.homes_of(email=asked.q)})
    words = tuple(dict.fromkeys(split_words(asked.q)))
    return TicketFilters(**values | ({"words": words} if words else {"homes": ()}))


# One ticket.


class Message(Struct, frozen=True):
    """Something that was said about a ticket, as it is shown. `conversation` is None for what opened it."""

    id: str
    author: str
    is_ours: bool
    at: Microseconds
    said: Said
    files: tuple[dict[str, Any], ...]
    conversation: Conversation | None = None


async def read_ticket(request: Request, services: Services) -> Response:
    """A ticket, with its customer's story beside it."""
    return await _ticket_page(request, services)


async def _ticket_page(
    request: Request, services: Services, forms: Mapping[str, Form] | None = None, *, status: int = 200
) -> Response:
    """`forms` are those that come back with what is wrong: reply, note, properties, merge."""
    ticket_id, agent_id = ticket_id_of(request), request.caller.agent_id or 0
    ticket = await services.tickets.get(ticket_id)
    talk, reply, note, watchers = await asyncio.gather(
        _conversations(services, ticket_id),
        services.conversations.draft(ticket_id, agent_id, DraftKind.REPLY),
        services.conversations.draft(ticket_id, agent_id, DraftKind.NOTE),
        services.tickets.watchers(ticket_id),
    )
    staff, groups, contact = await asyncio.gather(
        list_staff(services.store.records),
        list_groups(services.store.records),
        _requester(services, ticket),
    )
    query = dict(request.query())
    timeline = await _story(request, services, ticket, contact) if contact else None
    shown = talk if "earlier" in query else talk[-MAX_SHOWN:]
    user_ids = {each.user_id for each in shown if each.user_id is not None} | {ticket.requester_id}
    people = await services.tickets.people(user_ids)
    names = {number: each.name for number, each in people.items()}
    given = forms or {}
    return show(
        request,
        "ticket.html",
        status=status,
        ticket=ticket,
        contact=contact,
        timeline=timeline,
        opened=_opening(request, ticket, names),
        talk=[_message(request, each, names) for each in shown],
        left_out=len(talk) - len(shown),
        drafts={"reply": reply, "note": note},
        forms={name: given.get(name, Form()) for name in ("reply", "note", "properties", "merge")},
        writing=next((name for name in ("note", "reply") if name in given), "reply"),
        watching=agent_id in watchers,
        staff=_assignable(staff, ticket),
        groups=groups,
        statuses=STATUSES,
        priorities=PRIORITIES,
        types=TYPES,
        usual=_usual(ticket),
        can_change=not (ticket.deleted or ticket.spam),
        done=TOLD.get(query.get("done", ""), ""),
        moment=now(),
        sends=services.settings.mail is not None,
    )


async def _story(request: Request, services: Services, ticket: Ticket, contact: Contact) -> TimelineView:
    """The customer's timeline, with the moment at which the ticket was opened.

    Where much has happened since, it begins at that moment, so that what led to the ticket is seen at once.
    """
    mark = Mark(ticket.created_at, "This ticket was opened here")
    view = await read_timeline(request, services, contact, mark=mark, compact=True)
    asked = view.query
    if NOW in dict(request.query()) or asked.narrowed or asked.at or asked.cursor or not _is_far(view):
        return view
    query = replace(asked, at=format_moment(mark.at))
    anchored = await read_timeline(request, services, contact, mark=mark, compact=True, query=query)
    sign = "&" if "?" in (anchored.newest or "") else "?"
    return replace(anchored, newest=f"{anchored.newest}{sign}{NOW}=1")


def _is_far(view: TimelineView) -> bool:
    """Whether more stands above the mark than leaves room for what is below it."""
    items = [item for day in view.days for item in day.items]
    above = list(takewhile(lambda item: not isinstance(item, Mark), items))
    return len(above) > MAX_ABOVE


async def _requester(services: Services, ticket: Ticket) -> Contact | None:
    try:
        return await services.timeline.contact(ticket.requester_id)
    except NotFound:  # erased
        return None


async def _conversations(services: Services, ticket_id: int) -> list[Conversation]:
    found: list[Conversation] = []
    while len(found) < MAX_READ:
        piece = await services.conversations.page(ticket_id, offset=len(found), limit=MAX_SHOWN)
        found += piece
        if len(piece) < MAX_SHOWN:
            break
    return found


def _opening(request: Request, ticket: Ticket, names: Mapping[int, str]) -> Message:
    author = names.get(ticket.requester_id, "An erased contact")
    files = tuple(attachment_answer(request, each) for each in ticket.attachments)
    ours = ticket.source is TicketSource.OUTBOUND_EMAIL
    return Message("opened", author, ours, ticket.created_at, show_said(ticket.description), files)


def _message(request: Request, conversation: Conversation, names: Mapping[int, str]) -> Message:
    author = names.get(conversation.user_id or 0, "Somebody who is gone")
    files = tuple(attachment_answer(request, each) for each in conversation.attachments)
    said = show_said(conversation.body)
    ours = not conversation.incoming
    return Message(f"c-{conversation.id}", author, ours, conversation.created_at, said, files, conversation)


def _assignable(staff: Sequence[Colleague], ticket: Ticket) -> list[tuple[int, str]]:
    """Who can have it; whoever has it is among them, also when they were let go."""
    return [
        (each.id, each.name)
        for each in staff
        if each.deactivated_at is None or each.id == ticket.responder_id
    ]


def _usual(ticket: Ticket) -> dict[str, str]:
    """What the form of a ticket's properties shows."""
    values = {name: getattr(ticket, name) for name in PROPERTIES}
    values |= {"status": ticket.status.value, "priority": ticket.priority.value}
    values["tags"] = ", ".join(ticket.tags)
    return {name: "" if value is None else str(value) for name, value in values.items()}


# What is done to one.


def _done(request: Request, what: str, conversation: Conversation | None = None) -> Response:
    """Back to the ticket, at what was added to it."""
    place = f"#c-{conversation.id}" if conversation else ""
    return redirect(f"/tickets/{ticket_id_of(request)}?done={what}{place}")


def _body_of(values: Mapping[str, str]) -> dict[str, Any]:
    """What was written, as HTML that looks the same; blank where nothing was."""
    text = values.get("body", "")
    return {"body": text_to_html(text.strip())} if text.strip() else {}


_NOTHING_WRITTEN = FieldErrors([Fault("body", "Nothing is written yet.", Code.MISSING_FIELD)])


async def reply(request: Request, services: Services) -> Response:
    """Answer the requester; where it was asked for, the ticket is resolved with it."""
    values, ticket_id = form_values(request), ticket_id_of(request)
    tree = _body_of(values) | {"cc_emails": split_list(values.get("cc_emails", ""))}
    try:
        if "body" not in tree:
            raise _NOTHING_WRITTEN
        checked = read_values(tree, REPLY)
        new = NewReply(checked["body"], cc_emails=tuple(checked.get("cc_emails") or ()))
        who = acting(request, "conversation.reply")
        added = await services.conversations.reply(ticket_id, new, who, form_files(request))
    except FieldErrors as error:
        form = with_faults(values, error)
        return await _ticket_page(request, services, {"reply": form}, status=error.status)
    if values.get("then") == "resolve":
        changes = {"status": Status.RESOLVED}
        await services.tickets.update(ticket_id, changes, acting(request, "ticket.update"))
    return _done(request, "reply", added)


async def add_note(request: Request, services: Services) -> Response:
    """Note something that only agents see."""
    values, ticket_id = form_values(request), ticket_id_of(request)
    tree = _body_of(values)
    try:
        if "body" not in tree:
            raise _NOTHING_WRITTEN
        new = NewNote(read_values(tree, NOTE)["body"])
        who = acting(request, "conversation.note")
        added = await services.conversations.note(ticket_id, new, who, form_files(request))
    except FieldErrors as error:
        form = with_faults(values, error)
        return await _ticket_page(request, services, {"note": form}, status=error.status)
    return _done(request, "note", added)


async def send_again(request: Request, services: Services) -> Response:
    """Try once more to send a reply that was not sent."""
    number = form_values(request).get("conversation_id", "")
    if not is_number(number):
        raise NotFound("There is no such reply.")
    reply = await services.conversations.send_again(int(number), acting(request, "conversation.send"))
    return _done(request, "sending" if reply.delivery is Delivery.QUEUED else "", reply)


async def save_draft(request: Request, services: Services) -> Response:
    """Keep what an agent has written so far, for them alone."""
    values, ticket_id = form_values(request), ticket_id_of(request)
    kind = DraftKind.NOTE if values.get("kind") == DraftKind.NOTE else DraftKind.REPLY
    body = "" if values.get("then") == "discard" else values.get("body", "").replace("\0", "")
    await services.conversations.save_draft(ticket_id, request.caller.agent_id or 0, kind, body)
    return _done(request, "draft" if body.strip() else "")


async def change_properties(request: Request, services: Services) -> Response:
    """Change a ticket's properties: those that the form has."""
    values = form_values(request)
    sent = {name: values[name] for name in PROPERTIES if name in values}
    try:
        checked = read_values({**sent, "tags": split_list(sent.get("tags", ""))}, TICKET_CHANGE)
        blank = {name: None for name, value in sent.items() if not value.strip() and name != "subject"}
        changes = as_changes({**blank, **checked})
        await services.tickets.update(ticket_id_of(request), changes, acting(request, "ticket.update"))
    except FieldErrors as error:
        form = with_faults(values, error)
        return await _ticket_page(request, services, {"properties": form}, status=error.status)
    return _done(request, "properties")


async def watch(request: Request, services: Services) -> Response:
    """Watch a ticket, or no more."""
    watching = form_values(request).get("watching") != "no"
    await services.tickets.watch(ticket_id_of(request), request.caller.agent_id or 0, watching)
    return redirect(f"/tickets/{ticket_id_of(request)}")


async def change_place(request: Request, services: Services) -> Response:
    """Delete a ticket or bring it back; say that it is spam or that it is not."""
    ticket_id, what = ticket_id_of(request), form_values(request).get("what", "")
    who = acting(request, f"ticket.{what}")
    if what == "delete":
        await services.tickets.delete(ticket_id, who)
    elif what == "restore":
        await services.tickets.restore(ticket_id, who)
    elif what in ("spam", "no_spam"):
        await services.tickets.mark_spam(ticket_id, what == "spam", who)
    else:
        raise NotFound("There is no such change of a ticket.")
    return redirect(f"/tickets/{ticket_id}")


async def merge(request: Request, services: Services) -> Response:
    """Merge other tickets into this one."""
    values, ticket_id = form_values(request), ticket_id_of(request)
    listed = [each.removeprefix("#") for each in split_list(values.get("ticket_ids", ""))]
    try:
        wrong = [each for each in listed if not is_number(each)]
        if wrong or not listed:
            message = "Name them by their numbers, commas between them: 12, 15."
            raise FieldErrors([Fault("ticket_ids", message, Code.INVALID_VALUE)])
        asked = TicketMerge(ticket_id, tuple(dict.fromkeys(map(int, listed))))
        await services.tickets.merge(asked, acting(request, "ticket.merge"))
    except FieldErrors as error:
        form = with_faults(values, error, {"primary_id": "ticket_ids"})
        return await _ticket_page(request, services, {"merge": form}, status=error.status)
    return _done(request, "merge")


# A new one.


async def read_new(request: Request, services: Services) -> Response:
    """The form for a new ticket, perhaps for a contact that is named."""
    number = dict(request.query()).get("contact", "")
    contact = None
    if number:
        if not is_number(number):
            raise NotFound("There is no such contact.")
        contact = await services.timeline.contact(int(number))
    return await _new_page(request, services, contact, Form())


async def _new_page(
    request: Request, services: Services, contact: Contact | None, form: Form, *, status: int = 200
) -> Response:
    staff = await list_staff(services.store.records)
    return show(
        request,
        "ticket_new.html",
        status=status,
        contact=contact,
        form=form,
        priorities=PRIORITIES,
        types=TYPES,
        staff=[(each.id, each.name) for each in staff if each.deactivated_at is None],
        channels=[
            (TicketSource.PHONE.value, "Phone"),
            (TicketSource.EMAIL.value, "Email"),
            (TicketSource.CHAT.value, "Chat"),
            (TicketSource.PORTAL.value, "Portal"),
        ],
    )


NEW_FIELDS = ("requester_id", "email", "name", "subject", "priority", "source", "responder_id", "type")


async def open_ticket(request: Request, services: Services) -> Response:
    """Open a ticket for a contact."""
    values = form_values(request)
    sent: dict[str, Any] = {name: values.get(name, "") for name in NEW_FIELDS}
    sent |= {"description": _body_of(values).get("body", ""), "tags": split_list(values.get("tags", ""))}
    try:
        _require(values, ("subject", "body"))
        checked = read_values(sent, NEW_TICKET)
        requester = take_requester(checked)
        new = NewTicket(requester=requester, **as_new(checked))
        ticket = await services.tickets.create(new, acting(request, "ticket.create"), form_files(request))
    except FieldErrors as error:
        form = with_faults(values, error, {"description": "body", "requester_id": "email"})
        contact = await _named(services, values.get("requester_id", ""))
        return await _new_page(request, services, contact, form, status=error.status)
    return redirect(f"/tickets/{ticket.id}?done=new")


def _require(values: Mapping[str, str], names: Sequence[str]) -> None:
    faults = [
        Fault(name, "Please fill this in.", Code.MISSING_FIELD)
        for name in names
        if not values.get(name, "").strip()
    ]
    if faults:
        raise FieldErrors(faults)


async def _named(services: Services, number: str) -> Contact | None:
    if not is_number(number):
        return None
    return await services.store.records.contact(int(number))
