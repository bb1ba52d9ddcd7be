"""Tickets: opened, read, changed, deleted, restored, merged. Every change tells the requester's timeline of itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.events import Happening, change, tell
from backstory.helpdesk.files import AttachmentFiles, write_with_files
from backstory.helpdesk.ticket_changes import (
    changeable_ticket,
    keep_uploads,
    locked_ticket,
    no_ticket,
    refuse_unchangeable,
)
from backstory.helpdesk.ticket_merge import TicketMerge, merge_tickets
from backstory.model.activity import SentContact, identifiers_of
from backstory.model.attachment import StoredFile
from backstory.model.conversation import Conversation
from backstory.model.custom_field import kept_custom_fields
from backstory.model.form import Upload
from backstory.model.identity import Kind, Sought
from backstory.model.moment import Microseconds, now
from backstory.model.rich_text import clean_html, html_to_text
from backstory.model.ticket import (
    EMBEDDED_CONVERSATIONS,
    ENUMS,
    LISTED_DAYS,
    Named,
    NewTicket,
    Order,
    Priority,
    Requester,
    Status,
    Ticket,
    TicketFilters,
    TicketSource,
    due_times,
    enter_status,
)
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import attachments, conversations, lookups, sql, tickets

T = TypeVar("T")

REQUESTED_BY = ("requester_id", "email", "phone", "twitter_id", "unique_external_id", "facebook_id")
"""By what a ticket's requester can be named."""

_DAY = 24 * 3600 * 1_000_000
_NUMBERS = frozenset({Kind.PHONE, Kind.MOBILE})


class ShownWith(Struct, frozen=True):
    """What is shown beside tickets: requesters, companies, agents, each by number."""

    requesters: Mapping[int, Requester]
    companies: Mapping[int, Named]
    agents: Mapping[int, Named]


