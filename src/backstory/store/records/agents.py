"""Queries on agents and groups. An agent is a contact who works here: what both have is written to both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.access import Role
from backstory.model.agent import AgentDetails, AgentFilters, AgentState, Group
from backstory.model.contact import Contact
from backstory.model.identity import email_key
from backstory.model.moment import Microseconds
from backstory.model.words import split_words
from backstory.store.records.contacts import select_contact, select_numbered, update_contact
from backstory.store.records.tables import (
    agents,
    api_keys,
    contacts,
    drafts,
    group_members,
    groups,
    identifiers,
    sessions,
    ticket_watchers,
    tickets,
)

_OF_CONTACTS = ("job_title", "language", "mobile", "phone", "time_zone", "created_at", "updated_at")
_WRITTEN_TO_BOTH = ("name", "email")


def select_agent(connection: sa.Connection, agent_id: int) -> AgentDetails | None:
    """One agent; None where nobody with this number works here."""
    found = _agents(connection, _QUERY.where(agents.c.id == agent_id))
    return found[0] if found else None


_QUERY = (
    sa.select(agents, *(contacts.c[name].label(f"contact_{name}") for name in _OF_CONTACTS))
    .select_from(agents.join(contacts, contacts.c.id == agents.c.id))
    .where(contacts.c.is_agent)
)
"""Everybody who works here. Who was removed keeps a row in `agents`, and is a contact again."""


def select_page(
    connection: sa.Connection, filters: AgentFilters, region: str | None, limit: int, offset: int
) -> list[AgentDetails]:
    """Agents by their numbers."""
    query = _QUERY
    if filters.state is not None:
        query = query.where(agents.c.occasional == (filters.state is AgentState.OCCASIONAL))
    if filters.email is not None:
        holder = sa.select(identifiers.c.contact_id).where(identifiers.c.key == email_key(filters.email))
        query = query.where(agents.c.id.in_(holder))
    for field, number in (("phone", filters.phone), ("mobile", filters.mobile)):
        if number is not None:
            query = query.where(agents.c.id.in_(select_numbered(connection, field, number, region)))
    return _agents(connection, query.order_by(agents.c.id).limit(limit).offset(offset))


def _agents(connection: sa.Connection, query: sa.Select[Any]) -> list[AgentDetails]:
    rows = connection.execute(query).all()
    joined: dict[int, list[int]] = {row.id: [] for row in rows}
    members = sa.select(group_members).where(group_members.c.agent_id.in_(joined))
    for each in connection.execute(members.order_by(group_members.c.group_id)):
        joined[each.agent_id].append(each.group_id)
    return [_agent(row._asdict(), joined[row.id]) for row in rows]


def _agent(stored: Mapping[str, Any], group_ids: Iterable[int]) -> AgentDetails:
    fields = {name: stored[name] for name in AgentDetails.__struct_fields__ if name in stored}
    contact = {name: stored[f"contact_{name}"] for name in _OF_CONTACTS}
    return AgentDetails(
        **fields | {"role": Role(stored["role"])}, contact=contact, group_ids=tuple(group_ids)
    )


def select_suggested(connection: sa.Connection, term: str) -> list[tuple[int, str]]:
    """Numbers and names of agents in whose names words begin with all of the term's, by name."""
    beginnings = split_words(term)
    if not beginnings:
        return []
    rows = connection.execute(
        sa.select(agents.c.id, agents.c.name)
        .join(contacts, contacts.c.id == agents.c.id)
        .where(contacts.c.is_agent, agents.c.deactivated_at.is_(None))
        .order_by(contacts.c.name_key, agents.c.id)
    )
    return [
        (row.id, row.name)
        for row in rows
        if all(any(word.startswith(each) for word in split_words(row.name)) for each in beginnings)
    ]


# Writing.


def save_agent(
    connection: sa.Connection, contact: Contact, values: Mapping[str, Any], now: Microseconds
) -> None:
    """Make a contact an agent, or one again who was: without a password until one is set."""
    assert contact.email is not None, "whoever makes an agent has asked for the email"
    row: dict[str, Any] = {"email": contact.email, "email_key": contact.email.lower(), "name": contact.name}
    row |= {"password_hash": "", "role": Role.AGENT, "updated_at": now, "deactivated_at": None, **values}
    again = connection.execute(agents.update().where(agents.c.id == contact.id).values(row))
    if not again.rowcount:
        connection.execute(agents.insert().values(**row, id=contact.id, created_at=now))
    connection.execute(
        contacts.update().where(contacts.c.id == contact.id).values(is_agent=True, updated_at=now)
    )


def update_agent(
    connection: sa.Connection,
    agent: AgentDetails,
    values: Mapping[str, Any],
    of_contact: Mapping[str, Any],
    region: str | None,
    now: Microseconds,
) -> None:
    """Change an agent, and what stands with the contact.

    Raises:
        FieldErrors: 409, an email that another contact has.
    """
    if of_contact:
        contact = select_contact(connection, agent.id)
        assert contact is not None, "an agent is a contact"
        update_contact(connection, contact, of_contact, region, now)
    row = {**values, **{name: of_contact[name] for name in _WRITTEN_TO_BOTH if name in of_contact}}
    if "email" in row:
        row["email_key"] = row["email"].lower()
    connection.execute(agents.update().where(agents.c.id == agent.id).values(**row, updated_at=now))


