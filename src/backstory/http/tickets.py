"""Tickets (contract 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, InvalidJson
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.fields import TICKET, list_fields
from backstory.helpdesk.ticket_merge import MergeNote, TicketMerge
from backstory.helpdesk.tickets import REQUESTED_BY, ShownWith
from backstory.http.attachments import attachment_answer
from backstory.http.forms import read_form
from backstory.http.jobs import job_response
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, number_in_path
from backstory.http.services import Services
from backstory.model.activity import MAX_IDENTIFIER, MAX_NAME, SentContact
from backstory.model.checks import (
    Check,
    Field,
    check_bool,
    check_email,
    check_files,
    check_given_email,
    check_id,
    check_list,
    check_moment,
    check_number,
    check_object,
    check_phone,
    check_text,
    fault,
    for_change,
)
from backstory.model.conversation import Conversation
from backstory.model.custom_field import ANY_CUSTOM_FIELDS, custom_fields_field
from backstory.model.json_text import shorten
from backstory.model.moment import now
from backstory.model.rich_text import MAX_ELEMENTS, MAX_HTML, count_elements
from backstory.model.ticket import (
    DESCRIPTION_KEYS,
    ENUMS,
    MAX_CC,
    MAX_SUBJECT,
    MAX_TAG,
    MAX_TAGS,
    MAX_TYPE,
    NewTicket,
    Order,
    Priority,
    Status,
    Ticket,
    TicketFilters,
    TicketSource,
    View,
)

INCLUDES = ("conversations", "requester", "company", "stats")
LIST_INCLUDES = ("stats", "requester", "company", "description")
API_VIEWS = (View.NEW_AND_MY_OPEN, View.WATCHING, View.SPAM, View.DELETED)
LIST_PARAMETERS = (
    *PAGED,
    "filter",
    "requester_id",
    "email",
    "unique_external_id",
    "company_id",
    "updated_since",
    "order_by",
    "order_type",
    "include",
)
MAX_BULK = 1_000
MAX_MERGED = 100

_KEY = check_text(MAX_IDENTIFIER)


def check_html(*, blank: bool = True) -> Check:
    """HTML of a size that can be made harmless in time."""
    text = check_text(MAX_HTML, blank=blank)

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        taken = text(value, path, faults)
        if isinstance(value, str) and (count := count_elements(value)) > MAX_ELEMENTS:
            message = f"It has {count:,} tags; at most {MAX_ELEMENTS:,} are possible."
            fault(faults, path, Code.INVALID_VALUE, message)
        return taken

    return Check(read, text.schema)


def _choice(kind: type[Status] | type[Priority] | type[TicketSource]) -> Field:
    return Field(check_number({each.value: each.label for each in kind}))


_REQUESTER = {
    "name": Field(check_text(MAX_NAME)),
    "requester_id": Field(check_id),
    "email": Field(check_email),
    "phone": Field(check_phone),
    "twitter_id": Field(_KEY),
    "unique_external_id": Field(_KEY),
    "facebook_id": Field(_KEY),
}
CC_EMAILS = Field(check_list(check_given_email, MAX_CC, unique=True))
_PROPERTIES = {
    "subject": Field(check_text(MAX_SUBJECT)),
    "description": Field(check_html()),
    "type": Field(check_text(MAX_TYPE)),
    **{name: _choice(kind) for name, kind in ENUMS.items()},
    "responder_id": Field(check_id),
    "group_id": Field(check_id),
    "company_id": Field(check_id),
    "product_id": Field(check_id),
    "email_config_id": Field(check_id),
    "due_by": Field(check_moment),
    "fr_due_by": Field(check_moment),
    "cc_emails": CC_EMAILS,
    "tags": Field(check_list(check_text(MAX_TAG, blank=False), MAX_TAGS, unique=True)),
}
_READONLY = frozenset(
    "id description_text structured_description support_email to_emails fwd_emails reply_cc_emails"
    " ticket_cc_emails spam deleted urgent fr_escalated nr_escalated is_escalated nr_due_by association_type"
    " associated_tickets_count associated_tickets_list form_id source_additional_info created_at updated_at".split()
)


def _fields(custom: Field) -> dict[str, Field]:
    return {**_REQUESTER, **_PROPERTIES, "custom_fields": custom, "attachments": Field(check_files)}


def _change_fields(custom: Field) -> dict[str, Field]:
    fields = for_change(_fields(custom))
    stays = (*_REQUESTER, *ENUMS)  # a ticket has these; they can be changed, not taken away
    return {
        **fields,
        **{name: fields[name]._replace(nullable=False) for name in stays},
        "custom_fields": custom,
    }


NEW_TICKET = check_object(_fields(ANY_CUSTOM_FIELDS), readonly=_READONLY)
TICKET_CHANGE = check_object(_change_fields(ANY_CUSTOM_FIELDS), readonly=_READONLY)


def ticket_id_of(request: Request) -> int:
    """The ticket's number in the path.

    Raises:
        NotFound: it cannot be one.
    """
    return number_in_path(request, "ticket")


def acting(request: Request, action: str) -> Acting:
    """Whoever asks, doing something."""
    agent_id = request.caller.agent_id
    assert agent_id is not None, "the route asks for an agent's right"
    return Acting(agent_id, request.audit(action, "-"))


# Writing.


async def create_ticket(request: Request, services: Services) -> Response:
    """Open a ticket."""
    custom = custom_fields_field(await list_fields(services.store.records, TICKET))
    values = read_form(request, check_object(_fields(custom), readonly=_READONLY), _name_requester)
    uploads = values.pop("attachments", None) or ()
    requester = take_requester(values)
    new = NewTicket(requester=requester, **as_new(values))
    ticket = await services.tickets.create(new, acting(request, "ticket.create"), uploads)
    location = request.url(f"{request.path.rstrip('/')}/{ticket.id}")
    return json_response(ticket_answer(request, ticket), status=201, headers={"Location": location})


def _name_requester(values: dict[str, Any], faults: list[Fault]) -> None:
    named = [name for name in REQUESTED_BY if values.get(name)]
    at_fault = {each.field for each in faults}
    if not named and not at_fault.intersection(REQUESTED_BY):
        message = f"One of these is mandatory: {', '.join(REQUESTED_BY)}."
        faults.append(Fault("requester_id", message, Code.MISSING_FIELD))
    if named == ["phone"] and not values.get("name") and "name" not in at_fault:
        message = "It is mandatory where the requester has nothing but a phone number."
        faults.append(Fault("name", message, Code.MISSING_FIELD))


def take_requester(values: dict[str, Any]) -> SentContact:
    """Take the requester out of the values."""
    taken = {name: values.pop(name, None) for name in _REQUESTER}
    return SentContact(id=taken.pop("requester_id"), **taken)


def as_new(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a new ticket takes them: what was not given is left to the defaults."""
    given = {name: value for name, value in values.items() if value is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in _typed(given).items()}


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: ENUMS[name](value) if name in ENUMS and value is not None else value
        for name, value in values.items()
    }


