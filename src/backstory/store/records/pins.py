"""Queries on the activities that agents pinned to a contact."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.model.moment import Microseconds
from backstory.store.records.tables import pins


def select_pins(connection: sa.Connection, contact_id: int) -> list[str]:
    """The ids of a contact's pinned activities, the latest pin first."""
    newest = sa.select(pins.c.activity_id).where(pins.c.contact_id == contact_id)
    return list(connection.scalars(newest.order_by(pins.c.created_at.desc(), pins.c.activity_id)))


def insert_pin(
    connection: sa.Connection, contact_id: int, activity_id: str, agent_id: int | None, now: Microseconds
) -> None:
    """Pin an activity; one that is pinned already stays so."""
    row = {"contact_id": contact_id, "activity_id": activity_id, "agent_id": agent_id, "created_at": now}
    try:
        with connection.begin_nested():
            connection.execute(pins.insert().values(row))
    except IntegrityError:
        return  # somebody was first


def delete_pin(connection: sa.Connection, contact_id: int, activity_id: str) -> None:
    """Take a pin away."""
    connection.execute(
        pins.delete().where(pins.c.contact_id == contact_id, pins.c.activity_id == activity_id)
    )
