"""The contacts' pages: lists, one with all that is known of them, and what is done to one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.by_hand import check_logged, log_activity
from backstory.helpdesk.contact_finding import (
    MAX_SEARCH,
    block_contact,
    contact_names,
    find_contacts,
    known_by,
)
from backstory.helpdesk.contacts import IDENTIFIED_BY
from backstory.helpdesk.search import MAX_PAGE
from backstory.http.activities import contact_id_of
from backstory.http.message import Request, Response
from backstory.http.query import is_number
from backstory.http.services import Services
from backstory.model.contact import Contact, ContactFilters, NewContact, State
from backstory.model.contact_form import CONTACT_CHANGE, NEW_CONTACT
from backstory.model.identity import Kind
from backstory.model.merge import Merge
from backstory.model.search import Searched
from backstory.model.ticket import TicketFilters
from backstory.timeline.facets import MAX_COUNTED, count_facets
from backstory.ui.clock import clock_of
from backstory.ui.forms import Form, form_values, is_query, read_values, refuse, split_list, with_faults
from backstory.ui.render import redirect, show
from backstory.ui.timeline import read_timeline
from backstory.ui.visitor import safe_address

PER_PAGE = 30
FARTHEST_PAGE = 10_000
MAX_TICKETS = 10
MAX_MERGES = 50
MAX_COMPANIES = 500
STATES: dict[str, tuple[str, State | None]] = {
    "": ("All", None),
    "blocked": ("Blocked", State.BLOCKED),
    "deleted": ("Deleted", State.DELETED),
}
FIELDS = (
    "name",
    "email",
    "other_emails",
    "phone",
    "mobile",
    "unique_external_id",
    "twitter_id",
    "facebook_id",
    "company_id",
    "job_title",
    "time_zone",
    "language",
    "address",
    "description",
    "tags",
)
LISTS = ("other_emails", "tags")
KINDS = {
    Kind.EMAIL: "Email",
    Kind.EXTERNAL_ID: "External id",
    Kind.IDENTITY: "Elsewhere",
    Kind.TWITTER: "Twitter",
    Kind.FACEBOOK: "Facebook",
    Kind.PHONE: "Phone",
    Kind.MOBILE: "Mobile",
}
TOLD = {
    "new": "The contact was added.",
    "saved": "The changes were saved.",
    "logged": "The activity was logged.",
    "merge": "They are one contact now. It can be undone below.",
    "undo": "The merge was undone: both stand for themselves again.",
    "dismiss": "They will not be suggested again.",
    "delete": "The contact was deleted. It still takes activities, and can be restored.",
    "restore": "The contact was restored.",
    "erased": "The contact was erased, with all that it did and said.",
    "block": "The contact was blocked: it is in no list, and can be restored.",
}
"""What a change is answered with."""


# Lists.


async def list_contacts(request: Request, services: Services) -> Response:
    """Contacts by name, or those that a search finds."""
    query = dict(request.query())
    state = query.get("state", "") if query.get("state") in STATES else ""
    text = _search_text(query)
    number = query.get("page", "")
    page = int(number) if is_number(number) and 0 < int(number) <= FARTHEST_PAGE else 1
    fault = ""
    try:
        found = await _find(services, text, STATES[state][1], PER_PAGE + 1, page)
    except FieldErrors as error:
        found, fault = [], " ".join(each.message for each in error.faults)
    companies = {each.company_id for each in found if each.company_id is not None}

    def address(**changes: Any) -> str:
        pairs = [(key, value) for key, value in {"state": state, "q": text, **changes}.items() if value]
        return f"/contacts?{urlencode(pairs)}" if pairs else "/contacts"

    return show(
        request,
        "contacts.html",
        contacts=found[:PER_PAGE],
        fault=fault,
        companies=await _company_names(services, companies),
        states=[(text, address(state=name, q=""), name == state) for name, (text, _) in STATES.items()],
        state=state,
        q=text,
        page=page,
        newer=address(page=page - 1 if page > 2 else "") if page > 1 else "",
        older=address(page=page + 1) if len(found) > PER_PAGE else "",
        done=TOLD.get(query.get("done", ""), ""),
    )


def _search_text(query: Mapping[str, str]) -> str:
    return query.get("q", "").replace("\0", "").strip()[:MAX_SEARCH]


async def _find(
    services: Services, text: str, state: State | None, limit: int, page: int = 1
) -> list[Contact]:
    """A page of contacts; with a limit beyond a page, one more where there is a next one.

    Raises:
        FieldErrors: the text is in the language of searches, and wrong.
    """
    if is_query(text, Searched.CONTACTS):
        if page > MAX_PAGE:
            return []
        total, found = await services.search.contacts(f'"{text}"', page)
        has_next = limit > PER_PAGE and total > page * PER_PAGE and page < MAX_PAGE
        return [*found, *found[:1]] if has_next else found
    offset = (page - 1) * PER_PAGE
    if text:
        region = services.settings.phone_region
        return await find_contacts(services.store.records, text, state, region, limit, offset)
    return await services.contacts.page(ContactFilters(state=state), limit, offset)


async def _company_names(services: Services, numbers: set[int]) -> dict[int, str]:
    names = {}
    for number in numbers:
        try:
            names[number] = (await services.companies.get(number)).name
        except NotFound:  # deleted since
            continue
    return names


# One contact.


class MergeRow(Struct, frozen=True):
    """A merge that a contact had a part in, and the name of the one that was merged away."""

    merge: Merge
    name: str


async def read_contact(request: Request, services: Services) -> Response:
    """A contact with their timeline, and all that is known of them."""
    number = contact_id_of(request)
    contact = await services.timeline.contact(number)
    if contact.id != number:  # merged away: the one that stands for it
        return redirect(f"/contacts/{contact.id}")
    return await _contact_page(request, services, contact, Form())


async def _contact_page(
    request: Request, services: Services, contact: Contact, form: Form, *, status: int = 200
) -> Response:
    records = services.store.records
    homes = await services.tickets.homes_of(requester_id=contact.id)
    timeline, known, tickets, merges, suggestions = await asyncio.gather(
        read_timeline(request, services, contact),
        known_by(records, contact.id),
        services.tickets.page(
            TicketFilters(homes=homes, created_since=0),
            viewer=request.caller.agent_id or 0,
            limit=MAX_TICKETS + 1,
        ),
        services.merges.page(contact.id, MAX_MERGES, 0),
        services.merges.suggestions(contact.id),
    )
    names = await contact_names(records, {merge.secondary_id for merge in merges})
    company = await _company_names(services, {contact.company_id} if contact.company_id else set())
    return show(
        request,
        "contact.html",
        status=status,
        contact=contact,
        timeline=timeline,
        known=_known(contact, known),
        company=company.get(contact.company_id or 0),
        tickets=tickets[:MAX_TICKETS],
        more_tickets=len(tickets) > MAX_TICKETS,
        merges=[MergeRow(merge, names.get(merge.secondary_id, "an erased contact")) for merge in merges],
        suggestions=suggestions,
        reasons={kind.value: text.lower() for kind, text in KINDS.items()},
        form=form,
        done=TOLD.get(dict(request.query()).get("done", ""), ""),
    )


def _known(contact: Contact, found: list[tuple[Kind, str]]) -> list[tuple[str, str]]:
    """What a contact is known by, each with what it is."""
    numbers = [(Kind.PHONE, contact.phone), (Kind.MOBILE, contact.mobile)]
    everything = [*found, *((kind, value) for kind, value in numbers if value)]
    order = list(KINDS)
    rows = [(KINDS[kind], value) for kind, value in sorted(everything, key=lambda each: order.index(each[0]))]
    return list(dict.fromkeys(rows))


# Writing one.


async def read_new(request: Request, services: Services) -> Response:
    """The form for a new contact."""
    return await _form_page(request, services, None, Form())


async def read_edit(request: Request, services: Services) -> Response:
    """The form for what is known of a contact."""
    contact = await services.contacts.get(contact_id_of(request))
    await services.contacts.check_changeable(contact.id)
    return await _form_page(request, services, contact, Form())


async def _form_page(
    request: Request, services: Services, contact: Contact | None, form: Form, *, status: int = 200
) -> Response:
    companies = await services.companies.page(None, MAX_COMPANIES, 0)
    usual = {name: _shown(getattr(contact, name, None)) for name in FIELDS}
    return show(
        request,
        "contact_form.html",
        status=status,
        contact=contact,
        form=form,
        usual=usual,
        companies=[(company.id, company.name) for company in companies],
    )


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return "" if value is None else str(value)


def _sent(values: Mapping[str, str]) -> dict[str, Any]:
    sent: dict[str, Any] = {name: values.get(name, "") for name in FIELDS}
    return sent | {name: split_list(values.get(name, "")) for name in LISTS}


def _as_written(checked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in checked.items()}


def _name_somebody(values: dict[str, Any], faults: list[Fault]) -> None:
    if not any(values.get(name) for name in IDENTIFIED_BY):
        message = "Something to know them by is needed: an email, a phone number or an id."
        faults.append(Fault("email", message, Code.MISSING_FIELD))


async def add_contact(request: Request, services: Services) -> Response:
    """Add a contact."""
    values = form_values(request)
    try:
        checked = read_values(_sent(values), NEW_CONTACT, _name_somebody)
        new = NewContact(**_as_written({k: v for k, v in checked.items() if v is not None}))
        contact = await services.contacts.create(new, None, request.audit("contact.create", "contact"))
    except FieldErrors as error:
        return await _form_page(request, services, None, _faulty(values, error), status=error.status)
    return redirect(f"/contacts/{contact.id}?done=new")


def _faulty(values: Mapping[str, str], error: FieldErrors) -> Form:
    """Who has an identifier already is named with a number: it is what one looks for next."""
    form = with_faults(values, error)
    holders = {
        fault.field: fault.additional_info["user_id"]
        for fault in error.faults
        if fault.additional_info and "user_id" in fault.additional_info
    }
    told = {name: f"{form.faults[name]} It is contact {number}." for name, number in holders.items()}
    return Form(values, {**form.faults, **told})


async def save_contact(request: Request, services: Services) -> Response:
    """Change what is known of a contact."""
    values, number = form_values(request), contact_id_of(request)
    contact = await services.contacts.get(number)
    try:
        sent = {name: value for name, value in _sent(values).items() if name in values}
        blank = {name: None for name, value in sent.items() if value == "" and name != "name"}
        if not sent.get("name"):
            raise FieldErrors([Fault("name", "A contact needs a name.", Code.MISSING_FIELD)])
        changes = _as_written({**blank, **read_values(sent, CONTACT_CHANGE)})
        entry = request.audit("contact.update", "contact")
        await services.contacts.change(contact.id, changes, entry)
    except FieldErrors as error:
        form = _faulty(values, error)
        return await _form_page(request, services, contact, form, status=error.status)
    return redirect(f"/contacts/{contact.id}?done=saved")


async def change_place(request: Request, services: Services) -> Response:
    """Delete a contact, block it, or bring it back."""
    number, what = contact_id_of(request), form_values(request).get("what", "")
    entry = request.audit(f"contact.{what}", "contact")
    if what == "delete":
        await services.contacts.delete(number, entry)
    elif what == "restore":
        await services.contacts.restore(number, entry)
    elif what == "block":
        await block_contact(services.store.records, number, entry)
    else:
        raise NotFound("There is no such change of a contact.")
    return redirect(f"/contacts/{number}?done={what}")


async def read_erase(request: Request, services: Services) -> Response:
    """What is lost when a contact is erased, and the form that asks for its name."""
    return await _erase_page(request, services, Form())


async def _erase_page(request: Request, services: Services, form: Form, *, status: int = 200) -> Response:
    contact = await services.contacts.get(contact_id_of(request))
    side = await _side(request, services, contact)
    return show(request, "contact_erase.html", status=status, contact=contact, side=side, form=form)


async def erase(request: Request, services: Services) -> Response:
    """Erase a contact for ever; whoever does it has typed its name."""
    contact, values = await services.contacts.get(contact_id_of(request)), form_values(request)
    if values.get("name", "").split() != contact.name.split():
        form = refuse("name", "This is not the contact's name. Nothing was erased.", values)
        return await _erase_page(request, services, form, status=400)
    await services.eraser.erase(
        contact_id_of(request), force=True, entry=request.audit("contact.hard_delete", "contact")
    )
    return redirect("/contacts?done=erased")


async def log_by_hand(request: Request, services: Services) -> Response:
    """Record an activity by hand."""
    contact = await services.timeline.contact(contact_id_of(request))
    assert request.session is not None, "the route asks for an agent"
    values = form_values(request)
    to = safe_address(values.get("to") or f"/contacts/{contact.id}")
    try:
        logged = check_logged(values, clock_of(request).read_local)
    except FieldErrors as error:
        form = with_faults(values, error)
        return show(request, "log_activity.html", status=error.status, contact=contact, form=form, to=to)
    await log_activity(services.store.records, contact, request.session, logged)
    services.hub.notify_commit()
    return redirect(f"{to}{'&' if '?' in to else '?'}done=logged")


# Merging.


class Side(Struct, frozen=True):
    """One of two contacts that are to be one, as the preview shows it."""

    contact: Contact
    known: list[tuple[str, str]]
    activities: str
    tickets: str


async def read_merge(request: Request, services: Services) -> Response:
    """Find the other contact; then see what follows, before it is done."""
    query = dict(request.query())
    contact = await services.contacts.get(contact_id_of(request))
    if other := query.get("other", ""):
        if not is_number(other):
            raise NotFound("There is no such contact.")
        return await _preview(request, services, contact, int(other), Form())
    text = _search_text(query)
    try:
        found = await _find(services, text, None, PER_PAGE) if text else []
    except FieldErrors:  # nobody is known by that
        found = []
    others = [each for each in found if each.id != contact.id]
    return show(request, "contact_merge.html", contact=contact, q=text, found=others)


async def _preview(
    request: Request, services: Services, contact: Contact, other_id: int, form: Form, *, status: int = 200
) -> Response:
    other = await services.contacts.get(other_id)
    sides = [await _side(request, services, each) for each in (contact, other)]
    return show(
        request,
        "contact_merge_preview.html",
        status=status,
        contact=contact,
        other=other,
        sides=sides,
        form=form,
    )


async def _side(request: Request, services: Services, contact: Contact) -> Side:
    number = clock_of(request).number
    facets = await count_facets(services.timeline, contact.id)
    count = sum(facets.sources.values())
    homes = await services.tickets.homes_of(requester_id=contact.id)
    tickets = await services.tickets.page(
        TicketFilters(homes=homes, created_since=0), viewer=0, limit=PER_PAGE + 1
    )
    return Side(
        contact,
        _known(contact, await known_by(services.store.records, contact.id)),
        f"{number(MAX_COUNTED)}+" if facets.capped else number(count),
        f"{PER_PAGE}+" if len(tickets) > PER_PAGE else number(len(tickets)),
    )


async def merge(request: Request, services: Services) -> Response:
    """Have this contact stand for the other one as well."""
    other, contact_id = form_values(request).get("other", ""), contact_id_of(request)
    contact = await services.contacts.get(contact_id)
    if not is_number(other):
        raise NotFound("There is no such contact.")
    entry = request.audit("contact.merge", "contact")
    try:
        await services.merges.merge(
            contact.id, [int(other)], {}, agent_id=request.caller.agent_id, entry=entry
        )
    except FieldErrors as error:
        form = refuse("", error.faults[0].message, {})
        return await _preview(request, services, contact, int(other), form, status=error.status)
    return redirect(f"/contacts/{contact.id}?done=merge")


async def undo_merge(request: Request, services: Services) -> Response:
    """Let both contacts of a merge stand for themselves again."""
    contact_id, merge_id = contact_id_of(request), request.path_values["merge_id"]
    if not is_number(merge_id):
        raise NotFound("There is no such merge.")
    entry = request.audit("contact.merge_undo", "contact")
    await services.merges.undo(int(merge_id), agent_id=request.caller.agent_id, entry=entry)
    return redirect(f"/contacts/{contact_id}?done=undo")


async def dismiss_suggestion(request: Request, services: Services) -> Response:
    """Note that a contact that was suggested is somebody else."""
    contact_id, other = contact_id_of(request), form_values(request).get("other", "")
    if not is_number(other):
        raise NotFound("There is no such suggestion.")
    entry = request.audit("contact.dismiss_suggestion", "contact")
    await services.merges.dismiss(contact_id, int(other), agent_id=request.caller.agent_id, entry=entry)
    return redirect(f"/contacts/{contact_id}?done=dismiss")
