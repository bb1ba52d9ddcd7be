"""Companies: created, read, listed, changed, deleted (contract 9), and who belongs to them by their emails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from backstory.errors import NotFound
from backstory.model.access import AuditEntry
from backstory.model.company import Company, NewCompany
from backstory.model.custom_field import shown_custom_fields
from backstory.model.moment import Microseconds, now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import companies, fields, sql

PIECE = 500
"""So many contacts at a time are put into a company or taken out of it: publishing goes on in between."""


class Companies:
    """The companies of an installation."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def get(self, company_id: int) -> Company:
        """One company.

        Raises:
            NotFound: there is none with this number.
        """
        return await self._records.read(partial(_shown, company_id=company_id))

    async def page(self, updated_since: Microseconds | None, limit: int, offset: int) -> list[Company]:
        """Companies by name."""

        def work(connection: Connection) -> list[Company]:
            return with_fields(connection, companies.select_page(connection, updated_since, limit, offset))

        return await self._records.read(work)

    async def suggest(self, term: str) -> list[tuple[int, str]]:
        """Numbers and names of companies in whose name words begin with the term's, by name."""
        return await self._records.read(partial(companies.select_suggested, term=term))

    async def create(self, new: NewCompany, entry: AuditEntry) -> Company:
        """Create a company. Contacts without one whose email has one of its domains belong to it from then on.

        Raises:
            FieldErrors: 409, another company has the name or a domain.
        """

        def work(transaction: RecordsTransaction) -> Company:
            created = companies.insert_company(transaction.records, new, now())
            sql.add_audit(transaction.records, replace(entry, target=f"company:{created.id}"))
            return _shown(transaction.records, created.id)

        created = await self._records.write(work)
        await self._associate(created.id, created.domains)
        return created

    async def change(self, company_id: int, changes: Mapping[str, Any], entry: AuditEntry) -> Company:
        """Change fields of a company (names of `NewCompany`); None takes a value away, `domains` are replaced.

        Raises:
            NotFound: there is none with this number.
            FieldErrors: as `create`.
        """

        def work(transaction: RecordsTransaction) -> tuple[Company, set[str]]:
            company = _existing(transaction.records, company_id)
            changed = companies.update_company(transaction.records, company, changes, now())
            sql.add_audit(transaction.records, replace(entry, details={"fields": sorted(changes)}))
            return _shown(transaction.records, company_id), set(changed.domains) - set(company.domains)

        changed, new_domains = await self._records.write(work)
        await self._associate(company_id, new_domains)
        return changed

    async def _associate(self, company_id: int, domains: Iterable[str]) -> None:
        """Put contacts without a company into the one that has their email's domain."""
        found = await self._records.read(partial(companies.select_unassigned, domains=list(domains)))
        for start in range(0, len(found), PIECE):
            piece = found[start : start + PIECE]
            await self._records.write(partial(_assign, company_id=company_id, contact_ids=piece))

    async def delete(self, company_id: int, entry: AuditEntry) -> None:
        """Delete a company; its contacts and tickets stay, without one.

        Raises:
            NotFound: there is none with this number.
        """
        await self.get(company_id)
        # Piece by piece, and the company last: cut off in between, it is still there to be deleted.
        while await self._records.write(partial(_release, company_id=company_id)):
            continue

        def work(transaction: RecordsTransaction) -> None:
            connection = transaction.records
            _existing(connection, company_id)
            while companies.release_some(connection, company_id, PIECE, now()):
                continue  # who came meanwhile
            companies.delete_company(connection, company_id)
            sql.add_audit(connection, entry)

        await self._records.write(work)


def _assign(transaction: RecordsTransaction, company_id: int, contact_ids: Sequence[int]) -> None:
    if companies.select_company(transaction.records, company_id) is not None:
        companies.assign_company(transaction.records, company_id, contact_ids, now())


def _release(transaction: RecordsTransaction, company_id: int) -> int:
    return companies.release_some(transaction.records, company_id, PIECE, now())


def _existing(connection: Connection, company_id: int) -> Company:
    company = companies.select_company(connection, company_id)
    if company is None:
        raise NotFound(f"There is no company {company_id}.")
    return company


def _shown(connection: Connection, company_id: int) -> Company:
    (company,) = with_fields(connection, [_existing(connection, company_id)])
    return company


def with_fields(connection: Connection, found: Sequence[Company]) -> list[Company]:
    """Companies with every custom field, null where one has no value."""
    known = fields.select_fields(connection, companies.COMPANY)
    return [
        replace(company, custom_fields=shown_custom_fields(known, company.custom_fields)) for company in found
    ]