async def update_ticket(request: Request, services: Services) -> Response:
    """Change a ticket."""
    ticket_id = ticket_id_of(request)
    try:
        values = await _read_change(request, services)
    except (FieldErrors, InvalidJson):
        await services.tickets.require_changeable(ticket_id)  # 404 and 405 go before 400
        raise
    uploads = values.pop("attachments", None) or ()
    changes = as_changes(values)
    ticket = await services.tickets.update(ticket_id, changes, acting(request, "ticket.update"), uploads)
    return json_response(ticket_answer(request, ticket))


async def _read_change(request: Request, services: Services) -> dict[str, Any]:
    custom = custom_fields_field(await list_fields(services.store.records, TICKET), change=True)
    return read_form(request, check_object(_change_fields(custom), readonly=_READONLY))


def as_changes(values: dict[str, Any]) -> dict[str, Any]:
    """Checked values as a change of a ticket. A blank value of a form, where none may be, changes nothing."""
    named = any(values.get(name) for name in REQUESTED_BY)
    requester = take_requester(values)
    changes = {
        name: value for name, value in _typed(values).items() if value is not None or name not in ENUMS
    }
    return {**changes, "requester": requester} if named else changes


async def delete_ticket(request: Request, services: Services) -> Response:
    """Delete a ticket, so that it can be restored."""
    await services.tickets.delete(ticket_id_of(request), acting(request, "ticket.delete"))
    return no_content()


