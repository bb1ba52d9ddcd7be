"""Queries on the records, in SQLAlchemy Core: the same on every relational engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.errors import OperatorError
from backstory.model.access import Agent, AuditEntry, KeyInfo, Principal, Rejection, Role
from backstory.model.contact import Contact, NewContact
from backstory.model.identity import email_key
from backstory.model.moment import Microseconds
from backstory.store.base import Bookmark
from backstory.store.records.contacts import insert_contact, select_contact
from backstory.store.records.tables import (
    agents,
    api_keys,
    audit_log,
    bookmarks,
    contacts,
    identifiers,
    rejections,
)

MAX_REJECTIONS = 10_000
MAX_REJECTION_AGE = 30 * 24 * 3600 * 1_000_000


def select_principal(connection: sa.Connection, key_hash: bytes) -> Principal | None:
    """Whose key this is; None where it is unknown or revoked, or its agent does not work here any more."""
    row = connection.execute(
        sa.select(
            api_keys.c.id, api_keys.c.agent_id, api_keys.c.sources, api_keys.c.expires_at, agents.c.role
        )
        .select_from(api_keys.outerjoin(agents))
        .where(
            api_keys.c.hash == key_hash,
            api_keys.c.revoked_at.is_(None),
            agents.c.deactivated_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return None
    role = Role(row.role) if row.role else None
    return Principal(row.id, row.agent_id, role, frozenset(row.sources), row.expires_at)


def insert_agent(
    connection: sa.Connection, email: str, name: str, role: Role, password_hash: str, now: Microseconds
) -> Agent:
    """Create an agent.

    Raises:
        OperatorError: there is one with this email.
    """
    contact = _contact_of(connection, email, name, now)
    row = {"email": email, "email_key": email.lower(), "name": name, "role": role, "updated_at": now}
    row |= {"password_hash": password_hash, "deactivated_at": None}
    if not contact.is_agent:  # who was removed is let in again with the row that was kept
        again = connection.execute(agents.update().where(agents.c.id == contact.id).values(row))
        if again.rowcount:
            return _let_in(connection, contact.id, email, name, role, now)
    try:
        connection.execute(agents.insert().values(**row, id=contact.id, created_at=now))
    except IntegrityError:
        raise OperatorError(f"there is an agent with the email {email} already") from None
    return _let_in(connection, contact.id, email, name, role, now)


def _let_in(
    connection: sa.Connection, agent_id: int, email: str, name: str, role: Role, now: Microseconds
) -> Agent:
    connection.execute(contacts.update().where(contacts.c.id == agent_id).values(is_agent=True))
    return Agent(agent_id, email, name, role, now)


def _contact_of(connection: sa.Connection, email: str, name: str, now: Microseconds) -> Contact:
    """The contact who has an agent's email, made where there is none: both have one number."""
    key = email_key(email)
    holder = connection.scalar(sa.select(identifiers.c.contact_id).where(identifiers.c.key == key))
    if holder is None:
        return insert_contact(connection, NewContact(name, email=email), None, now)
    contact = select_contact(connection, holder)
    assert contact is not None, "an identifier belongs to a contact"
    return contact


def insert_key(
    connection: sa.Connection,
    key_hash: bytes,
    hint: str,
    agent_email: str | None,
    sources: Sequence[str],
    expires: Microseconds | None,
    now: Microseconds,
) -> int:
    """Keep a key's hash; its number.

    Raises:
        OperatorError: there is no such agent.
    """
    agent_id = None
    if agent_email is not None:
        agent_id = connection.scalar(sa.select(agents.c.id).where(agents.c.email_key == agent_email.lower()))
        if agent_id is None:
            raise OperatorError(
                f"there is no agent with the email {agent_email}; create one with 'agents create'"
            )
    values = {"hash": key_hash, "hint": hint, "agent_id": agent_id, "sources": list(sources)}
    inserted = connection.execute(api_keys.insert().values(**values, created_at=now, expires_at=expires))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def select_keys(connection: sa.Connection) -> list[KeyInfo]:
    """Every key ever issued, oldest first."""
    rows = connection.execute(
        sa.select(api_keys, agents.c.email).select_from(api_keys.outerjoin(agents)).order_by(api_keys.c.id)
    )
    return [
        KeyInfo(
            row.id, row.hint, row.email, tuple(row.sources), row.created_at, row.expires_at, row.revoked_at
        )
        for row in rows
    ]


def update_key_revoked(connection: sa.Connection, key_id: int, now: Microseconds) -> bool:
    """End a key; False where there is none or it was revoked before."""
    changed = connection.execute(
        api_keys.update()
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return changed.rowcount == 1


def add_audit(connection: sa.Connection, entry: AuditEntry) -> None:
    """Add an entry to the audit log."""
    connection.execute(audit_log.insert().values(**_fields(entry)))


def select_audit(connection: sa.Connection, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
    """Entries of the audit log with their numbers, newest first."""
    return [_numbered(row, AuditEntry) for row in _newest(connection, audit_log, before, limit)]


def insert_rejections(connection: sa.Connection, kept: Iterable[Rejection], now: Microseconds) -> None:
    """Keep refused requests, and drop those beyond the limits in number and days."""
    connection.execute(rejections.insert(), [{**_fields(item), "errors": list(item.errors)} for item in kept])
    newest = sa.select(sa.func.max(rejections.c.id)).scalar_subquery()
    connection.execute(
        rejections.delete().where(
            sa.or_(rejections.c.at < now - MAX_REJECTION_AGE, rejections.c.id <= newest - MAX_REJECTIONS)
        )
    )


def select_rejections(
    connection: sa.Connection, before: int | None, limit: int, source: str | None = None
) -> list[tuple[int, Rejection]]:
    """Refused requests with their numbers, newest first; of one source where it is named."""
    of_source = () if source is None else (rejections.c.source == source,)
    return [_numbered(row, Rejection) for row in _newest(connection, rejections, before, limit, *of_source)]


def _newest(
    connection: sa.Connection,
    table: sa.Table,
    before: int | None,
    limit: int,
    *conditions: sa.ColumnElement[bool],
) -> Iterable[sa.Row[Any]]:
    query = sa.select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit)
    return connection.execute(query if before is None else query.where(table.c.id < before))


def _numbered(row: sa.Row[Any], kind: type[Any]) -> tuple[int, Any]:
    fields = row._asdict()
    return fields.pop("id"), kind(**fields)


def _fields(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__struct_fields__}


def select_bookmark(connection: sa.Connection, name: str) -> Bookmark | None:
    """How far a named import came."""
    row = connection.execute(sa.select(bookmarks).where(bookmarks.c.name == name)).one_or_none()
    return Bookmark(*row) if row else None


def save_bookmark(connection: sa.Connection, bookmark: Bookmark) -> None:
    """Note how far a named import came."""
    connection.execute(bookmarks.delete().where(bookmarks.c.name == bookmark.name))
    connection.execute(bookmarks.insert().values(**_fields(bookmark)))
