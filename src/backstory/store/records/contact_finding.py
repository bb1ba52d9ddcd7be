"""Queries behind the contacts' pages: finding by anything that a contact is known by, and all of that of one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from backstory.model.contact import Contact, State
from backstory.model.identity import Kind, external_id_key, facebook_key, phone_key, twitter_key
from backstory.model.moment import Microseconds
from backstory.model.words import split_words
from backstory.store.records import lookups
from backstory.store.records.contacts import CONTACT, select_contacts
from backstory.store.records.homes import select_home_ids, select_survivors
from backstory.store.records.tables import LISTED, contact_phones, contacts, identifiers

COMPANY = "company"
MAX_KNOWN = 200
"""So many contacts are taken that are known by something that begins like the text."""

_HERE = "merged_into IS NULL AND NOT is_agent"
_STATES = {
    None: LISTED,
    State.BLOCKED: f"blocked_at IS NOT NULL AND deleted_at IS NULL AND {_HERE}",
    State.DELETED: f"deleted_at IS NOT NULL AND {_HERE}",
}


def select_found(
    connection: sa.Connection, text: str, state: State | None, region: str | None, limit: int, offset: int
) -> list[Contact]:
    """Contacts by name who are known by a text: their names and companies by words that begin so, or an identifier."""
    known = select_survivors(connection, _known_by(connection, text, region)).values()
    found: list[sa.ColumnElement[bool]] = [contacts.c.id.in_(set(known))]
    words = dict.fromkeys(split_words(text))
    if words:
        found.append(sa.and_(*map(_is_named, words)))
    ids = connection.scalars(
        sa.select(contacts.c.id)
        .where(sa.text(_STATES[state]), sa.or_(*found))
        .order_by(contacts.c.name_key, contacts.c.id)
        .limit(limit)
        .offset(offset)
    ).all()
    return select_contacts(connection, ids)


def _is_named(word: str) -> sa.ColumnElement[bool]:
    return sa.or_(
        lookups.has_name_word(CONTACT, contacts.c.id, word),
        lookups.has_name_word(COMPANY, contacts.c.company_id, word),
    )


def _known_by(connection: sa.Connection, text: str, region: str | None) -> set[int]:
    """Whoever has an identifier that is the text, an email that begins with it, or its number."""
    keys = [external_id_key(text), twitter_key(text), facebook_key(text)]
    emails = sa.and_(
        identifiers.c.kind == Kind.EMAIL,
        identifiers.c.key.startswith(f"email:{text.lower()}", autoescape=True),
    )
    in_other_systems = sa.and_(identifiers.c.kind == Kind.IDENTITY, identifiers.c.value == text)
    query = sa.select(identifiers.c.contact_id).where(
        sa.or_(identifiers.c.key.in_(keys), emails, in_other_systems)
    )
    found = set(connection.scalars(query.limit(MAX_KNOWN)))
    try:
        number = phone_key(text, region)
    except ValueError:
        return found
    holders = sa.select(contact_phones.c.contact_id).where(contact_phones.c.number == number)
    return found | set(connection.scalars(holders.limit(MAX_KNOWN)))


def select_identifiers(connection: sa.Connection, contact_id: int) -> list[tuple[Kind, str]]:
    """All that a contact is known by, with those of the contacts that were merged into it, oldest first."""
    rows = connection.execute(
        sa.select(identifiers.c.kind, identifiers.c.value)
        .where(identifiers.c.contact_id.in_(select_home_ids(connection, contact_id)))
        .order_by(identifiers.c.created_at, identifiers.c.key)
    )
    return [(Kind(row.kind), row.value) for row in rows]


def select_names(connection: sa.Connection, contact_ids: Collection[int]) -> dict[int, str]:
    """The names of contacts by number, merged ones their own; those that do not exist are left out."""
    rows = connection.execute(sa.select(contacts.c.id, contacts.c.name).where(contacts.c.id.in_(contact_ids)))
    return {row.id: row.name for row in rows}


def update_blocked(connection: sa.Connection, contact_id: int, moment: Microseconds) -> None:
    """Note that a contact is blocked."""
    values: dict[str, Any] = {"blocked_at": moment, "updated_at": moment}
    connection.execute(contacts.update().where(contacts.c.id == contact_id).values(values))
