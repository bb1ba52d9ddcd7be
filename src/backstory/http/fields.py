"""The fields of tickets, contacts and companies: those that all have, and those that the installation has added."""

from __future__ import annotations

from typing import Any

from backstory.errors import Fault
from backstory.helpdesk.fields import COMPANY, CONTACT, TICKET, add_field, list_fields
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response
from backstory.http.query import QueryReader
from backstory.http.services import Services
from backstory.model.checks import (
    Check,
    Field,
    check_bool,
    check_choice,
    check_list,
    check_object,
    check_text,
)
from backstory.model.custom_field import (
    MAX_CHOICE,
    MAX_CHOICES,
    MAX_LABEL,
    CustomField,
    FieldType,
    NewField,
)
from backstory.model.moment import format_second
from backstory.model.ticket import Priority, Status, TicketSource

TICKET_PARAMETERS = (*PAGED, "type")
_ALWAYS = "2026-01-01T00:00:00Z"
"""Fields that all have are not created: clients read a time all the same."""

FIRST_CUSTOM = 1_000
"""Numbers below are those of the fields that all have."""

_LABELS = {
    TICKET: {
        "subject": ("Subject", "default_subject"),
        "requester": ("Search a requester", "default_requester"),
        "ticket_type": ("Type", "default_ticket_type"),
        "source": ("Source", "default_source"),
        "status": ("Status", "default_status"),
        "priority": ("Priority", "default_priority"),
        "group": ("Group", "default_group"),
        "agent": ("Agent", "default_agent"),
        "company": ("Company", "default_company"),
        "description": ("Description", "default_description"),
    },
    CONTACT: {
        "name": ("Full name", "default_name"),
        "job_title": ("Title", "default_job_title"),
        "email": ("Email", "default_email"),
        "phone": ("Work phone", "default_phone"),
        "mobile": ("Mobile phone", "default_mobile"),
        "twitter_id": ("Twitter", "default_twitter_id"),
        "unique_external_id": ("Unique external ID", "default_unique_external_id"),
        "company_name": ("Company", "default_company_name"),
        "address": ("Address", "default_address"),
        "time_zone": ("Time zone", "default_time_zone"),
        "language": ("Language", "default_language"),
        "tag_names": ("Tags", "default_tag_names"),
        "description": ("About", "default_description"),
    },
    COMPANY: {
        "name": ("Company name", "default_name"),
        "description": ("Description", "default_description"),
        "note": ("Notes", "default_note"),
        "domains": ("Domains for this company", "default_domains"),
        "health_score": ("Health score", "default_health_score"),
        "account_tier": ("Account tier", "default_account_tier"),
        "renewal_date": ("Renewal date", "default_renewal_date"),
        "industry": ("Industry", "default_industry"),
    },
}
_REQUIRED = {TICKET: ("requester", "status", "priority", "source"), CONTACT: ("name",), COMPANY: ("name",)}
_CHOICES: dict[str, Any] = {
    "status": {str(status.value): [status.label, status.label] for status in Status},
    "priority": {priority.label: priority.value for priority in Priority},
    "source": {source.label: source.value for source in TicketSource},
}


def _choice() -> Check:
    """A choice of a dropdown: its text, or an object that has it as `value`."""
    text = check_text(MAX_CHOICE, blank=False)
    entry = check_object({"value": Field(text, required=True)})

    def read(value: Any, path: str, faults: list[Fault]) -> Any:
        if isinstance(value, dict):
            return entry(value, path, faults).get("value")
        return text(value, path, faults)

    return Check(read, {"anyOf": [dict(text.schema), dict(entry.schema)]})


FOR_CUSTOMERS = {
    "label_for_customers": Field(check_text(MAX_LABEL)),
    "customers_can_edit": Field(check_bool),
    "editable_in_signup": Field(check_bool),
    "required_for_customers": Field(check_bool),
    "displayed_for_customers": Field(check_bool),
}
"""What programs say of a field, some of it because they must, and does nothing here: customers have no portal."""

