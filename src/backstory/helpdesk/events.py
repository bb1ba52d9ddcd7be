"""What happens to a ticket, told on its requester's timeline, in the transaction that makes it so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from backstory.model.activity import MAX_TEXT, Actor, Event, Object, own_event
from backstory.model.moment import Microseconds
from backstory.model.rich_text import first_words
from backstory.model.ticket import Ticket
from backstory.store.base import RecordsTransaction
from backstory.store.records import tickets

MAX_QUOTED = 500
"""How much of what was said publicly stands on the timeline."""


class Happening(NamedTuple):
    """Something that happened to a ticket. `user_id` is who did it, an agent or a contact.

    Nothing of a private note may stand in `said`: the timeline is not as private.
    """

    name: str
    user_id: int
    said: str = ""
    context: Mapping[str, Any] | None = None


def tell(transaction: RecordsTransaction, ticket: Ticket, at: Microseconds, *happenings: Happening) -> None:
    """Put what happened on the timeline of the ticket's requester. An erased one has none."""
    key = tickets.select_key(transaction.records, ticket.home_id)
    if key is None or not happenings:
        return
    about = Object("ticket", str(ticket.id), name=(ticket.subject or f"Ticket {ticket.id}")[:MAX_TEXT])
    transaction.append([_event(transaction, ticket, key, about, at, each) for each in happenings])


def _event(
    transaction: RecordsTransaction,
    ticket: Ticket,
    key: bytes,
    about: Object,
    at: Microseconds,
    happening: Happening,
) -> Event:
    return own_event(
        key,
        happening.name,
        at=at,
        actor=_actor(transaction, happening.user_id),
        about=about,
        description=first_words(happening.said, MAX_QUOTED) or None,
        context=happening.context,
        is_actor=happening.user_id in (ticket.requester_id, ticket.home_id),
    )


def _actor(transaction: RecordsTransaction, user_id: int) -> Actor:
    agent = tickets.select_agent_names(transaction.records, [user_id]).get(user_id)
    if agent is not None:
        return Actor("agent", str(user_id), agent.name[:MAX_TEXT])
    contact = tickets.select_requesters(transaction.records, [user_id]).get(user_id)
    return Actor("contact", str(user_id), contact.name[:MAX_TEXT] if contact else None)


def change(before: str | None, after: str | None) -> str:
    """What something was, and what it became."""
    return f"{before or 'nobody'} → {after or 'nobody'}"