async def restore_ticket(request: Request, services: Services) -> Response:
    """Restore a deleted ticket."""
    await services.tickets.restore(ticket_id_of(request), acting(request, "ticket.restore"))
    return no_content()


_NOTE = check_object({"body": Field(check_html(blank=False), required=True), "private": Field(check_bool)})
MERGE = check_object(
    {
        "primary_id": Field(check_id, required=True),
        "ticket_ids": Field(check_list(check_id, MAX_MERGED, unique=True), required=True),
        "convert_recepients_to_cc": Field(check_bool),
        "note_in_primary": Field(_NOTE),
        "note_in_secondary": Field(_NOTE),
    }
)


async def merge_tickets(request: Request, services: Services) -> Response:
    """Merge tickets into one."""
    values = read_form(request, MERGE, _name_secondaries)
    merge = TicketMerge(
        values["primary_id"],
        tuple(values["ticket_ids"]),
        _merge_note(values.get("note_in_primary")),
        _merge_note(values.get("note_in_secondary")),
        bool(values.get("convert_recepients_to_cc")),
    )
    await services.tickets.merge(merge, acting(request, "ticket.merge"))
    return no_content()


def _name_secondaries(values: dict[str, Any], faults: list[Fault]) -> None:
    if values.get("ticket_ids") == [] and not faults:
        faults.append(Fault("ticket_ids", "It names no ticket.", Code.INVALID_VALUE))


def _merge_note(values: Mapping[str, Any] | None) -> MergeNote | None:
    return None if values is None else MergeNote(values["body"], values.get("private") is not False)


_IDS = Field(check_list(check_id, MAX_BULK, unique=True), required=True)
_PROPERTIES_CHANGED = tuple(name for name in _PROPERTIES if name != "description")
BULK_UPDATE_FIELDS = {name: _PROPERTIES[name] for name in _PROPERTIES_CHANGED}


def _bulk_update(custom: Field) -> Check:
    fields = for_change({**BULK_UPDATE_FIELDS, "custom_fields": custom})
    fields |= {name: fields[name]._replace(nullable=False) for name in ENUMS}
    properties = check_object(fields, readonly=_READONLY)
    action = check_object({"ids": _IDS, "properties": Field(properties, required=True)})
    return check_object({"bulk_action": Field(action, required=True)})


BULK_UPDATE = _bulk_update(ANY_CUSTOM_FIELDS)
BULK_DELETE = check_object({"bulk_action": Field(check_object({"ids": _IDS}), required=True)})


async def update_tickets(request: Request, services: Services) -> Response:
    """Change many tickets alike, soon."""
    custom = custom_fields_field(await list_fields(services.store.records, TICKET), change=True)
    action = read_form(request, _bulk_update(custom), _name_bulk)["bulk_action"]
    entry = acting(request, "ticket.update")
    job = await services.bulk.update(action["ids"], action["properties"], entry)
    return job_response(request, job)


async def delete_tickets(request: Request, services: Services) -> Response:
    """Delete many tickets, soon."""
    action = read_form(request, BULK_DELETE, _name_bulk)["bulk_action"]
    return job_response(request, await services.bulk.delete(action["ids"], acting(request, "ticket.delete")))


def _name_bulk(values: dict[str, Any], faults: list[Fault]) -> None:
    action = values.get("bulk_action")
    if not faults and action is not None and not action["ids"]:
        faults.append(Fault("bulk_action.ids", "It names no ticket.", Code.INVALID_VALUE))


# Reading.