NEW_FIELD = check_object(
    {
        "label": Field(check_text(MAX_LABEL, blank=False), required=True),
        "type": Field(check_choice([kind.value for kind in FieldType]), required=True),
        "required_for_agents": Field(check_bool),
        "choices": Field(check_list(_choice(), MAX_CHOICES)),
        **FOR_CUSTOMERS,
    },
    ("id", "name", "position", "default", "created_at", "updated_at"),
)


async def list_ticket_fields(request: Request, services: Services) -> Response:
    """The fields of tickets."""
    return await _list(request, services, TICKET)


async def list_contact_fields(request: Request, services: Services) -> Response:
    """The fields of contacts."""
    return await _list(request, services, CONTACT)


async def list_company_fields(request: Request, services: Services) -> Response:
    """The fields of companies."""
    return await _list(request, services, COMPANY)


async def create_ticket_field(request: Request, services: Services) -> Response:
    """Add a field to tickets."""
    return await _create(request, services, TICKET)


async def create_contact_field(request: Request, services: Services) -> Response:
    """Add a field to contacts."""
    return await _create(request, services, CONTACT)


async def create_company_field(request: Request, services: Services) -> Response:
    """Add a field to companies."""
    return await _create(request, services, COMPANY)


async def _list(request: Request, services: Services, kind: str) -> Response:
    """All of them, unless a page is asked for: the clients do not page here."""
    query = QueryReader(request, TICKET_PARAMETERS if kind == TICKET else PAGED)
    wanted = query.text("type")
    page = read_list_page(query)
    paged = query.text("page") is not None or query.text("per_page") is not None
    query.finish()
    shown = [
        *(_default(kind, number, name) for number, name in enumerate(_LABELS[kind], start=1)),
        *(_added(kind, field) for field in await list_fields(services.store.records, kind)),
    ]
    if wanted is not None:
        shown = [field for field in shown if field["type"] == wanted]
    if not paged:
        return json_response(shown)
    return list_response(request, page, shown[page.offset : page.offset + page.limit])


async def _create(request: Request, services: Services, kind: str) -> Response:
    values = read_form(request, NEW_FIELD)
    new = NewField(
        values["label"],
        FieldType(values["type"]),
        bool(values.get("required_for_agents")),
        tuple(values.get("choices") or ()),
    )
    field = await add_field(services.store.records, kind, new, request.audit("field.create", "field"))
    location = request.url(request.path.rstrip("/"))
    return json_response(_added(kind, field), status=201, headers={"Location": location})


def _default(kind: str, number: int, name: str) -> dict[str, Any]:
    label, type_name = _LABELS[kind][name]
    shown = _shown(kind, number, name, label, type_name, default=True, required=name in _REQUIRED[kind])
    if kind == TICKET and (choices := _CHOICES.get(name)) is not None:
        shown["choices"] = choices
    return shown | {"position": number, "created_at": _ALWAYS, "updated_at": _ALWAYS}


def _added(kind: str, field: CustomField) -> dict[str, Any]:
    number = FIRST_CUSTOM + field.id
    shown = _shown(kind, number, field.name, field.label, field.type, default=False, required=field.required)
    if field.choices:
        shown["choices"] = list(field.choices)
    times = {"created_at": format_second(field.created_at), "updated_at": format_second(field.updated_at)}
    return shown | {"position": len(_LABELS[kind]) + field.position} | times


def _shown(
    kind: str, number: int, name: str, label: str, type_name: str, *, default: bool, required: bool
) -> dict[str, Any]:
    """A field with the keys of its kind; nothing is shown to customers, who have no portal here."""
    shown: dict[str, Any] = {
        "id": number,
        "name": name,
        "label": label,
        "position": 0,
        "type": str(type_name),
        "default": default,
        "required_for_agents": required,
        "choices": [],
    }
    if kind == TICKET:
        return shown | {
            "description": None,
            "label_for_customers": label,
            "customers_can_edit": False,
            "required_for_closure": False,
            "required_for_customers": False,
            "displayed_to_customers": False,
        }
    if kind == CONTACT:
        return shown | {
            "label_for_customers": label,
            "customers_can_edit": False,
            "editable_in_signup": False,
            "required_for_customers": False,
            "displayed_for_customers": False,
        }
    return shown
