"""Queries on sessions and on failed sign-ins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy.exc import IntegrityError

from backstory.model.access import Role, Session
from backstory.model.moment import Microseconds
from backstory.store.records.tables import agents, sessions, sign_in_failures


class Failures(Struct, frozen=True):
    """How often a sign-in failed in a row, and when it last did."""

    count: int
    last_at: Microseconds


def has_agents(connection: sa.Connection) -> bool:
    """Whether anybody works here yet."""
    return connection.scalar(sa.select(agents.c.id).limit(1)) is not None


def select_password(connection: sa.Connection, email_key: str) -> tuple[int, str] | None:
    """The number and the password hash of the agent with this email; None where there is none who works here."""
    row = connection.execute(
        sa.select(agents.c.id, agents.c.password_hash).where(
            agents.c.email_key == email_key, agents.c.deactivated_at.is_(None)
        )
    ).one_or_none()
    return (row.id, row.password_hash) if row else None


def insert_session(
    connection: sa.Connection, token_hash: bytes, agent_id: int, now: Microseconds, expires: Microseconds
) -> None:
    """Begin a session, note the sign-in, and drop the sessions that have expired."""
    connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
    connection.execute(
        sessions.insert().values(
            hash=token_hash,
            agent_id=agent_id,
            created_at=now,
            seen_at=now,
            expires_at=expires,
            preferences={},
        )
    )
    connection.execute(
        agents.update().where(agents.c.id == agent_id).values(last_login_at=now, last_active_at=now)
    )


def select_session(connection: sa.Connection, token_hash: bytes) -> Session | None:
    """A session with its agent; None where there is none, or its agent does not work here any more."""
    row = connection.execute(
        sa.select(sessions, agents.c.name, agents.c.email, agents.c.role)
        .select_from(sessions.join(agents))
        .where(sessions.c.hash == token_hash, agents.c.deactivated_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    return Session(
        agent_id=row.agent_id,
        name=row.name,
        email=row.email,
        role=Role(row.role),
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        preferences=row.preferences,
    )


def update_session_seen(connection: sa.Connection, token_hash: bytes, now: Microseconds) -> None:
    """Note that a session is in use, and its agent active."""
    connection.execute(sessions.update().where(sessions.c.hash == token_hash).values(seen_at=now))
    agent = sa.select(sessions.c.agent_id).where(sessions.c.hash == token_hash).scalar_subquery()
    connection.execute(agents.update().where(agents.c.id == agent).values(last_active_at=now))


def update_preferences(connection: sa.Connection, token_hash: bytes, changes: Mapping[str, Any]) -> None:
    """Change how a session's agent wants things shown."""
    kept = connection.scalar(sa.select(sessions.c.preferences).where(sessions.c.hash == token_hash))
    if kept is not None:
        connection.execute(
            sessions.update().where(sessions.c.hash == token_hash).values(preferences={**kept, **changes})
        )


def delete_session(connection: sa.Connection, token_hash: bytes) -> None:
    """End a session."""
    connection.execute(sessions.delete().where(sessions.c.hash == token_hash))


def select_failures(connection: sa.Connection, key: bytes) -> Failures:
    """How often a sign-in failed that is counted under this key."""
    row = connection.execute(
        sa.select(sign_in_failures.c.count, sign_in_failures.c.last_at).where(sign_in_failures.c.key == key)
    ).one_or_none()
    return Failures(row[0], row[1]) if row else Failures(0, 0)


def save_failures(connection: sa.Connection, key: bytes, failures: Failures) -> None:
    """Keep a count; one of zero is forgotten."""
    if failures.count <= 0:
        connection.execute(sign_in_failures.delete().where(sign_in_failures.c.key == key))
        return
    change = sign_in_failures.update().where(sign_in_failures.c.key == key).values(asdict(failures))
    if connection.execute(change).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(sign_in_failures.insert().values(key=key, **asdict(failures)))
    except IntegrityError:  # another process was first
        connection.execute(change)


def delete_failures_before(connection: sa.Connection, moment: Microseconds) -> None:
    """Forget what is long ago."""
    connection.execute(sign_in_failures.delete().where(sign_in_failures.c.last_at < moment))
