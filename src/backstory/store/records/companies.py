"""Queries on companies, and on which contacts belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.company import Company, NewCompany, company_name_key, domain_key
from backstory.model.custom_field import kept_custom_fields
from backstory.model.moment import Microseconds
from backstory.store.records.lookups import (
    forget_lookups,
    named_like,
    replace_custom_values,
    replace_name_words,
)
from backstory.store.records.tables import companies, company_domains, contacts, tickets

COMPANY = "company"
MAX_SUGGESTED = 100
_BY_NAME = (companies.c.name_key, companies.c.id)
_PLAIN = ("description", "note", "health_score", "account_tier", "renewal_date", "industry")


def select_company(connection: sa.Connection, company_id: int) -> Company | None:
    """One company; None where there is none."""
    found = _companies(connection, sa.select(companies).where(companies.c.id == company_id))
    return found[0] if found else None


def select_companies(connection: sa.Connection, company_ids: Sequence[int]) -> list[Company]:
    """Companies in the order of these numbers; those that do not exist are left out."""
    query = sa.select(companies).where(companies.c.id.in_(company_ids))
    found = {company.id: company for company in _companies(connection, query)}
    return [found[each] for each in company_ids if each in found]


def select_page(
    connection: sa.Connection, updated_since: Microseconds | None, limit: int, offset: int
) -> list[Company]:
    """Companies by name."""
    page = sa.select(companies.c.id).order_by(*_BY_NAME).limit(limit).offset(offset)
    if updated_since is not None:
        page = page.where(companies.c.updated_at >= updated_since)
    return _companies(connection, sa.select(companies).where(companies.c.id.in_(page)).order_by(*_BY_NAME))


def _companies(connection: sa.Connection, query: sa.Select[Any]) -> list[Company]:
    rows = connection.execute(query).all()
    domains: dict[int, list[str]] = {row.id: [] for row in rows}
    for each in connection.execute(
        sa.select(company_domains)
        .where(company_domains.c.company_id.in_(domains))
        .order_by(company_domains.c.domain)
    ):
        domains[each.company_id].append(each.domain)
    fields = [name for name in Company.__struct_fields__ if name != "domains"]
    return [
        Company(**{name: getattr(row, name) for name in fields}, domains=tuple(domains[row.id]))
        for row in rows
    ]


def select_suggested(connection: sa.Connection, term: str) -> list[tuple[int, str]]:
    """The companies (number and name) in whose name words begin with those of the term, by name; at most 100."""
    candidates = named_like(COMPANY, term)
    if candidates is None:
        return []
    query = sa.select(companies.c.id, companies.c.name).where(companies.c.id.in_(candidates))
    return [(row.id, row.name) for row in connection.execute(query.order_by(*_BY_NAME).limit(MAX_SUGGESTED))]


def insert_company(connection: sa.Connection, new: NewCompany, now: Microseconds) -> Company:
    """Create a company.

    Raises:
        FieldErrors: 409, another company has the name or a domain.
    """
    values = {name: getattr(new, name) for name in ("name", *_PLAIN)}
    values |= {"name_key": company_name_key(new.name), "created_at": now, "updated_at": now}
    values["custom_fields"] = kept_custom_fields(new.custom_fields)
    try:
        with connection.begin_nested():
            inserted = connection.execute(companies.insert().values(values))
    except IntegrityError:
        raise _taken("name", new.name) from None
    company_id = int(inserted.inserted_primary_key[0])  # type: ignore[index]
    replace_name_words(connection, COMPANY, company_id, new.name)
    replace_custom_values(connection, COMPANY, company_id, new.custom_fields)
    _replace_domains(connection, company_id, new.domains)
    return _sure(connection, company_id)


def _taken(field: str, value: str) -> FieldErrors:
    message = f"It should be a unique value; another company has {value[:60]}."
    return FieldErrors([Fault(field, message, Code.DUPLICATE_VALUE)])


def _sure(connection: sa.Connection, company_id: int) -> Company:
    company = select_company(connection, company_id)
    assert company is not None, "the transaction that wrote it sees it"
    return company


def _replace_domains(connection: sa.Connection, company_id: int, domains: Iterable[str]) -> None:
    connection.execute(company_domains.delete().where(company_domains.c.company_id == company_id))
    for domain in dict.fromkeys(map(domain_key, domains)):
        try:
            with connection.begin_nested():
                connection.execute(company_domains.insert().values(domain=domain, company_id=company_id))
        except IntegrityError:
            raise _taken("domains", domain) from None


def update_company(
    connection: sa.Connection, company: Company, changes: Mapping[str, Any], now: Microseconds
) -> Company:
    """Change fields of a company (names of `NewCompany`); None takes a value away, `domains` are replaced.

    Raises:
        FieldErrors: as `insert_company`.
    """
    values = {name: changes[name] for name in ("name", *_PLAIN) if name in changes}
    if "name" in changes:
        values["name_key"] = company_name_key(changes["name"])
    if "custom_fields" in changes:
        values["custom_fields"] = kept_custom_fields(company.custom_fields, changes["custom_fields"])
    written = companies.update().where(companies.c.id == company.id).values(**values, updated_at=now)
    try:
        with connection.begin_nested():
            connection.execute(written)
    except IntegrityError:
        raise _taken("name", changes["name"]) from None
    if "name" in changes:
        replace_name_words(connection, COMPANY, company.id, changes["name"])
    if "custom_fields" in changes:
        replace_custom_values(connection, COMPANY, company.id, values["custom_fields"])
    if "domains" in changes:
        _replace_domains(connection, company.id, changes["domains"] or ())
    return _sure(connection, company.id)


def delete_company(connection: sa.Connection, company_id: int) -> None:
    """Remove a company. Whoever still belongs to it is released before, see `release_some`."""
    forget_lookups(connection, COMPANY, company_id)
    connection.execute(companies.delete().where(companies.c.id == company_id))


def release_some(connection: sa.Connection, company_id: int, limit: int, now: Microseconds) -> int:
    """Take some contacts, then some tickets, out of a company; how many. 0 where none is left."""
    for table in (contacts, tickets):
        some = sa.select(table.c.id).where(table.c.company_id == company_id).limit(limit)
        found = connection.scalars(some).all()
        if found:
            change = table.update().where(table.c.id.in_(found))
            connection.execute(change.values(company_id=None, updated_at=now))
            return len(found)
    return 0


def select_unassigned(connection: sa.Connection, domains: Iterable[str]) -> list[int]:
    """The contacts without a company whose first email has one of these domains. Reads every contact's email."""
    ends = [sa.func.lower(contacts.c.email).endswith(f"@{domain}", autoescape=True) for domain in domains]
    if not ends:
        return []
    query = sa.select(contacts.c.id).where(contacts.c.company_id.is_(None), sa.or_(*ends))
    return list(connection.scalars(query))


def assign_company(
    connection: sa.Connection, company_id: int, contact_ids: Sequence[int], now: Microseconds
) -> None:
    """Put contacts that have no company into one."""
    nobody = sa.and_(contacts.c.id.in_(contact_ids), contacts.c.company_id.is_(None))
    connection.execute(contacts.update().where(nobody).values(company_id=company_id, updated_at=now))
