"""Queries on who works here: agents as they are listed, and what admins change of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from backstory.model.access import Colleague, Role
from backstory.model.moment import Microseconds
from backstory.store.records.tables import agents, contacts, groups, sessions

_COLUMNS = (
    agents.c.id,
    agents.c.email,
    agents.c.name,
    agents.c.role,
    agents.c.created_at,
    agents.c.last_active_at,
    agents.c.deactivated_at,
    (agents.c.password_hash != "").label("has_password"),
)


_QUERY = (
    sa.select(*_COLUMNS)
    .select_from(agents.join(contacts, contacts.c.id == agents.c.id))
    .where(contacts.c.is_agent)
)
"""Who works here, and who was let go; not who was made a contact again."""


def select_staff(connection: sa.Connection) -> list[Colleague]:
    """Everybody who works here or was let go, by name."""
    rows = connection.execute(_QUERY.order_by(agents.c.name, agents.c.id))
    return [_colleague(row) for row in rows]


def select_colleague(connection: sa.Connection, agent_id: int) -> Colleague | None:
    """One agent; None where there is none with this number."""
    row = connection.execute(_QUERY.where(agents.c.id == agent_id)).one_or_none()
    return _colleague(row) if row else None


def select_colleague_id(connection: sa.Connection, email: str) -> int | None:
    """The number of the agent with an email; None where nobody who works here or was let go has it."""
    return connection.scalar(
        sa.select(agents.c.id)
        .join(contacts, contacts.c.id == agents.c.id)
        .where(contacts.c.is_agent, agents.c.email_key == email.strip().lower())
    )


def _colleague(row: sa.Row[Any]) -> Colleague:
    return Colleague(**row._asdict() | {"role": Role(row.role), "has_password": bool(row.has_password)})


def has_other_admin(connection: sa.Connection, agent_id: int) -> bool:
    """Whether somebody else could still do what this admin can. Locks them all: two who leave at once take turns."""
    rows = connection.scalars(
        sa.select(agents.c.id)
        .where(agents.c.role == Role.ADMIN, agents.c.deactivated_at.is_(None))
        .order_by(agents.c.id)
        .with_for_update()
    )
    return any(each != agent_id for each in rows)


def update_agent(connection: sa.Connection, agent_id: int, now: Microseconds, **values: Any) -> None:
    """Change an agent."""
    connection.execute(agents.update().where(agents.c.id == agent_id).values(**values, updated_at=now))


def delete_sessions_of(connection: sa.Connection, agent_id: int) -> None:
    """End every session of an agent."""
    connection.execute(sessions.delete().where(sessions.c.agent_id == agent_id))


def select_group_names(connection: sa.Connection) -> list[tuple[int, str]]:
    """The groups, by name."""
    rows = connection.execute(sa.select(groups.c.id, groups.c.name).order_by(groups.c.name))
    return [(row.id, row.name) for row in rows]
