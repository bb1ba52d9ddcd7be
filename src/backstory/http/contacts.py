"""Contacts: create, read, list, change, delete, restore."""

from __future__ import annotations

from typing import Any

from backstory.errors import Code, Fault
from backstory.helpdesk.contacts import IDENTIFIED_BY
from backstory.helpdesk.fields import CONTACT, list_fields
from backstory.http.activities import contact_id_of
from backstory.http.attachments import attachment_answer
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader
from backstory.http.services import Services
from backstory.model.contact import Contact, ContactFilters, NewContact, State
from backstory.model.contact_form import as_taken, contact_check

LIST_PARAMETERS = (
    "email",
    "mobile",
    "phone",
    "company_id",
    "unique_external_id",
    "state",
    "updated_since",
    "_updated_since",
    *PAGED,
)
TERM_PARAMETERS = ("term",)
ERASE_PARAMETERS = ("force",)

_AVATAR_KEYS = {"attachment_url": "avatar_url"}


async def create_contact(request: Request, services: Services) -> Response:
    """Create a contact."""
    fields = await list_fields(services.store.records, CONTACT)
    values = read_form(request, contact_check(fields, change=False), _name_somebody)
    given = {name: value for name, value in as_taken(values).items() if value is not None}
    avatar = given.pop("avatar", None)
    entry = request.audit("contact.create", "contact")
    contact = await services.contacts.create(NewContact(**given), avatar, entry)
    location = request.url(f"{request.path.rstrip('/')}/{contact.id}")
    return json_response(contact_answer(request, contact), status=201, headers={"Location": location})


def contact_answer(request: Request, contact: Contact) -> dict[str, Any]:
    """A contact as it is answered, its picture with an address that needs no key, for a while."""
    avatar = None
    if contact.avatar is not None:
        avatar = attachment_answer(request, contact.avatar)
        avatar = {
            _AVATAR_KEYS.get(name, name): value for name, value in avatar.items() if name != "thumb_url"
        }
    return contact.answer(avatar=avatar)


def _name_somebody(values: dict[str, Any], faults: list[Fault]) -> None:
    if not any(values.get(name) for name in IDENTIFIED_BY):
        message = f"One of these is mandatory: {', '.join(IDENTIFIED_BY)}."
        faults.append(Fault("email", message, Code.MISSING_FIELD))


async def get_contact(request: Request, services: Services) -> Response:
    """One contact."""
    return json_response(contact_answer(request, await services.contacts.get(contact_id_of(request))))


async def list_contacts(request: Request, services: Services) -> Response:
    """Contacts by name."""
    query = QueryReader(request, LIST_PARAMETERS)
    state = query.choice("state", State)
    filters = ContactFilters(
        email=query.text("email"),
        mobile=query.phone("mobile"),
        phone=query.phone("phone"),
        company_id=query.identifier("company_id"),
        unique_external_id=query.text("unique_external_id"),
        state=None if state is None else State(state),
        updated_since=query.moment("updated_since"),
    )
    page = read_list_page(query)
    query.finish()
    found = await services.contacts.page(filters, page.limit, page.offset)
    return list_response(request, page, [contact.listed() for contact in found])


async def suggest_contacts(request: Request, services: Services) -> Response:
    """Numbers and names of contacts whose names have words that begin so."""
    query = QueryReader(request, TERM_PARAMETERS)
    term = query.mandatory("term")
    query.finish()
    found = await services.contacts.suggest(term)
    return json_response([{"id": contact_id, "name": name} for contact_id, name in found])


async def update_contact(request: Request, services: Services) -> Response:
    """Change a contact."""
    contact_id = contact_id_of(request)
    await services.contacts.check_changeable(contact_id)  # 404 and 405 go before 400
    fields = await list_fields(services.store.records, CONTACT)
    changes = as_taken(read_form(request, contact_check(fields, change=True)))
    entry = request.audit("contact.update", f"contact:{contact_id}")
    return json_response(contact_answer(request, await services.contacts.change(contact_id, changes, entry)))


async def delete_contact(request: Request, services: Services) -> Response:
    """Delete a contact softly."""
    contact_id = contact_id_of(request)
    await services.contacts.delete(contact_id, request.audit("contact.delete", f"contact:{contact_id}"))
    return no_content()


async def erase_contact(request: Request, services: Services) -> Response:
    """Erase a contact with everything that it did and said."""
    contact_id = contact_id_of(request)
    query = QueryReader(request, ERASE_PARAMETERS)
    force = query.boolean("force")
    query.finish()
    entry = request.audit("contact.hard_delete", f"contact:{contact_id}")
    await services.eraser.erase(contact_id, force=force, entry=entry)
    return no_content()


async def restore_contact(request: Request, services: Services) -> Response:
    """Bring back a deleted or blocked contact."""
    contact_id = contact_id_of(request)
    await services.contacts.restore(contact_id, request.audit("contact.restore", f"contact:{contact_id}"))
    return no_content()


async def send_invite(request: Request, services: Services) -> Response:
    """Take note that a contact is to be invited."""
    contact_id = contact_id_of(request)
    await services.contacts.note_invitation(
        contact_id, request.audit("contact.invite", f"contact:{contact_id}")
    )
    return no_content()