def remove_agent(connection: sa.Connection, agent_id: int, now: Microseconds) -> None:
    """Make an agent a contact again: no key, no session, no ticket and no group is left to them."""
    gone = {"deactivated_at": now, "password_hash": "", "role": Role.AGENT, "updated_at": now}
    gone["email_key"] = f"#{agent_id}"  # the email is the contact's again, to change or to give up
    connection.execute(agents.update().where(agents.c.id == agent_id).values(gone))
    connection.execute(
        contacts.update().where(contacts.c.id == agent_id).values(is_agent=False, updated_at=now)
    )
    connection.execute(
        api_keys.update()
        .where(api_keys.c.agent_id == agent_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    connection.execute(
        tickets.update().where(tickets.c.responder_id == agent_id).values(responder_id=None, updated_at=now)
    )
    for table in (sessions, group_members, ticket_watchers, drafts):
        connection.execute(table.delete().where(table.c.agent_id == agent_id))


# Groups.


def select_group(connection: sa.Connection, group_id: int) -> Group | None:
    """One group; None where there is none with this number."""
    found = _groups(connection, sa.select(groups).where(groups.c.id == group_id))
    return found[0] if found else None


def select_groups(connection: sa.Connection, limit: int, offset: int) -> list[Group]:
    """Groups by name."""
    query = sa.select(groups).order_by(groups.c.name, groups.c.id).limit(limit).offset(offset)
    return _groups(connection, query)


def _groups(connection: sa.Connection, query: sa.Select[Any]) -> list[Group]:
    rows = connection.execute(query).all()
    members: dict[int, list[int]] = {row.id: [] for row in rows}
    joined = sa.select(group_members).where(group_members.c.group_id.in_(members))
    for each in connection.execute(joined.order_by(group_members.c.agent_id)):
        members[each.group_id].append(each.agent_id)
    return [Group(**row._asdict(), agent_ids=tuple(members[row.id])) for row in rows]


def insert_group(connection: sa.Connection, values: Mapping[str, Any], now: Microseconds) -> int:
    """Create a group; its number.

    Raises:
        FieldErrors: 409, another one has the name.
    """
    try:
        with connection.begin_nested():
            made = connection.execute(groups.insert().values(**values, created_at=now, updated_at=now))
    except IntegrityError:
        raise _name_taken() from None
    return int(made.inserted_primary_key[0])  # type: ignore[index]


def update_group(
    connection: sa.Connection, group_id: int, values: Mapping[str, Any], now: Microseconds
) -> None:
    """Change a group.

    Raises:
        FieldErrors: as `insert_group`.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                groups.update().where(groups.c.id == group_id).values(**values, updated_at=now)
            )
    except IntegrityError:
        raise _name_taken() from None


def _name_taken() -> FieldErrors:
    message = "It should be a unique value; another group has it."
    return FieldErrors([Fault("name", message, Code.DUPLICATE_VALUE)])


def delete_group(connection: sa.Connection, group_id: int, now: Microseconds) -> None:
    """Remove a group; its tickets stay, in no group."""
    connection.execute(
        tickets.update().where(tickets.c.group_id == group_id).values(group_id=None, updated_at=now)
    )
    connection.execute(group_members.delete().where(group_members.c.group_id == group_id))
    connection.execute(groups.delete().where(groups.c.id == group_id))


def replace_members(connection: sa.Connection, group_id: int, agent_ids: Collection[int]) -> None:
    """Let exactly these agents be in a group.

    Raises:
        FieldErrors: one of them does not work here.
    """
    known = sa.select(contacts.c.id).where(contacts.c.is_agent, contacts.c.id.in_(agent_ids))
    _refuse_unknown("agent_ids", "agent", agent_ids, connection.scalars(known).all())
    connection.execute(group_members.delete().where(group_members.c.group_id == group_id))
    rows = [{"group_id": group_id, "agent_id": each} for each in agent_ids]
    if rows:
        connection.execute(group_members.insert(), rows)


def replace_groups(connection: sa.Connection, agent_id: int, group_ids: Collection[int]) -> None:
    """Let an agent be in exactly these groups.

    Raises:
        FieldErrors: one of them does not exist.
    """
    known = connection.scalars(sa.select(groups.c.id).where(groups.c.id.in_(group_ids))).all()
    _refuse_unknown("group_ids", "group", group_ids, known)
    connection.execute(group_members.delete().where(group_members.c.agent_id == agent_id))
    rows = [{"group_id": each, "agent_id": agent_id} for each in group_ids]
    if rows:
        connection.execute(group_members.insert(), rows)


def _refuse_unknown(field: str, what: str, wanted: Collection[int], known: Sequence[int]) -> None:
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        message = f"There is no {what} {unknown[0]}."
        raise FieldErrors([Fault(field, message, Code.INVALID_VALUE)])
