"""Contacts and companies from and to CSV: the same work for the API, as a job, and for the command line.

An import can be repeated: a row is about whom its strongest identifier names (a company: its name), and changes them;
only who is not known yet is new. A row at fault is told with its line, and stands in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.access import AuditEntry
from backstory.model.checks import Check
from backstory.model.company_form import company_check, new_company
from backstory.model.contact import NewContact
from backstory.model.contact_form import as_taken, contact_check
from backstory.model.csv_text import (
    COMPANY_COLUMNS,
    CONTACT_COLUMNS,
    CsvRow,
    as_form,
    company_cells,
    contact_cells,
    write_rows,
)
from backstory.model.custom_field import CustomField
from backstory.model.moment import Microseconds, now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import companies, contacts, csv_rows, sql
from backstory.store.records.fields import select_fields

CONTACT, COMPANY = "contact", "company"
COLUMNS = {CONTACT: CONTACT_COLUMNS, COMPANY: COMPANY_COLUMNS}
PIECE = 100
"""So many rows are written in one transaction."""

_KNOWN_BY = ("email", "phone", "mobile", "twitter_id", "facebook_id", "unique_external_id")


class Refusal(Struct, frozen=True):
    """A row that was not taken, and why."""

    line: int
    errors: tuple[Fault, ...]


class Outcome(Struct, frozen=True):
    """What became of some rows."""

    created: int = 0
    updated: int = 0
    refusals: tuple[Refusal, ...] = ()


class CsvFiles:
    """Reads and writes the records of an installation as rows."""

    def __init__(self, records: Records, phone_region: str | None = None) -> None:
        self._records = records
        self._region = phone_region

    async def take(
        self, kind: str, rows: Sequence[CsvRow], also: Callable[[Connection, Outcome], None] | None = None
    ) -> Outcome:
        """Write rows in one transaction; those at fault are left out. `also` is written with them."""

        def work(transaction: RecordsTransaction) -> Outcome:
            connection, moment = transaction.records, now()
            fields = select_fields(connection, kind)
            take = self._take_contact if kind == CONTACT else self._take_company
            created = updated = 0
            refusals = []
            for row in rows:
                try:
                    with connection.begin_nested():
                        is_new = take(connection, row, fields, moment)
                except FieldErrors as error:
                    refusals.append(Refusal(row.line, error.faults))
                else:
                    created += is_new
                    updated += not is_new
            outcome = Outcome(created, updated, tuple(refusals))
            if also is not None:
                also(connection, outcome)
            return outcome

        return await self._records.write(work)

    def _take_contact(
        self, connection: Connection, row: CsvRow, fields: tuple[CustomField, ...], moment: Microseconds
    ) -> bool:
        """Write a contact; whether it is new."""
        _refuse_odd(row)
        values = _checked(contact_check(fields, change=True), row)
        known = csv_rows.select_known(connection, values, self._region)
        if known is None:
            values = _checked(contact_check(fields, change=False), row)
        values = {name: value for name, value in as_taken(values).items() if value is not None}
        if "company" in row.cells:
            values["company_id"] = _company_named(connection, row.cells["company"], moment)
        if known is None:
            if not any(values.get(name) for name in _KNOWN_BY):
                message = f"One of these is mandatory: {', '.join(_KNOWN_BY)}."
                raise FieldErrors([Fault("email", message, Code.MISSING_FIELD)])
            contacts.insert_contact(connection, NewContact(**values), self._region, moment)
            return True
        if known.deleted or known.blocked or known.is_agent:
            message = f"Contact {known.id} is deleted, blocked or an agent, and is not changed."
            raise FieldErrors([Fault("id", message, Code.INCONSISTENT_STATE)])
        if "other_emails" in values:  # an import takes nobody's emails away
            values["other_emails"] = (*known.other_emails, *values["other_emails"])
        contacts.update_contact(connection, known, values, self._region, moment, give_up=False)
        return False

    def _take_company(
        self, connection: Connection, row: CsvRow, fields: tuple[CustomField, ...], moment: Microseconds
    ) -> bool:
        """Write a company; whether it is new."""
        _refuse_odd(row)
        known = csv_rows.select_company_named(connection, row.cells.get("name", ""))
        values = _checked(company_check(fields, change=known is not None), row)
        if known is None:
            companies.insert_company(connection, new_company(values), moment)
            return True
        companies.update_company(connection, known, values, moment)
        return False

    async def count(self, kind: str) -> int:
        """How many rows an export has."""
        return await self._records.read(partial(csv_rows.count_records, kind=kind))

    async def columns(self, kind: str) -> list[str]:
        """The columns of an export."""
        fields = await self._records.read(partial(select_fields, kind=kind))
        return [*COLUMNS[kind], *(field.name for field in fields)]

    async def export(self, kind: str, columns: Sequence[str], after: int, limit: int) -> tuple[str, int, int]:
        """Rows of the records behind a number, how many they are, and the last one's number."""

        def work(connection: Connection) -> tuple[str, int, int]:
            rows: list[dict[str, str]] = []
            last = after
            if kind == CONTACT:
                for contact, company in csv_rows.select_contacts_after(connection, after, limit):
                    rows.append(contact_cells(contact, company))
                    last = contact.id
            else:
                for each in csv_rows.select_companies_after(connection, after, limit):
                    rows.append(company_cells(each))
                    last = each.id
            return write_rows(columns, rows), len(rows), last

        return await self._records.read(work)

    async def note(self, entry: AuditEntry) -> None:
        """Note an import or an export in the audit log."""
        await self._records.write(lambda transaction: sql.add_audit(transaction.records, entry))


def _refuse_odd(row: CsvRow) -> None:
    if "" in row.cells:
        message = f"The line has {row.cells['']}."
        raise FieldErrors([Fault("body", message, Code.INVALID_VALUE)])


def _checked(check: Check, row: CsvRow) -> dict[str, Any]:
    faults: list[Fault] = []
    values = check(as_form(row.cells), "", faults)
    if faults:
        raise FieldErrors(faults)
    return dict(values)


def _company_named(connection: Connection, name: str, moment: Microseconds) -> int:
    """The company of a name, made where there is none."""
    known = csv_rows.select_company_named(connection, name)
    if known is not None:
        return known.id
    fields = select_fields(connection, COMPANY)
    made = _checked(company_check(fields, change=True), CsvRow(0, {"name": name}))
    return companies.insert_company(connection, new_company(made), moment).id