class Tickets:
    """The tickets of an installation. `after_commit` is called when something was changed."""

    def __init__(
        self,
        records: Records,
        files: AttachmentFiles,
        after_commit: Callable[[], None],
        phone_region: str | None = None,
    ) -> None:
        self._records = records
        self._files = files
        self._after_commit = after_commit
        self._region = phone_region

    # Reading.

    async def get(self, ticket_id: int) -> Ticket:
        """One ticket, deleted ones too.

        Raises:
            NotFound: there is none with this number.
        """
        ticket = await self._records.read(partial(tickets.select_ticket, ticket_id=ticket_id))
        if ticket is None:
            raise no_ticket(ticket_id)
        return ticket

    async def require_changeable(self, ticket_id: int) -> None:
        """Return where a ticket can be changed.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is spam, or deleted.
        """
        refuse_unchangeable(await self.get(ticket_id))

    async def page(
        self,
        filters: TicketFilters,
        *,
        viewer: int,
        order: Order = Order.CREATED,
        descending: bool = True,
        offset: int = 0,
        limit: int = 30,
    ) -> list[Ticket]:
        """Some tickets of a list; `viewer` is the agent whose own ones the views mean.

        Without `updated_since` and `created_since` the list goes back 30 days.
        """
        if filters.updated_since is None and filters.created_since is None:
            filters = replace(filters, created_since=now() - LISTED_DAYS * _DAY)
        return await self._records.read(
            partial(
                tickets.select_page,
                filters=filters,
                order=order,
                descending=descending,
                viewer=viewer,
                offset=offset,
                limit=limit,
            )
        )

    async def homes_of(
        self,
        *,
        requester_id: int | None = None,
        email: str | None = None,
        unique_external_id: str | None = None,
    ) -> set[int] | None:
        """What `TicketFilters.homes` must be for the tickets of a requester; None where nothing is given."""
        return await self._records.read(
            partial(
                tickets.select_homes_of,
                requester_id=requester_id,
                email=email,
                unique_external_id=unique_external_id,
            )
        )

    async def shown_with(self, shown: Collection[Ticket]) -> ShownWith:
        """The requesters, companies and agents of tickets."""
        requesters = {ticket.requester_id for ticket in shown}
        companies = {ticket.company_id for ticket in shown if ticket.company_id is not None}
        responders = {ticket.responder_id for ticket in shown if ticket.responder_id is not None}

        def work(records: Connection) -> ShownWith:
            return ShownWith(
                tickets.select_requesters(records, requesters),
                tickets.select_company_names(records, companies),
                tickets.select_agent_names(records, responders),
            )

        return await self._records.read(work)

    async def people(self, user_ids: Collection[int]) -> Mapping[int, Requester]:
        """Those who have these numbers, contacts and agents; of those who are gone there is none."""
        return await self._records.read(partial(tickets.select_requesters, contact_ids=user_ids))

    async def first_conversations(self, ticket_id: int) -> list[Conversation]:
        """The first conversations of a ticket, oldest first."""
        return await self._records.read(
            partial(conversations.select_page, ticket_id=ticket_id, offset=0, limit=EMBEDDED_CONVERSATIONS)
        )

    # Writing.

    async def create(self, new: NewTicket, acting: Acting, uploads: Sequence[Upload] = ()) -> Ticket:
        """Open a ticket; its requester is found, or made, as publishing does.

        Raises:
            FieldErrors: who or what it names is not there, or its times cannot be.
        """
        sought = _sought(new.requester, self._region)
        description = clean_html(new.description)
        files = await keep_uploads(self._files, uploads)

        def work(transaction: RecordsTransaction) -> Ticket:
            return _create(transaction, new, sought, description, files, acting)

        return await self._write(work, files)

    async def update(
        self,
        ticket_id: int,
        changes: Mapping[str, Any],
        acting: Acting,
        uploads: Sequence[Upload] = (),
        also: Callable[[RecordsTransaction], None] | None = None,
    ) -> Ticket:
        """Change a ticket. `changes` are checked columns, None where one is taken away, and perhaps a `requester`.

        Tags are replaced, custom fields changed one by one, files added. `also` is done in the same transaction.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is spam, or deleted.
            FieldErrors: who or what it names is not there, or its times cannot be.
        """
        changes = {name: ENUMS[name](value) if name in ENUMS else value for name, value in changes.items()}
        requester: SentContact | None = changes.pop("requester", None)
        sought = None if requester is None else _sought(requester, self._region)
        if "description" in changes:
            changes["description"] = clean_html(changes["description"] or "")
            changes["description_text"] = html_to_text(changes["description"])
        files = await keep_uploads(self._files, uploads)

        def work(transaction: RecordsTransaction) -> Ticket:
            ticket = _update(transaction, ticket_id, changes, sought, files, acting)
            if also is not None:
                also(transaction)
            return ticket

        return await self._write(work, files)

    async def delete(
        self, ticket_id: int, acting: Acting, also: Callable[[RecordsTransaction], None] | None = None
    ) -> None:
        """Delete a ticket; it stays readable, and can be restored. A deleted one stays so.

        Raises:
            NotFound: there is none with this number.
        """
        await self._set_deleted(ticket_id, True, acting, also)

    async def restore(self, ticket_id: int, acting: Acting) -> None:
        """Restore a deleted ticket. One that is not deleted stays as it is.

        Raises:
            NotFound: there is none with this number.
        """
        await self._set_deleted(ticket_id, False, acting, None)

    async def _set_deleted(
        self,
        ticket_id: int,
        deleted: bool,
        acting: Acting,
        also: Callable[[RecordsTransaction], None] | None,
    ) -> None:
        def work(transaction: RecordsTransaction) -> None:
            ticket = locked_ticket(transaction, ticket_id)
            if ticket.deleted is not deleted:
                at = now()
                values = {"deleted_at": at if deleted else None, "updated_at": at}
                tickets.update_ticket(transaction.records, ticket_id, values)
                name = "Ticket deleted" if deleted else "Ticket restored"
                tell(transaction, ticket, at, Happening(name, acting.agent_id))
                sql.add_audit(transaction.records, acting.on(f"ticket:{ticket_id}"))
            if also is not None:
                also(transaction)

        await self._write(work)

    async def mark_spam(self, ticket_id: int, spam: bool, acting: Acting) -> None:
        """Say that a ticket is spam, or that it is not.

        Raises:
            NotFound: there is none with this number.
        """

        def work(transaction: RecordsTransaction) -> None:
            ticket = locked_ticket(transaction, ticket_id)
            if ticket.spam is not spam:
                tickets.update_ticket(transaction.records, ticket_id, {"spam": spam, "updated_at": now()})
                sql.add_audit(transaction.records, acting.on(f"ticket:{ticket_id}"))

        await self._write(work)

    async def watch(self, ticket_id: int, agent_id: int, watching: bool = True) -> None:
        """Have an agent watch a ticket, or no more.

        Raises:
            NotFound: there is none with this number.
        """

        def work(transaction: RecordsTransaction) -> None:
            locked_ticket(transaction, ticket_id)
            write = tickets.insert_watcher if watching else tickets.delete_watcher
            write(transaction.records, ticket_id, agent_id)

        await self._records.write(work)

    async def watchers(self, ticket_id: int) -> list[int]:
        """The agents who watch a ticket."""
        return await self._records.read(partial(tickets.select_watchers, ticket_id=ticket_id))

    async def merge(self, merge: TicketMerge, acting: Acting) -> None:
        """Merge tickets into one: their conversations go there, they are closed and say where they went.

        Raises:
            FieldErrors: a ticket cannot be merged, or is not there.
        """
        await self._write(lambda transaction: merge_tickets(transaction, merge, acting))

    async def _write(self, work: Callable[[RecordsTransaction], T], files: Sequence[StoredFile] = ()) -> T:
        result = await write_with_files(self._records, self._files, work, files)
        self._after_commit()
        return result


