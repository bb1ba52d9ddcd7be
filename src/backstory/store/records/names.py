"""Queries on the names of contacts."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from backstory.store.records.tables import contacts


def select_contact_names(connection: sa.Connection, contact_ids: Sequence[int]) -> dict[int, str]:
    """The names of contacts, by their number."""
    rows = connection.execute(sa.select(contacts.c.id, contacts.c.name).where(contacts.c.id.in_(contact_ids)))
    return {row.id: row.name for row in rows}
