"""Merging tickets: their conversations go to one of them, they are closed, and both sides say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from backstory.errors import Code, Fault, FieldErrors
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.events import Happening, change, tell
from backstory.model.conversation import ConversationSource
from backstory.model.moment import Microseconds, now
from backstory.model.rich_text import clean_html, html_to_text, text_to_html
from backstory.model.ticket import MAX_CC, Status, Ticket, enter_status
from backstory.store.base import Connection, RecordsTransaction
from backstory.store.records import conversations, sql, tickets


class TicketMerge(Struct, frozen=True):
    """Tickets to merge into one, and what is noted on either side; None for what is usually noted."""

    primary_id: int
    ticket_ids: tuple[int, ...]
    note_in_primary: MergeNote | None = None
    note_in_secondary: MergeNote | None = None
    convert_recipients_to_cc: bool = False


class MergeNote(Struct, frozen=True):
    """A note about a merge."""

    body: str
    private: bool = True


def merge_tickets(transaction: RecordsTransaction, merge: TicketMerge, acting: Acting) -> None:
    """Merge tickets into one.

    Raises:
        FieldErrors: a ticket cannot be merged.
    """
    records, at = transaction.records, now()
    # In the order of their numbers: merges that meet wait for each other instead of standing in each other's way.
    found = {
        each: tickets.lock_ticket(records, each) for each in sorted({merge.primary_id, *merge.ticket_ids})
    }
    primary = found[merge.primary_id]
    if primary is None:
        raise FieldErrors([_wrong("primary_id", f"There is no ticket {merge.primary_id}.")])
    _refuse_merge(merge, primary, found)
    secondaries = [ticket for each in merge.ticket_ids if (ticket := found[each]) is not None]
    for ticket in secondaries:
        _merge_one(transaction, merge, primary, ticket, at, acting)
    values: dict[str, Any] = {"updated_at": at}
    if merge.convert_recipients_to_cc:
        values["cc_emails"] = values["reply_cc_emails"] = _joined_cc(records, primary, secondaries)
    tickets.update_ticket(records, primary.id, values)
    listed = ", ".join(f"#{ticket.id}" for ticket in secondaries)
    tell(transaction, primary, at, Happening("Ticket merged", acting.agent_id, context={"Merged in": listed}))
    sql.add_audit(records, acting.on(f"ticket:{primary.id}"))


def _refuse_merge(merge: TicketMerge, primary: Ticket, found: Mapping[int, Ticket | None]) -> None:
    faults: list[Fault] = []
    if primary.deleted or primary.spam or primary.merged_into is not None:
        faults.append(
            _wrong("primary_id", f"Ticket {primary.id} is deleted, spam, or merged into another one.")
        )
    for index, number in enumerate(merge.ticket_ids):
        ticket = found[number]
        field = f"ticket_ids.{index}"
        if ticket is None:
            faults.append(_wrong(field, f"There is no ticket {number}."))
        elif number == primary.id:
            faults.append(_wrong(field, "A ticket cannot be merged into itself."))
        elif ticket.deleted or ticket.spam or ticket.merged_into is not None:
            faults.append(_wrong(field, f"Ticket {number} is deleted, spam, or merged already."))
    if faults:
        raise FieldErrors(faults)


def _merge_one(
    transaction: RecordsTransaction,
    merge: TicketMerge,
    primary: Ticket,
    ticket: Ticket,
    at: Microseconds,
    acting: Acting,
) -> None:
    records = transaction.records
    conversations.move_conversations(records, ticket.id, primary.id)
    told = merge.note_in_primary or MergeNote(
        f"<p>Ticket #{ticket.id} was merged into this one.</p>"
        f"<p><b>{text_to_html(ticket.subject or '')}</b></p>{ticket.description}"
    )
    left = merge.note_in_secondary or MergeNote(
        f"<p>This ticket was merged into #{primary.id}, and closed.</p>"
    )
    for ticket_id, note in ((primary.id, told), (ticket.id, left)):
        insert_note(records, ticket_id, clean_html(note.body), note.private, acting.agent_id, at)
    values: dict[str, Any] = {"merged_into": primary.id, "status": Status.CLOSED, "updated_at": at}
    if ticket.status is not Status.CLOSED:
        values |= enter_status(Status.CLOSED, ticket.status, at)
    tickets.update_ticket(records, ticket.id, values)
    context = {"Merged into": f"#{primary.id}", "Status": change(ticket.status.label, Status.CLOSED.label)}
    tell(transaction, ticket, at, Happening("Ticket merged", acting.agent_id, context=context))
    sql.add_audit(records, acting.on(f"ticket:{ticket.id}"))


def insert_note(
    records: Connection, ticket_id: int, body: str, private: bool, agent_id: int, at: Microseconds
) -> int:
    """Note something on a ticket; the note's number."""
    return conversations.insert_conversation(
        records,
        {
            "ticket_id": ticket_id,
            "user_id": agent_id,
            "body": body,
            "body_text": html_to_text(body),
            "incoming": False,
            "private": private,
            "source": ConversationSource.NOTE,
            "created_at": at,
            "updated_at": at,
        },
    )


def _joined_cc(records: Connection, primary: Ticket, secondaries: Sequence[Ticket]) -> list[str]:
    """Whoever had to do with any of the tickets, but for the primary's requester.

    Raises:
        FieldErrors: they are too many.
    """
    people = tickets.select_requesters(records, {ticket.requester_id for ticket in secondaries})
    requesters = [people[each.requester_id].email for each in secondaries if each.requester_id in people]
    others = [email for ticket in secondaries for email in ticket.cc_emails]
    own = tickets.select_requesters(records, [primary.requester_id]).get(primary.requester_id)
    joined = {
        email.lower(): email
        for email in (*primary.cc_emails, *(each for each in requesters if each), *others)
        if own is None or email.lower() != (own.email or "").lower()
    }
    if len(joined) > MAX_CC:
        message = f"There would be {len(joined)} addresses in copy; at most {MAX_CC} are possible."
        raise FieldErrors([_wrong("convert_recepients_to_cc", message)])
    return list(joined.values())


def _wrong(field: str, message: str) -> Fault:
    return Fault(field, message, Code.INVALID_VALUE)
