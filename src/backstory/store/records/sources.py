"""Queries on the sources: how the workspace shows what they send."""

from __future__ import annotations

import sqlalchemy as sa

from backstory.store.records.tables import api_keys, sources


def select_minor_unit_sources(connection: sa.Connection) -> frozenset[str]:
    """The sources that send amounts in cents and the like."""
    return frozenset(connection.scalars(sa.select(sources.c.name).where(sources.c.minor_units)))


def select_expected_sources(connection: sa.Connection) -> list[str]:
    """The sources that somebody set up: those that are listed, and those that a key may publish under."""
    listed = connection.scalars(sa.select(sources.c.name).order_by(sources.c.name)).all()
    keyed = connection.scalars(
        sa.select(api_keys.c.sources).where(api_keys.c.revoked_at.is_(None)).order_by(api_keys.c.id)
    ).all()
    return list(dict.fromkeys([*listed, *(name for names in keyed for name in names)]))
