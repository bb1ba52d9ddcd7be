"""Contacts, in their first form."""

from __future__ import annotations

from typing import Any

from backstory.errors import Code, Fault
from backstory.http.activities import contact_id_of
from backstory.http.forms import read_form
from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services
from backstory.model.activity import MAX_DESCRIPTION, MAX_IDENTIFIER, MAX_NAME, MAX_TEXT
from backstory.model.checks import Field, check_email, check_object, check_phone, check_text
from backstory.model.contact import NewContact

IDENTIFIED_BY = ("email", "phone", "mobile", "twitter_id", "unique_external_id")

_KEY = check_text(MAX_IDENTIFIER)
NEW_CONTACT = check_object(
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
    new = NewContact(**read_form(request, NEW_CONTACT, _name_somebody))
    contact = await services.store.records.create_contact(new, request.audit("contact.create", "contact"))
    location = request.url(f"{request.path.rstrip('/')}/{contact.id}")
    return json_response(contact.answer(), status=201, headers={"Location": location})


def _name_somebody(values: dict[str, Any], faults: list[Fault]) -> None:
    if not any(values.get(name) for name in IDENTIFIED_BY):
        message = f"One of these is mandatory: {', '.join(IDENTIFIED_BY)}."
        faults.append(Fault("email", message, Code.MISSING_FIELD))


async def get_contact(request: Request, services: Services) -> Response:
    """One contact."""
    return json_response((await services.timeline.contact(contact_id_of(request))).answer())
