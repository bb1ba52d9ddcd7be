"""Queries that erase a contact: everything about the person, in whichever table, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from msgspec import Struct

from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds
from backstory.store.records.contacts import CONTACT
from backstory.store.records.lookups import forget_lookups
from backstory.store.records.tables import (
    attachments,
    contact_merges,
    contacts,
    conversations,
    erasures,
    identifiers,
    outgoing_mail,
    rejections,
    tickets,
)

SHORTEST_TRACE = 6
"""Refused requests are searched for values of so many characters and more: shorter ones stand in anybody's."""

AT_ONCE = 1_000
"""How many erasures are looked at together."""


class Erasure(Struct, frozen=True):
    """A contact that is gone, whose tickets and activities are being removed: its numbers, and its keys in the log."""

    id: int
    contact_ids: tuple[int, ...]
    keys: tuple[ContactKey, ...]


def erase_contact(connection: sa.Connection, homes: Collection[int], now: Microseconds) -> list[str]:
    """Remove a contact with all its homes; its tickets and activities are noted to follow. The files that it had.

    Its identifiers are free at once. What it leaves is the note, which holds no personal value.
    """
    # Locked first: who is adding to them in another transaction ends before, and what it added is seen from here on.
    theirs = sa.select(contacts.c.id, contacts.c.key).where(contacts.c.id.in_(homes)).with_for_update()
    rows = connection.execute(theirs).all()
    note = {"ids": [row.id for row in rows], "keys": [row.key.hex() for row in rows]}
    _forget_refusals(connection, homes)
    files = _delete_files(connection, CONTACT, homes)
    for contact_id in homes:
        forget_lookups(connection, CONTACT, contact_id)
    either = sa.or_(contact_merges.c.primary_id.in_(homes), contact_merges.c.secondary_id.in_(homes))
    connection.execute(contact_merges.delete().where(either))
    connection.execute(contacts.delete().where(contacts.c.id.in_(homes)))
    connection.execute(erasures.insert().values(homes=note, created_at=now))
    return files


def _forget_refusals(connection: sa.Connection, homes: Collection[int]) -> None:
    """Remove refused requests that hold an identifier of a contact."""
    values = connection.scalars(
        sa.select(identifiers.c.value).where(identifiers.c.contact_id.in_(homes))
    ).all()
    body = sa.func.lower(rejections.c.body)
    traces = [
        body.contains(value.lower(), autoescape=True) for value in values if len(value) >= SHORTEST_TRACE
    ]
    if traces:
        connection.execute(rejections.delete().where(sa.or_(*traces)))


def _delete_files(connection: sa.Connection, owner: str, owner_ids: Collection[int]) -> list[str]:
    """Forget the attachments of records; their names on the disk."""
    theirs = sa.and_(attachments.c.owner == owner, attachments.c.owner_id.in_(owner_ids))
    files = list(connection.scalars(sa.select(attachments.c.stored_as).where(theirs)))
    if files:
        connection.execute(attachments.delete().where(theirs))
    return files


def erase_tickets(connection: sa.Connection, contact_ids: Sequence[int], limit: int) -> tuple[int, list[str]]:
    """Remove some tickets of an erased contact, with all that belongs to them; how many, and their files."""
    query = sa.select(tickets.c.id).where(tickets.c.requester_id.in_(contact_ids)).limit(limit)
    ids = list(connection.scalars(query))
    if not ids:
        return 0, []
    said = list(connection.scalars(sa.select(conversations.c.id).where(conversations.c.ticket_id.in_(ids))))
    files = _delete_files(connection, "conversation", said) + _delete_files(connection, "ticket", ids)
    connection.execute(outgoing_mail.delete().where(outgoing_mail.c.conversation_id.in_(said)))
    for ticket_id in ids:
        forget_lookups(connection, "ticket", ticket_id)
    connection.execute(tickets.delete().where(tickets.c.id.in_(ids)))
    return len(ids), files


def select_erasures(connection: sa.Connection) -> list[Erasure]:
    """Erasures that are not done, the oldest first."""
    query = sa.select(erasures.c.id, erasures.c.homes).where(erasures.c.done_at.is_(None))
    rows = connection.execute(query.order_by(erasures.c.id).limit(AT_ONCE)).all()
    return [
        Erasure(row.id, tuple(row.homes["ids"]), tuple(bytes.fromhex(key) for key in row.homes["keys"]))
        for row in rows
    ]


def finish_erasure(connection: sa.Connection, erasure_id: int, now: Microseconds) -> None:
    """Note that nothing is left of a contact."""
    connection.execute(erasures.update().where(erasures.c.id == erasure_id).values(done_at=now))
