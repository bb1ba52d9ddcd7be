"""Queries on the activities that agents pinned to a contact."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.model.ids import ContactKey
from backstory.model.moment import Microseconds
from backstory.store.records.tables import contacts, pins


def select_pins(connection: sa.Connection, homes: Sequence[int]) -> list[str]:
    """The ids of the pinned activities of a contact with these homes, the latest pin first."""
    newest = sa.select(pins.c.activity_id).where(pins.c.contact_id.in_(homes))
    return list(connection.scalars(newest.order_by(pins.c.created_at.desc(), pins.c.activity_id)))


def insert_pin(
    connection: sa.Connection, home: ContactKey, activity_id: str, agent_id: int | None, now: Microseconds
) -> None:
    """Pin an activity to its home, so that it goes with it; one that is pinned already stays so."""
    contact_id = sa.select(contacts.c.id).where(contacts.c.key == home).scalar_subquery()
    row = {"contact_id": contact_id, "activity_id": activity_id, "agent_id": agent_id, "created_at": now}
    try:
        with connection.begin_nested():
            connection.execute(pins.insert().values(row))
    except IntegrityError:
        return  # somebody was first


def delete_pin(connection: sa.Connection, homes: Sequence[int], activity_id: str) -> None:
    """Take a pin away from a contact with these homes."""
    connection.execute(pins.delete().where(pins.c.contact_id.in_(homes), pins.c.activity_id == activity_id))
