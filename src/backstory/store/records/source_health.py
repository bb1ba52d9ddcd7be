"""Queries on how sources do: what is set for one, which names are known, what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.model.moment import Microseconds
from backstory.store.records.tables import api_keys, rejections, sources


class RecordedSources(NamedTuple):
    """What the records know of sources: minor units by name, names of keys in force, how many requests were refused."""

    minor_units: Mapping[str, bool]
    with_keys: set[str]
    rejected: Mapping[str, int]


def select_recorded_sources(connection: sa.Connection) -> RecordedSources:
    """Whatever the records know of sources."""
    return RecordedSources(
        select_minor_units(connection), select_key_sources(connection), select_rejected_counts(connection)
    )


def select_minor_units(connection: sa.Connection) -> dict[str, bool]:
    """The sources that something was set for, and whether each sends amounts in minor units."""
    rows = connection.execute(sa.select(sources.c.name, sources.c.minor_units))
    return {row.name: row.minor_units for row in rows}


def save_minor_units(connection: sa.Connection, name: str, minor_units: bool, moment: Microseconds) -> None:
    """Set whether a source sends amounts in minor units."""
    change = sources.update().where(sources.c.name == name).values(minor_units=minor_units, updated_at=moment)
    if connection.execute(change).rowcount:
        return
    values = {"name": name, "minor_units": minor_units, "created_at": moment, "updated_at": moment}
    try:
        with connection.begin_nested():
            connection.execute(sources.insert().values(values))
    except IntegrityError:  # another process was first
        connection.execute(change)


def select_key_sources(connection: sa.Connection) -> set[str]:
    """The names that the keys in force may publish under."""
    rows = connection.scalars(sa.select(api_keys.c.sources).where(api_keys.c.revoked_at.is_(None)))
    return {name for names in rows for name in names}


def select_rejected_counts(connection: sa.Connection) -> dict[str, int]:
    """How many refused requests are kept of each source that could be read in one."""
    rows = connection.execute(
        sa.select(rejections.c.source, sa.func.count().label("count_"))
        .where(rejections.c.source.is_not(None))
        .group_by(rejections.c.source)
        .order_by(rejections.c.source)
    )
    return {row.source: row.count_ for row in rows}