# Opening.


def _create(
    transaction: RecordsTransaction,
    new: NewTicket,
    sought: Sought,
    description: str,
    files: Sequence[StoredFile],
    acting: Acting,
) -> Ticket:
    records, at = transaction.records, now()
    first_due, due = due_times(new.priority, at)
    due = due if new.due_by is None else new.due_by
    first_due = min(first_due, due) if new.fr_due_by is None else new.fr_due_by
    _refuse_references(records, new.responder_id, new.group_id, new.company_id)
    _refuse_times(due, first_due, at)
    requester_id, home_id = _resolve(transaction, sought)
    company_id = new.company_id or tickets.select_company_of(records, requester_id)
    cc_emails = list(dict.fromkeys(new.cc_emails))
    ticket_id = tickets.insert_ticket(
        records,
        {
            "subject": new.subject,
            "description": description,
            "description_text": html_to_text(description),
            "type": new.type,
            "status": new.status,
            "priority": new.priority,
            "source": new.source,
            "requester_id": home_id,
            "responder_id": new.responder_id,
            "group_id": new.group_id,
            "company_id": company_id,
            "product_id": new.product_id,
            "email_config_id": new.email_config_id,
            "cc_emails": cc_emails,
            "ticket_cc_emails": cc_emails,
            "reply_cc_emails": cc_emails,
            "due_by": due,
            "fr_due_by": first_due,
            "tags": list(dict.fromkeys(new.tags)),
            "custom_fields": kept_custom_fields(new.custom_fields),
            "thread_id": secrets.token_hex(16),
            **enter_status(new.status, None, at),
            "created_at": at,
            "updated_at": at,
        },
    )
    attachments.insert_attachments(records, tickets.OWNER, ticket_id, files, at)
    lookups.replace_name_words(records, tickets.OWNER, ticket_id, new.subject or "")
    lookups.replace_tags(records, tickets.OWNER, ticket_id, new.tags)
    lookups.replace_custom_values(records, tickets.OWNER, ticket_id, new.custom_fields)
    ticket = _read(records, ticket_id)
    tell(transaction, ticket, at, *_opened(records, ticket, acting))
    sql.add_audit(records, acting.on(f"ticket:{ticket_id}"))
    return ticket


def _opened(records: Connection, ticket: Ticket, acting: Acting) -> list[Happening]:
    context: dict[str, Any] = {
        "Status": ticket.status.label,
        "Priority": ticket.priority.label,
        "Channel": ticket.source.label,
    }
    if ticket.type:
        context["Type"] = ticket.type
    ours = ticket.source is TicketSource.OUTBOUND_EMAIL
    who = acting.agent_id if ours else ticket.requester_id
    opened = Happening("Ticket opened", who, ticket.description_text, context)
    assigned = _assigned(records, None, None, ticket)
    return [opened, *([Happening("Ticket assigned", acting.agent_id, context=assigned)] if assigned else [])]


