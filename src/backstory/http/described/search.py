"""Searches by a query."""

from __future__ import annotations

from backstory.helpdesk.search import MAX_PAGE, MAX_TOTAL, PER_PAGE
from backstory.http import search
from backstory.http.described.schema import INTEGER, array_of, object_of, refer
from backstory.http.described.told import Chapter, Described, Example, Parameter, Schema
from backstory.http.search import PARAMETERS
from backstory.model.search import MAX_QUERY, SEARCHED_FIELDS, Searched


def _results(name: str) -> Schema:
    return object_of({"total": INTEGER, "results": array_of(refer(name))})


def _fields(searched: Searched) -> str:
    return ", ".join(f"`{name}`" for name in SEARCHED_FIELDS[searched])


_WHICH = "and the fields that your installation has added (`cf_…`). Deleted ones are not found."

CHAPTER = Chapter(
    "Search",
    "Records by a query such as `priority:>3 AND (status:2 OR tag:'vip')`: texts and days (`'2026-03-02'`, "
    "UTC) in single "
    "quotes, numbers, `true`, `false` and `null` without; `:>` is at least and `:<` at most; AND binds more "
    "tightly than "
    f"OR. Newest first, {PER_PAGE} a page, the first {MAX_PAGE} pages; `total` counts up to {MAX_TOTAL:,}.",
    {
        search.search_contacts: Described(
            "Search contacts",
            f"By {_fields(Searched.CONTACTS)}, {_WHICH}",
            200,
            "How many there are, and a page of them.",
            "FoundContacts",
            (
                Example(
                    "Who speaks English?",
                    "GET",
                    "/api/v2/search/contacts?query=%22language:%27en%27%20AND%20active:false%22",
                ),
            ),
            parameters=PARAMETERS,
        ),
        search.search_tickets: Described(
            "Search tickets",
            f"By {_fields(Searched.TICKETS)}, {_WHICH}",
            200,
            "How many there are, and a page of them.",
            "FoundTickets",
            (
                Example(
                    "What is open and matters?",
                    "GET",
                    "/api/v2/search/tickets?query=%22status:2%20AND%20priority:%3E2%22",
                ),
            ),
            parameters=PARAMETERS,
        ),
        search.search_companies: Described(
            "Search companies",
            f"By {_fields(Searched.COMPANIES)}, {_WHICH}",
            200,
            "How many there are, and a page of them.",
            "FoundCompanies",
            (
                Example(
                    "Whose domain is this?",
                    "GET",
                    "/api/v2/search/companies?query=%22domain:%27centralperk.example.com%27%22",
                ),
            ),
            parameters=PARAMETERS,
        ),
    },
    schemas={
        "FoundContacts": _results("ListedContact"),
        "FoundTickets": _results("Ticket"),
        "FoundCompanies": _results("Company"),
    },
    parameters={
        "query": Parameter(
            "query",
            {"type": "string", "minLength": 3, "maxLength": MAX_QUERY + 2, "pattern": '^".*"$'},
            "The query, between double quotes.",
        ),
        "page": Parameter(
            "query",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 1},
            f"Which page of {PER_PAGE}.",
        ),
    },
)
