"""Companies: create, read, list, change, delete."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from backstory.errors import Code, Fault, NotFound
from backstory.helpdesk.fields import COMPANY, list_fields
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, is_number
from backstory.http.services import Services
from backstory.model.activity import MAX_DESCRIPTION, MAX_NAME
from backstory.model.checks import (
    Check,
    Field,
    check_date,
    check_list,
    check_object,
    check_pattern,
    check_text,
    for_change,
)
from backstory.model.company import DOMAIN_PATTERN, NewCompany, is_domain
from backstory.model.custom_field import ANY_CUSTOM_FIELDS, CustomField, custom_fields_field
from backstory.model.json_text import shorten

MAX_DOMAINS = 100
LIST_PARAMETERS = ("updated_since", "_updated_since", *PAGED)
NAME_PARAMETERS = ("name",)
READONLY = ("id", "created_at", "updated_at")

_DOMAIN = check_pattern(is_domain, "a domain such as example.com", DOMAIN_PATTERN, blank=False)
_FIELDS = {
    "name": Field(check_text(MAX_NAME, blank=False), required=True),
    "description": Field(check_text(MAX_DESCRIPTION)),
    "note": Field(check_text(MAX_DESCRIPTION)),
    "domains": Field(check_list(_DOMAIN, MAX_DOMAINS, unique=True)),
    "health_score": Field(check_text(MAX_NAME)),
    "account_tier": Field(check_text(MAX_NAME)),
    "renewal_date": Field(check_date),
    "industry": Field(check_text(MAX_NAME)),
}
NEW_COMPANY = check_object(_FIELDS | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)
COMPANY_CHANGE = check_object(for_change(_FIELDS) | {"custom_fields": ANY_CUSTOM_FIELDS}, READONLY)


@functools.lru_cache(maxsize=16)
def company_check(fields: tuple[CustomField, ...], *, change: bool) -> Check:
    """The check of a company on an installation with these custom fields."""
    custom = {"custom_fields": custom_fields_field(fields, change=change)}
    return check_object((for_change(_FIELDS) if change else _FIELDS) | custom, READONLY)


def new_company(values: Mapping[str, Any]) -> NewCompany:
    """A company of checked values."""
    given = {name: value for name, value in values.items() if value is not None}
    return NewCompany(**given | {"domains": tuple(given.get("domains", ()))})


async def create_company(request: Request, services: Services) -> Response:
    """Create a company."""
    fields = await list_fields(services.store.records, COMPANY)
    new = new_company(read_form(request, company_check(fields, change=False)))
    company = await services.companies.create(new, request.audit("company.create", "company"))
    location = request.url(f"{request.path.rstrip('/')}/{company.id}")
    return json_response(company.answer(), status=201, headers={"Location": location})


def _company_id(request: Request) -> int:
    text = request.path_values["id"]
    if not (is_number(text) and 0 < int(text) < 2**63):
        raise NotFound(f"There is no company {shorten(text)}.")
    return int(text)


async def get_company(request: Request, services: Services) -> Response:
    """One company."""
    return json_response((await services.companies.get(_company_id(request))).answer())


async def list_companies(request: Request, services: Services) -> Response:
    """Companies by name."""
    query = QueryReader(request, LIST_PARAMETERS)
    since = query.moment("updated_since") or query.moment("_updated_since")
    page = read_list_page(query)
    query.finish()
    found = await services.companies.page(since, page.limit, page.offset)
    return list_response(request, page, [company.answer() for company in found])


async def suggest_companies(request: Request, services: Services) -> Response:
    """Numbers and names of companies whose names have words that begin so."""
    query = QueryReader(request, NAME_PARAMETERS)
    name = query.text("name")
    if name is None and not query.faults:
        query.faults.append(Fault("name", "It is mandatory and was not sent.", Code.MISSING_FIELD))
    query.finish()
    found = await services.companies.suggest(name or "")
    return json_response({"companies": [{"id": number, "name": name} for number, name in found]})


async def update_company(request: Request, services: Services) -> Response:
    """Change a company."""
    company_id = _company_id(request)
    await services.companies.get(company_id)  # 404 goes before 400
    fields = await list_fields(services.store.records, COMPANY)
    changes = read_form(request, company_check(fields, change=True))
    entry = request.audit("company.update", f"company:{company_id}")
    return json_response((await services.companies.change(company_id, changes, entry)).answer())


async def delete_company(request: Request, services: Services) -> Response:
    """Delete a company."""
    company_id = _company_id(request)
    await services.companies.delete(company_id, request.audit("company.delete", f"company:{company_id}"))
    return no_content()