def _resolve(transaction: RecordsTransaction, sought: Sought) -> tuple[int, int]:
    """Whose a ticket is: the contact that stands for the requester, and the row that the ticket stays with."""
    for item in sought.identifiers:
        if item.kind is Kind.FACEBOOK and not tickets.has_identifier(transaction.records, item.key):
            raise FieldErrors(
                [_unknown("facebook_id", f"There is no contact with the facebook_id {item.value}.")]
            )
    try:
        resolved = transaction.resolve(sought)
    except FieldErrors as error:
        faults = [Fault(_own_field(each.field), each.message, each.code) for each in error.faults]
        raise FieldErrors(faults) from None
    return resolved.contact_id, tickets.select_home_id(transaction.records, resolved.contact_key)


def _sought(requester: SentContact, region: str | None) -> Sought:
    """Whom to look for.

    Raises:
        FieldErrors: nobody is named, or somebody by nothing but a number and without a name.
    """
    identifiers = tuple(identifiers_of(requester, region))
    name = (requester.name or "").strip() or None
    if not identifiers:
        message = f"One of these is mandatory: {', '.join(REQUESTED_BY)}."
        raise FieldErrors([Fault("requester_id", message, Code.MISSING_FIELD)])
    if name is None and all(item.kind in _NUMBERS for item in identifiers):
        message = "It is mandatory where the requester has nothing but a phone number."
        raise FieldErrors([Fault("name", message, Code.MISSING_FIELD)])
    return Sought(identifiers, name)


def _own_field(field: str) -> str:
    """A field of a publish request by the name that a ticket has for it."""
    name = field.removeprefix("contact.")
    return "requester_id" if name == "id" else name


def _unknown(field: str, message: str) -> Fault:
    return Fault(field, message, Code.INVALID_VALUE)


def _refuse_references(
    records: Connection, responder_id: int | None, group_id: int | None, company_id: int | None
) -> None:
    faults: list[Fault] = []
    if responder_id is not None and not tickets.select_agent_names(records, [responder_id]):
        faults.append(_unknown("responder_id", f"There is no agent {responder_id}."))
    if group_id is not None and tickets.select_group_name(records, group_id) is None:
        faults.append(_unknown("group_id", f"There is no group {group_id}."))
    if company_id is not None and not tickets.select_company_names(records, [company_id]):
        faults.append(_unknown("company_id", f"There is no company {company_id}."))
    if faults:
        raise FieldErrors(faults)


def _refuse_times(due: Microseconds, first_due: Microseconds, created: Microseconds) -> None:
    faults: list[Fault] = []
    if due < created:
        faults.append(_unknown("due_by", "It lies before the ticket was created."))
    if first_due < created:
        faults.append(_unknown("fr_due_by", "It lies before the ticket was created."))
    elif first_due > due:
        faults.append(_unknown("fr_due_by", "The first answer would be due after the resolution (due_by)."))
    if faults:
        raise FieldErrors(faults)


def _read(records: Connection, ticket_id: int) -> Ticket:
    ticket = tickets.select_ticket(records, ticket_id)
    assert ticket is not None, "the transaction that wrote it sees it"
    return ticket


# Changing.


