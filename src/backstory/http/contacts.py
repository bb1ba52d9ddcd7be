"""Contacts, in their first form."""

from __future__ import annotations

from typing import Any

from backstory.errors import Code, Fault, FieldErrors, InvalidJson
from backstory.http.activities import contact_id_of
from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services
from backstory.model.activity import MAX_DESCRIPTION, MAX_IDENTIFIER, MAX_NAME, MAX_TEXT
from backstory.model.checks import Field, check_email, check_object, check_phone, check_text
from backstory.model.contact import NewContact
from backstory.model.json_text import parse_exact

IDENTIFIED_BY = ("email", "phone", "mobile", "twitter_id", "unique_external_id")

_KEY = check_text(MAX_IDENTIFIER)
_NEW_CONTACT = check_object(
    {
        "name": Field(check_text(MAX_NAME, blank=False), required=True),
        "email": Field(check_email),
        "phone": Field(check_phone),
        "mobile": Field(check_phone),
        "twitter_id": Field(_KEY),
        "unique_external_id": Field(_KEY),
        "address": Field(check_text(MAX_TEXT)),
        "description": Field(check_text(MAX_DESCRIPTION)),
        "job_title": Field(check_text(MAX_NAME)),
        "language": Field(check_text(MAX_NAME)),
        "time_zone": Field(check_text(MAX_NAME)),
    }
)


async def create_contact(request: Request, services: Services) -> Response:
    """Create a contact."""
    new = _read_contact(request.body)
    contact = await services.store.records.create_contact(new, request.audit("contact.create", "contact"))
    location = request.url(f"{request.path.rstrip('/')}/{contact.id}")
    return json_response(contact.answer(), status=201, headers={"Location": location})


def _read_contact(body: bytes) -> NewContact:
    try:
        tree: Any = parse_exact(body)
    except ValueError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    faults: list[Fault] = []
    _NEW_CONTACT(tree, "", faults)
    if isinstance(tree, dict) and not any(_given(tree.get(name)) for name in IDENTIFIED_BY):
        message = f"One of these is mandatory: {', '.join(IDENTIFIED_BY)}."
        faults.append(Fault("email", message, Code.MISSING_FIELD))
    if faults:
        raise FieldErrors(faults)
    given = {name: value.strip() for name, value in tree.items() if value is not None and value.strip()}
    return NewContact(**given)


def _given(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


async def get_contact(request: Request, services: Services) -> Response:
    """One contact."""
    return json_response((await services.timeline.contact(contact_id_of(request))).answer())
