"""Queries on tickets: one, lists in their orders, and what is written about them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import sqlalchemy as sa

from backstory.model.attachment import Attachment
from backstory.model.custom_field import CustomField, shown_custom_fields
from backstory.model.identity import email_key, external_id_key
from backstory.model.moment import Microseconds
from backstory.model.ticket import (
    Named,
    Order,
    Priority,
    Requester,
    Stats,
    Status,
    Ticket,
    TicketFilters,
    TicketSource,
    View,
)
from backstory.store.records import attachments, fields, lookups
from backstory.store.records.homes import select_home_ids, select_survivors
from backstory.store.records.tables import (
    agents,
    companies,
    contacts,
    groups,
    identifiers,
    ticket_watchers,
    tickets,
)
from backstory.store.records.writing import insert_if_absent

OWNER, CONTACT = "ticket", "contact"

IS_SPAM = "tickets.spam IS true"
"""Word for word as the index of spam says it: SQLite takes an index for part of a table only then."""

FEW_CHANGED = 10_000
"""Up to so many tickets that changed since a moment are looked up and sorted; more are met by walking the list."""

MAX_BRANCHES = 24
"""Up to so many alternatives are each read in order from an index, and joined; more are sorted."""

_LISTS = ("cc_emails", "fwd_emails", "reply_cc_emails", "ticket_cc_emails", "tags")
_AS_THEY_ARE = (
    "id subject description description_text type responder_id group_id company_id product_id email_config_id"
    " support_email spam merged_into due_by fr_due_by nr_due_by parent_id thread_id created_at"
    " updated_at"
).split()

Branch = tuple[sa.ColumnElement[bool], ...]
"""Conditions that must all hold."""


# One ticket.


def select_ticket(connection: sa.Connection, ticket_id: int) -> Ticket | None:
    """One ticket, deleted ones too; None where there is none."""
    found = select_tickets(connection, [ticket_id])
    return found[0] if found else None


def select_tickets(connection: sa.Connection, ticket_ids: Sequence[int]) -> list[Ticket]:
    """Tickets by their numbers, in that order; those that do not exist are left out."""
    if not ticket_ids:
        return []
    rows = connection.execute(sa.select(tickets).where(tickets.c.id.in_(ticket_ids))).all()
    stand_for = select_survivors(connection, {row.requester_id for row in rows})
    files = attachments.select_by_owners(connection, OWNER, ticket_ids)
    added = fields.select_fields(connection, OWNER)
    found = {row.id: _ticket(row, stand_for, files.get(row.id, ()), added) for row in rows}
    return [found[each] for each in ticket_ids if each in found]


def _ticket(
    row: sa.Row[Any],
    stand_for: Mapping[int, int],
    files: Iterable[Attachment],
    added: Sequence[CustomField],
) -> Ticket:
    stored = row._asdict()
    values: dict[str, Any] = {name: stored[name] for name in _AS_THEY_ARE}
    values |= {name: tuple(stored[name]) for name in _LISTS}
    return Ticket(
        **values,
        custom_fields=shown_custom_fields(added, row.custom_fields),
        to_emails=None if row.to_emails is None else tuple(row.to_emails),
        status=Status(row.status),
        priority=Priority(row.priority),
        source=TicketSource(row.source),
        requester_id=stand_for.get(row.requester_id, row.requester_id),
        home_id=row.requester_id,
        deleted=row.deleted_at is not None,
        stats=Stats(**{name: stored[name] for name in Stats.__struct_fields__}),
        attachments=tuple(files),
    )


def lock_ticket(connection: sa.Connection, ticket_id: int) -> Ticket | None:
    """One ticket for a change of it: whoever changes it at the same moment waits. None where there is none."""
    connection.execute(sa.select(tickets.c.id).where(tickets.c.id == ticket_id).with_for_update())
    return select_ticket(connection, ticket_id)


def insert_ticket(connection: sa.Connection, values: Mapping[str, Any]) -> int:
    """Create a ticket; its number."""
    inserted = connection.execute(tickets.insert().values(**values))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def update_ticket(connection: sa.Connection, ticket_id: int, values: Mapping[str, Any]) -> None:
    """Write some columns of a ticket."""
    connection.execute(tickets.update().where(tickets.c.id == ticket_id).values(**values))


# Lists.


def select_page(
    connection: sa.Connection,
    filters: TicketFilters,
    order: Order,
    *,
    descending: bool,
    viewer: int,
    offset: int,
    limit: int,
) -> list[Ticket]:
    """Tickets in an order, ties by creation and number. `viewer` is the agent whose own tickets some views mean."""
    query = page_query(connection, filters, order, descending, viewer, offset, limit)
    return select_tickets(connection, list(connection.scalars(query))) if query is not None else []


def page_query(
    connection: sa.Connection,
    filters: TicketFilters,
    order: Order,
    descending: bool,
    viewer: int,
    offset: int,
    limit: int,
) -> sa.Select[tuple[int]] | None:
    """What finds the numbers of a page; None where nothing can be found.

    Every alternative is a query of its own that an index answers in order, as far as the page reaches.
    """
    few_changed = filters.updated_since is not None and _are_few(connection, filters.updated_since)
    shared = _shared_conditions(filters, order, few_changed)
    # Where few are left to be sorted, nothing is won by reading each status for itself.
    statuses = Status if order is Order.STATUS and not few_changed else ()
    branches = _branches(filters, viewer, statuses)
    if not branches:
        return None
    if len(branches) > MAX_BRANCHES:
        branches = [(sa.or_(*(sa.and_(*branch) for branch in branches)),)]
    keys = _order_columns(order, sort=few_changed)
    columns = [key.label(f"key_{number}") for number, key in enumerate(keys)]

    def ordered(key: Any) -> Any:
        return key.desc() if descending else key.asc()

    parts = [
        sa.select(*columns)
        .where(*shared, *branch)
        .order_by(*map(ordered, keys))
        .limit(offset + limit)
        .subquery()
        for branch in branches
    ]
    found = sa.union_all(*(sa.select(part) for part in parts)).subquery() if len(parts) > 1 else parts[0]
    number = found.c[f"key_{len(keys) - 1}"]
    return sa.select(number).order_by(*map(ordered, found.c)).offset(offset).limit(limit)


def _order_columns(order: Order, *, sort: bool) -> list[sa.ColumnElement[Any]]:
    """`sort` says that few rows are left, so that no index is to be walked for their order."""
    by: dict[Order, list[sa.ColumnElement[Any]]] = {
        Order.CREATED: [tickets.c.created_at],
        Order.UPDATED: [tickets.c.updated_at],
        Order.DUE: [tickets.c.due_by],
        Order.STATUS: [tickets.c.status, tickets.c.created_at],
    }
    keys = by[order]
    return [*((key + 0 if sort else key) for key in keys), tickets.c.id]


def _are_few(connection: sa.Connection, since: Microseconds) -> bool:
    changed = sa.select(sa.literal(1)).where(tickets.c.updated_at >= since).limit(FEW_CHANGED + 1)
    count = connection.scalar(sa.select(sa.func.count()).select_from(changed.subquery()))
    return count is not None and count <= FEW_CHANGED


def _shared_conditions(filters: TicketFilters, order: Order, few_changed: bool) -> list[Any]:
    conditions: list[Any] = []
    if filters.view is View.DELETED:
        conditions.append(tickets.c.deleted_at.is_not(None))
    elif filters.view is View.SPAM:
        conditions += [sa.text(IS_SPAM), tickets.c.deleted_at.is_(None)]
    else:
        conditions += [tickets.c.deleted_at.is_(None), tickets.c.spam.is_(sa.false())]
    if filters.company_id is not None:
        conditions.append(tickets.c.company_id == filters.company_id)
    if filters.group_id is not None:
        conditions.append(tickets.c.group_id == filters.group_id)
    if filters.updated_since is not None:
        changed = tickets.c.updated_at if few_changed or order is Order.UPDATED else tickets.c.updated_at + 0
        conditions.append(changed >= filters.updated_since)
    if filters.created_since is not None:
        conditions.append(tickets.c.created_at >= filters.created_since)
        # Nothing is due, or was changed, before it was created: the walk begins there.
        if order in (Order.DUE, Order.UPDATED):
            column = tickets.c.due_by if order is Order.DUE else tickets.c.updated_at
            conditions.append(column >= filters.created_since)
    conditions += [_says(word) for word in filters.words]
    return conditions


def _says(word: str) -> sa.ColumnElement[bool]:
    """Whether a word begins one of the subject's, or one of the requester's name."""
    return sa.or_(
        lookups.has_name_word(OWNER, tickets.c.id, word),
        lookups.has_name_word(CONTACT, tickets.c.requester_id, word),
    )


def _branches(filters: TicketFilters, viewer: int, walked: Iterable[Status]) -> list[Branch]:
    """The alternatives of a list; none where nothing can be found. `walked` are statuses to be read one by one."""
    statuses = filters.statuses
    alternatives: list[list[Branch]] = []
    if filters.view in (View.NEW_AND_MY_OPEN, View.MY_OPEN):
        statuses = (Status.OPEN,)
        nobody = [(tickets.c.responder_id.is_(None),)] if filters.view is View.NEW_AND_MY_OPEN else []
        alternatives.append([(tickets.c.responder_id == viewer,), *nobody])
    elif filters.view is View.UNASSIGNED:
        alternatives.append([(tickets.c.responder_id.is_(None),)])
        statuses = statuses or tuple(status for status in Status if not status.is_done)
    elif filters.view is View.WATCHING:
        watched = sa.select(ticket_watchers.c.ticket_id).where(ticket_watchers.c.agent_id == viewer)
        alternatives.append([(tickets.c.id.in_(watched),)])
    if filters.homes is not None:
        alternatives.append([(tickets.c.requester_id == home,) for home in filters.homes])
    if each_of := statuses or tuple(walked):
        alternatives.append([(tickets.c.status == status,) for status in each_of])
    return [tuple(condition for branch in each for condition in branch) for each in product(*alternatives)]


# Whose they are, and who works on them.


def select_homes_of(
    connection: sa.Connection,
    *,
    requester_id: int | None = None,
    email: str | None = None,
    unique_external_id: str | None = None,
) -> set[int] | None:
    """The numbers under which the tickets of a requester stand; empty where nobody is meant, None where not asked."""
    found: list[set[int]] = []
    if requester_id is not None:
        found.append(set(select_home_ids(connection, requester_id)))
    keys = [email_key(email)] if email is not None else []
    if unique_external_id is not None:
        keys.append(external_id_key(unique_external_id))
    for key in keys:
        holder = connection.scalar(sa.select(identifiers.c.contact_id).where(identifiers.c.key == key))
        found.append(set(select_home_ids(connection, holder)) if holder is not None else set())
    return set.intersection(*found) if found else None


def select_requesters(connection: sa.Connection, contact_ids: Collection[int]) -> dict[int, Requester]:
    """Contacts as they are shown with their tickets, by number."""
    columns = (contacts.c[name] for name in Requester.__struct_fields__)
    rows = connection.execute(sa.select(*columns).where(contacts.c.id.in_(contact_ids)))
    return {row.id: Requester(*row) for row in rows}


def select_company_names(connection: sa.Connection, company_ids: Collection[int]) -> dict[int, Named]:
    """The names of companies, by number."""
    rows = connection.execute(
        sa.select(companies.c.id, companies.c.name).where(companies.c.id.in_(company_ids))
    )
    return {row.id: Named(*row) for row in rows}


def select_agent_names(connection: sa.Connection, agent_ids: Collection[int]) -> dict[int, Named]:
    """The names of those who work here, by number; others are left out."""
    rows = connection.execute(
        sa.select(agents.c.id, agents.c.name).where(
            agents.c.id.in_(agent_ids), agents.c.deactivated_at.is_(None)
        )
    )
    return {row.id: Named(*row) for row in rows}


def select_group_name(connection: sa.Connection, group_id: int) -> str | None:
    """What a group is called; None where there is none."""
    return connection.scalar(sa.select(groups.c.name).where(groups.c.id == group_id))


def select_company_of(connection: sa.Connection, contact_id: int) -> int | None:
    """The company of a contact; None where it has none."""
    return connection.scalar(sa.select(contacts.c.company_id).where(contacts.c.id == contact_id))


def select_home_id(connection: sa.Connection, contact_key: bytes) -> int:
    """The number of the row that has a key in the log."""
    number = connection.scalar(sa.select(contacts.c.id).where(contacts.c.key == contact_key))
    assert number is not None, "whoever was resolved in this transaction is there"
    return int(number)


def select_key(connection: sa.Connection, home_id: int) -> bytes | None:
    """A row's key in the log; None where the contact was erased."""
    return connection.scalar(sa.select(contacts.c.key).where(contacts.c.id == home_id))


def has_identifier(connection: sa.Connection, key: str) -> bool:
    """Whether any contact has an identifier."""
    query = sa.select(sa.literal(1)).where(identifiers.c.key == key)
    return connection.scalar(query) is not None


# Watchers.


def insert_watcher(connection: sa.Connection, ticket_id: int, agent_id: int) -> None:
    """An agent watches a ticket, perhaps already."""
    insert_if_absent(connection, ticket_watchers, [{"ticket_id": ticket_id, "agent_id": agent_id}])


def delete_watcher(connection: sa.Connection, ticket_id: int, agent_id: int) -> None:
    """An agent does not watch a ticket any more."""
    connection.execute(
        ticket_watchers.delete().where(
            ticket_watchers.c.ticket_id == ticket_id, ticket_watchers.c.agent_id == agent_id
        )
    )


def select_watchers(connection: sa.Connection, ticket_id: int) -> list[int]:
    """Who watches a ticket."""
    query = sa.select(ticket_watchers.c.agent_id).where(ticket_watchers.c.ticket_id == ticket_id)
    return list(connection.scalars(query.order_by(ticket_watchers.c.agent_id)))
