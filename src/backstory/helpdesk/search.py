"""Searches over contacts, tickets and companies (contract 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from backstory.helpdesk import companies as company_rules
from backstory.helpdesk import contacts as contact_rules
from backstory.model.company import Company
from backstory.model.contact import Contact
from backstory.model.search import SEARCHED_FIELDS, Searched, kinds_with, read_query
from backstory.model.ticket import Ticket
from backstory.store.base import Connection, Records
from backstory.store.records import companies, contacts, fields, tickets
from backstory.store.records.search import MAX_TOTAL, search

__all__ = ["MAX_PAGE", "MAX_TOTAL", "PER_PAGE", "Results", "Search"]

T = TypeVar("T")

PER_PAGE = 30
MAX_PAGE = 10


class Results(NamedTuple, Generic[T]):
    """How many match, counted up to MAX_TOTAL, and one page of them, newest first."""

    total: int
    found: list[T]


class Search:
    """Answers queries of the search language, 30 results a page."""

    def __init__(self, records: Records, phone_region: str | None = None) -> None:
        self._records = records
        self._region = phone_region

    async def contacts(self, query: str, page: int) -> Results[Contact]:
        """Contacts, those that are deleted left out.

        Raises:
            FieldErrors: the query is at fault; with the place.
        """

        def select(connection: Connection, ids: Sequence[int]) -> list[Contact]:
            return contact_rules.with_fields(connection, contacts.select_contacts(connection, ids))

        return await self._find(Searched.CONTACTS, query, page, select)

    async def tickets(self, query: str, page: int) -> Results[Ticket]:
        """Tickets, those that are deleted left out.

        Raises:
            FieldErrors: as `contacts`.
        """
        return await self._find(Searched.TICKETS, query, page, tickets.select_tickets)

    async def companies(self, query: str, page: int) -> Results[Company]:
        """Companies.

        Raises:
            FieldErrors: as `contacts`.
        """

        def select(connection: Connection, ids: Sequence[int]) -> list[Company]:
            return company_rules.with_fields(connection, companies.select_companies(connection, ids))

        return await self._find(Searched.COMPANIES, query, page, select)

    async def _find(
        self,
        searched: Searched,
        text: str,
        page: int,
        select: Callable[[Connection, Sequence[int]], list[T]],
    ) -> Results[T]:
        def work(connection: Connection) -> Results[T]:
            custom = fields.select_fields(connection, searched)
            query = read_query(text, kinds_with(SEARCHED_FIELDS[searched], custom))
            found = search(connection, searched, query, self._region, PER_PAGE, (page - 1) * PER_PAGE)
            return Results(found.total, select(connection, found.ids))

        return await self._records.read(work)
