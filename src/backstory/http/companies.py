"""Companies: create, read, list, change, delete."""

from __future__ import annotations

from backstory.helpdesk.fields import COMPANY, list_fields
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, number_in_path
from backstory.http.services import Services
from backstory.model.company_form import company_check, new_company

LIST_PARAMETERS = ("updated_since", "_updated_since", *PAGED)
NAME_PARAMETERS = ("name",)


async def create_company(request: Request, services: Services) -> Response:
    """Create a company."""
    fields = await list_fields(services.store.records, COMPANY)
    new = new_company(read_form(request, company_check(fields, change=False)))
    company = await services.companies.create(new, request.audit("company.create", "company"))
    location = request.url(f"{request.path.rstrip('/')}/{company.id}")
    return json_response(company.answer(), status=201, headers={"Location": location})


async def get_company(request: Request, services: Services) -> Response:
    """One company."""
    return json_response((await services.companies.get(number_in_path(request, "company"))).answer())


async def list_companies(request: Request, services: Services) -> Response:
    """Companies by name."""
    query = QueryReader(request, LIST_PARAMETERS)
    since = query.moment("updated_since")
    page = read_list_page(query)
    query.finish()
    found = await services.companies.page(since, page.limit, page.offset)
    return list_response(request, page, [company.answer() for company in found])


async def suggest_companies(request: Request, services: Services) -> Response:
    """Numbers and names of companies whose names have words that begin so."""
    query = QueryReader(request, NAME_PARAMETERS)
    name = query.mandatory("name")
    query.finish()
    found = await services.companies.suggest(name)
    return json_response({"companies": [{"id": number, "name": name} for number, name in found]})


async def update_company(request: Request, services: Services) -> Response:
    """Change a company."""
    company_id = number_in_path(request, "company")
    await services.companies.get(company_id)  # 404 goes before 400
    fields = await list_fields(services.store.records, COMPANY)
    changes = read_form(request, company_check(fields, change=True))
    entry = request.audit("company.update", f"company:{company_id}")
    return json_response((await services.companies.change(company_id, changes, entry)).answer())


async def delete_company(request: Request, services: Services) -> Response:
    """Delete a company."""
    company_id = number_in_path(request, "company")
    await services.companies.delete(company_id, request.audit("company.delete", f"company:{company_id}"))
    return no_content()