async def get_ticket(request: Request, services: Services) -> Response:
    """One ticket."""
    ticket_id = ticket_id_of(request)
    try:
        query = QueryReader(request, ("include",))
        includes = _includes(query, INCLUDES)
        query.finish()
    except FieldErrors:
        await services.tickets.get(ticket_id)  # 404 goes before 400
        raise
    ticket = await services.tickets.get(ticket_id)
    answer = ticket_answer(request, ticket, includes, await _shown_with(services, [ticket], includes))
    if "conversations" in includes:
        found = await services.tickets.first_conversations(ticket_id)
        answer["conversations"] = [conversation_answer(request, each) for each in found]
    return json_response(answer)


async def list_tickets(request: Request, services: Services) -> Response:
    """Tickets, newest first."""
    query = QueryReader(request, LIST_PARAMETERS)
    page = read_list_page(query)
    view = query.choice("filter", API_VIEWS)
    filters = TicketFilters(
        view=View(view) if view else None,
        company_id=query.identifier("company_id"),
        updated_since=query.moment("updated_since"),
    )
    requester_id, email = query.identifier("requester_id"), query.text("email")
    external_id = query.text("unique_external_id")
    order = Order(query.choice("order_by", Order) or Order.CREATED)
    descending = (query.choice("order_type", ("asc", "desc")) or "desc") == "desc"
    includes = _includes(query, LIST_INCLUDES)
    query.finish()
    homes = await services.tickets.homes_of(
        requester_id=requester_id, email=email, unique_external_id=external_id
    )
    found = await services.tickets.page(
        replace(filters, homes=homes),
        viewer=request.caller.agent_id or 0,
        order=order,
        descending=descending,
        offset=page.offset,
        limit=page.limit,
    )
    shown_with = await _shown_with(services, found, includes)
    answers = [ticket_answer(request, ticket, includes, shown_with) for ticket in found]
    if "description" not in includes:
        answers = [
            {key: value for key, value in each.items() if key not in DESCRIPTION_KEYS} for each in answers
        ]
    return list_response(request, page, answers)


def _includes(query: QueryReader, known: Sequence[str]) -> frozenset[str]:
    text = query.text("include") or ""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        message = f"{shorten(', '.join(unknown))} cannot be included here; possible: {', '.join(known)}."
        query.faults.append(Fault("include", message, Code.INVALID_VALUE))
    return frozenset(names)


async def _shown_with(
    services: Services, tickets: Sequence[Ticket], includes: frozenset[str]
) -> ShownWith | None:
    wanted = includes & {"requester", "company"}
    return await services.tickets.shown_with(tickets) if wanted else None


def ticket_answer(
    request: Request,
    ticket: Ticket,
    includes: Iterable[str] = (),
    shown_with: ShownWith | None = None,
) -> dict[str, Any]:
    """A ticket as it is answered, with what is to be included."""
    answer = ticket.answer(now())
    answer["attachments"] = [attachment_answer(request, each) for each in ticket.attachments]
    if "stats" in includes:
        answer["stats"] = ticket.stats.answer()
    if shown_with is not None and "requester" in includes:
        answer["requester"] = shown_with.requesters.get(ticket.requester_id)
    if shown_with is not None and "company" in includes:
        answer["company"] = shown_with.companies.get(ticket.company_id or 0)
    return answer


def conversation_answer(request: Request, conversation: Conversation) -> dict[str, Any]:
    """A conversation, its attachments with their addresses."""
    files = [attachment_answer(request, each) for each in conversation.attachments]
    return {**conversation.answer(), "attachments": files}


async def list_satisfaction_ratings(request: Request, services: Services) -> Response:
    """What the requester thought of a ticket: nothing is asked here."""
    return await _nothing_of(request, services)


async def list_time_entries(request: Request, services: Services) -> Response:
    """How long a ticket took: nothing is measured here."""
    return await _nothing_of(request, services)


async def _nothing_of(request: Request, services: Services) -> Response:
    await services.tickets.get(ticket_id_of(request))
    query = QueryReader(request, PAGED)
    page = read_list_page(query)
    query.finish()
    return list_response(request, page, [])
