"""Queries that imports and exports of contacts and companies need beside those of single records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from backstory.model.company import Company, company_name_key
from backstory.model.contact import UNIQUE_FIELDS, Contact
from backstory.model.identity import phone_key
from backstory.store.records.companies import select_company
from backstory.store.records.contacts import select_contact
from backstory.store.records.tables import LISTED, companies, contact_phones, contacts, identifiers

_STRONGEST_FIRST = ("unique_external_id", "email", "facebook_id", "twitter_id")


def select_known(connection: sa.Connection, values: dict[str, Any], region: str | None) -> Contact | None:
    """The contact that a row is about: who has its strongest identifier; with numbers alone, who has its name too."""
    for field in _STRONGEST_FIRST:
        if values.get(field):
            key = UNIQUE_FIELDS[field][1](values[field])
            query = sa.select(identifiers.c.contact_id).where(identifiers.c.key == key)
            holder = connection.scalar(query)
            if holder is not None:
                return select_contact(connection, holder)
    if any(values.get(field) for field in _STRONGEST_FIRST):
        return None
    numbers = [phone_key(values[field], region) for field in ("phone", "mobile") if values.get(field)]
    query = (
        sa.select(contacts.c.id)
        .join(contact_phones, contact_phones.c.contact_id == contacts.c.id)
        .where(contact_phones.c.number.in_(numbers), contacts.c.name == values.get("name"))
        .order_by(contacts.c.id)
        .limit(1)
    )
    holder = connection.scalar(query) if numbers else None
    return None if holder is None else select_contact(connection, holder)


def select_company_named(connection: sa.Connection, name: str) -> Company | None:
    """The company of a name; None where there is none."""
    query = sa.select(companies.c.id).where(companies.c.name_key == company_name_key(name))
    number = connection.scalar(query)
    return None if number is None else select_company(connection, number)


def select_contacts_after(
    connection: sa.Connection, after: int, limit: int
) -> list[tuple[Contact, str | None]]:
    """Contacts behind a number, in the order of their numbers, with the names of their companies."""
    query = sa.select(contacts.c.id).where(sa.text(LISTED), contacts.c.id > after)
    ids = list(connection.scalars(query.order_by(contacts.c.id).limit(limit)))
    found = [contact for each in ids if (contact := select_contact(connection, each)) is not None]
    wanted = {contact.company_id for contact in found if contact.company_id is not None}
    rows = connection.execute(sa.select(companies.c.id, companies.c.name).where(companies.c.id.in_(wanted)))
    names = {row.id: row.name for row in rows}
    return [(contact, names.get(contact.company_id or 0)) for contact in found]


def select_companies_after(connection: sa.Connection, after: int, limit: int) -> Sequence[Company]:
    """Companies behind a number, in the order of their numbers."""
    query = sa.select(companies.c.id).where(companies.c.id > after).order_by(companies.c.id).limit(limit)
    found = [select_company(connection, each) for each in connection.scalars(query).all()]
    return [company for company in found if company is not None]


def count_records(connection: sa.Connection, kind: str) -> int:
    """How many contacts (or companies) an export has."""
    if kind == "contact":
        query = sa.select(sa.func.count()).select_from(contacts).where(sa.text(LISTED))
    else:
        query = sa.select(sa.func.count()).select_from(companies)
    return connection.scalar(query) or 0