def _update(
    transaction: RecordsTransaction,
    ticket_id: int,
    changes: dict[str, Any],
    sought: Sought | None,
    files: Sequence[StoredFile],
    acting: Acting,
) -> Ticket:
    records, at = transaction.records, now()
    before = changeable_ticket(transaction, ticket_id)
    _refuse_references(records, *(changes.get(name) for name in ("responder_id", "group_id", "company_id")))
    values = {**changes, **_times(before, changes), "updated_at": at}
    if "custom_fields" in changes:
        values["custom_fields"] = kept_custom_fields(before.custom_fields, changes["custom_fields"])
    for name in ("tags", "cc_emails"):
        if name in changes:
            values[name] = list(dict.fromkeys(changes[name] or ()))
    status = changes.get("status")
    if status is not None and status is not before.status:
        values |= enter_status(status, before.status, at)
    if sought is not None:
        requester_id, values["requester_id"] = _resolve(transaction, sought)
        if "company_id" not in changes and requester_id != before.requester_id:
            values["company_id"] = tickets.select_company_of(records, requester_id)
    tickets.update_ticket(records, ticket_id, values)
    attachments.insert_attachments(records, tickets.OWNER, ticket_id, files, at)
    if "subject" in values:
        lookups.replace_name_words(records, tickets.OWNER, ticket_id, values["subject"] or "")
    if "tags" in values:
        lookups.replace_tags(records, tickets.OWNER, ticket_id, values["tags"])
    if "custom_fields" in values:
        lookups.replace_custom_values(records, tickets.OWNER, ticket_id, values["custom_fields"])
    after = _read(records, ticket_id)
    if after.requester_id != before.requester_id:
        context = {"Ticket": f"{before.id}", "Requester": change(*_names(records, before, after))}
        tell(
            transaction,
            before,
            at,
            Happening("Ticket given to another contact", acting.agent_id, context=context),
        )
        tell(transaction, after, at, Happening("Ticket taken over", acting.agent_id, context=context))
    tell(transaction, after, at, *_changed(records, before, after, acting))
    sql.add_audit(records, acting.on(f"ticket:{ticket_id}"))
    return after


def _times(before: Ticket, changes: Mapping[str, Any]) -> dict[str, Microseconds]:
    """When it is due after a change: as it is told, or by its new priority where nobody had told."""
    usual = dict(zip(("fr_due_by", "due_by"), due_times(before.priority, before.created_at), strict=True))
    priority: Priority = changes.get("priority") or before.priority
    becoming = dict(zip(("fr_due_by", "due_by"), due_times(priority, before.created_at), strict=True))
    times: dict[str, Microseconds] = {}
    for name, standard in usual.items():
        stands: Microseconds = getattr(before, name)
        told: Microseconds | None = changes.get(name)
        times[name] = (becoming[name] if stands == standard else stands) if told is None else told
    if changes.get("fr_due_by") is None:
        times["fr_due_by"] = min(times["fr_due_by"], times["due_by"])
    _refuse_times(times["due_by"], times["fr_due_by"], before.created_at)
    return times


def _changed(records: Connection, before: Ticket, after: Ticket, acting: Acting) -> list[Happening]:
    happenings: list[Happening] = []
    if assigned := _assigned(records, before.responder_id, before.group_id, after):
        happenings.append(Happening("Ticket assigned", acting.agent_id, context=assigned))
    if before.status is not after.status:
        happenings.append(status_changed(before.status, after.status, acting.agent_id))
    return happenings


def status_changed(before: Status, after: Status, user_id: int) -> Happening:
    """A ticket went from one status to another."""
    became = {Status.RESOLVED: "resolved", Status.CLOSED: "closed"}.get(after)
    if became is None:
        became = "reopened" if before.is_done else "status changed"
    return Happening(f"Ticket {became}", user_id, context={"Status": change(before.label, after.label)})


def _assigned(
    records: Connection, responder_id: int | None, group_id: int | None, after: Ticket
) -> dict[str, str]:
    """Who works on it now, where that changed; empty where it did not."""
    context: dict[str, str] = {}
    if responder_id != after.responder_id:
        ids = [each for each in (responder_id, after.responder_id) if each is not None]
        names = {number: agent.name for number, agent in tickets.select_agent_names(records, ids).items()}
        context["Agent"] = change(names.get(responder_id or 0), names.get(after.responder_id or 0))
    if group_id != after.group_id:
        both = [
            None if each is None else tickets.select_group_name(records, each)
            for each in (group_id, after.group_id)
        ]
        context["Group"] = change(*both)
    return context


def _names(records: Connection, before: Ticket, after: Ticket) -> tuple[str | None, str | None]:
    found = tickets.select_requesters(records, [before.requester_id, after.requester_id])
    names = [
        found[each].name if each in found else None for each in (before.requester_id, after.requester_id)
    ]
    return names[0], names[1]
