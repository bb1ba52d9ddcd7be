"""Searches (contract 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backstory.helpdesk.search import MAX_PAGE
from backstory.http.message import Request, Response, json_response
from backstory.http.query import QueryReader
from backstory.http.services import Services
from backstory.http.tickets import ticket_answer

PARAMETERS = ("query", "page")


async def search_contacts(request: Request, services: Services) -> Response:
    """Contacts that a query finds."""
    query, page = _read(request)
    results = await services.search.contacts(query, page)
    return _response(results.total, [contact.listed() for contact in results.found])


async def search_tickets(request: Request, services: Services) -> Response:
    """Tickets that a query finds."""
    query, page = _read(request)
    results = await services.search.tickets(query, page)
    return _response(results.total, [ticket_answer(request, ticket) for ticket in results.found])


async def search_companies(request: Request, services: Services) -> Response:
    """Companies that a query finds."""
    query, page = _read(request)
    results = await services.search.companies(query, page)
    return _response(results.total, [company.answer() for company in results.found])


def _read(request: Request) -> tuple[str, int]:
    """The query, with its quotes, and the page."""
    reader = QueryReader(request, PARAMETERS)
    page = reader.number("page", 1, MAX_PAGE)
    query = reader.mandatory("query")
    reader.finish()
    return query, page


def _response(total: int, found: Sequence[dict[str, Any]]) -> Response:
    return json_response({"total": total, "results": found})
