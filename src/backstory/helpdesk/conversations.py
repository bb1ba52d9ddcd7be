"""What is said about a ticket: replies, which go out as mail, and notes, which do not leave unless they are told to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from backstory.errors import Code, Fault, FieldErrors, MethodNotAllowed, NotFound
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.events import Happening, tell
from backstory.helpdesk.files import AttachmentFiles, write_with_files
from backstory.helpdesk.ticket_changes import (
    changeable_ticket,
    keep_uploads,
    locked_ticket,
    no_ticket,
    refuse_unchangeable,
)
from backstory.helpdesk.tickets import status_changed
from backstory.model.attachment import StoredFile
from backstory.model.conversation import (
    Conversation,
    ConversationSource,
    Delivery,
    Draft,
    DraftKind,
    NewNote,
    NewReply,
)
from backstory.model.form import Upload
from backstory.model.mail import LOCAL_DOMAIN, MAX_REFERENCES, Mail, Sender, can_be_sent_to
from backstory.model.moment import Microseconds, now
from backstory.model.rich_text import clean_html, html_to_text
from backstory.model.ticket import Requester, Status, Ticket, enter_status
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import attachments, conversations, outgoing_mail, sql, tickets

T = TypeVar("T")

Say = Callable[[RecordsTransaction, str, Sequence[StoredFile]], Conversation]
"""Writes what is said: its body, cleaned, and the files that are kept for it."""

NOT_CONFIGURED = "No mail server is set up (BACKSTORY_SMTP_HOST)."
NO_ADDRESS = "The requester has no email address."
BAD_ADDRESS = "Mail cannot be addressed to {}."


class Conversations:
    """The conversations of an installation. `senders` are the addresses that replies can come from, the usual first.

    Without any nothing is sent, and replies say so.
    """

    def __init__(
        self,
        records: Records,
        files: AttachmentFiles,
        senders: Sequence[Sender],
        after_commit: Callable[[], None],
    ) -> None:
        self._records = records
        self._files = files
        self._senders = tuple(senders)
        self._after_commit = after_commit

    async def page(self, ticket_id: int, *, offset: int = 0, limit: int = 30) -> list[Conversation]:
        """Some conversations of a ticket, oldest first.

        Raises:
            NotFound: there is no such ticket.
        """

        def work(records: Connection) -> list[Conversation] | None:
            if tickets.select_ticket(records, ticket_id) is None:
                return None
            return conversations.select_page(records, ticket_id, offset=offset, limit=limit)

        found = await self._records.read(work)
        if found is None:
            raise no_ticket(ticket_id)
        return found

    async def get(self, conversation_id: int) -> Conversation:
        """One conversation.

        Raises:
            NotFound: there is none with this number.
        """
        found = await self._records.read(
            partial(conversations.select_conversation, conversation_id=conversation_id)
        )
        if found is None:
            raise _no_conversation(conversation_id)
        return found

    async def require_note(self, conversation_id: int) -> None:
        """Return where a conversation can be changed: it is a note, and its ticket can be changed.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it cannot be changed.
        """

        def work(records: Connection) -> None:
            found = _conversation(records, conversation_id)
            ticket = tickets.select_ticket(records, found.ticket_id)
            assert ticket is not None, "a conversation goes with its ticket"
            refuse_unchangeable(ticket, allowed=())
            _refuse_reply(found)

        await self._records.read(work)

    async def reply(
        self, ticket_id: int, new: NewReply, acting: Acting, uploads: Sequence[Upload] = ()
    ) -> Conversation:
        """Answer a ticket's requester. It is sent by mail, soon; where it cannot be, it says so and why.

        Raises:
            NotFound: there is no such ticket.
            MethodNotAllowed: it is spam, or deleted.
            FieldErrors: nobody here has the `user_id`, or mail cannot come from `from_email`.
        """
        sender = self._sender(new.from_email)
        say = partial(_reply, ticket_id=ticket_id, new=new, sender=sender, acting=acting)
        return await self._say(say, new.body, uploads)

    async def note(
        self, ticket_id: int, new: NewNote, acting: Acting, uploads: Sequence[Upload] = ()
    ) -> Conversation:
        """Note something on a ticket, or (`incoming`) what its requester said.

        Raises:
            NotFound: there is no such ticket.
            MethodNotAllowed: it is spam, or deleted.
            FieldErrors: nobody has the `user_id`.
        """
        say = partial(_note, ticket_id=ticket_id, new=new, sender=self._sender(None), acting=acting)
        return await self._say(say, new.body, uploads)

    async def edit_note(
        self, conversation_id: int, body: str, acting: Acting, uploads: Sequence[Upload] = ()
    ) -> Conversation:
        """Change what a note says, and add files to it.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is a reply, which has left, or its ticket cannot be changed.
        """
        say = partial(_edit_note, conversation_id=conversation_id, acting=acting)
        return await self._say(say, body, uploads)

    async def _say(self, say: Say, body: str, uploads: Sequence[Upload]) -> Conversation:
        cleaned = clean_html(body)
        files = await keep_uploads(self._files, uploads)
        return await self._write(lambda transaction: say(transaction, cleaned, files), files)

    async def delete(self, conversation_id: int, acting: Acting) -> None:
        """Remove a conversation. A mail that was not sent yet is not sent.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: its ticket cannot be changed.
        """

        def work(transaction: RecordsTransaction) -> None:
            records = transaction.records
            found = _conversation(records, conversation_id)
            changeable_ticket(transaction, found.ticket_id, allowed=())
            outgoing_mail.delete_mail(records, conversation_id)
            attachments.delete_by_owners(records, conversations.OWNER, [conversation_id])
            conversations.delete_conversation(records, conversation_id)
            sql.add_audit(records, acting.on(f"conversation:{conversation_id}"))

        await self._write(work)

    async def send_again(self, conversation_id: int, acting: Acting) -> Conversation:
        """Try once more to send what was not sent, to whom it was to go; nothing else is sent again.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: its ticket cannot be changed.
        """
        sender = self._sender(None)

        def work(transaction: RecordsTransaction) -> Conversation:
            records = transaction.records
            found = _conversation(records, conversation_id)
            ticket = changeable_ticket(transaction, found.ticket_id)
            if found.delivery is Delivery.NOT_SENT:
                _queue_again(records, ticket, found, sender)
                sql.add_audit(records, acting.on(f"conversation:{conversation_id}"))
            return _conversation(records, conversation_id)

        return await self._write(work)

    # Drafts: an agent's own, and nobody else's.

    async def draft(self, ticket_id: int, agent_id: int, kind: DraftKind) -> Draft | None:
        """What an agent has written and not sent; None where there is nothing."""
        return await self._records.read(
            lambda records: conversations.select_draft(records, ticket_id, agent_id, kind)
        )

    async def save_draft(self, ticket_id: int, agent_id: int, kind: DraftKind, body: str) -> None:
        """Keep what an agent has written; nothing written is no draft.

        Raises:
            NotFound: there is no such ticket.
        """

        def work(transaction: RecordsTransaction) -> None:
            locked_ticket(transaction, ticket_id)
            if body.strip():
                conversations.save_draft(transaction.records, ticket_id, agent_id, kind, body, now())
            else:
                conversations.delete_draft(transaction.records, ticket_id, agent_id, kind)

        await self._records.write(work)

    def _sender(self, from_email: str | None) -> Sender | None:
        """Whom a mail comes from; None where nothing can be sent.

        Raises:
            FieldErrors: it cannot come from this address.
        """
        if not self._senders:
            return None
        if from_email is None:
            return self._senders[0]
        for sender in self._senders:
            if sender.email.lower() == from_email.lower():
                return sender
        listed = ", ".join(sender.email for sender in self._senders)
        raise FieldErrors([Fault("from_email", f"Mail can come from: {listed}.", Code.INVALID_VALUE)])

    async def _write(self, work: Callable[[RecordsTransaction], T], files: Sequence[StoredFile] = ()) -> T:
        result = await write_with_files(self._records, self._files, work, files)
        self._after_commit()
        return result


def _no_conversation(conversation_id: int) -> NotFound:
    return NotFound(f"There is no conversation {conversation_id}.")


def _conversation(records: Connection, conversation_id: int) -> Conversation:
    found = conversations.select_conversation(records, conversation_id)
    if found is None:
        raise _no_conversation(conversation_id)
    return found


# Replies.


def _reply(
    transaction: RecordsTransaction,
    body: str,
    files: Sequence[StoredFile],
    *,
    ticket_id: int,
    new: NewReply,
    sender: Sender | None,
    acting: Acting,
) -> Conversation:
    records, at = transaction.records, now()
    ticket = changeable_ticket(transaction, ticket_id)
    user_id = new.user_id or acting.agent_id
    if not tickets.select_agent_names(records, [user_id]):
        raise FieldErrors([Fault("user_id", f"There is no agent {user_id}.", Code.INVALID_VALUE)])
    requester = tickets.select_requesters(records, [ticket.requester_id]).get(ticket.requester_id)
    values = {
        "user_id": user_id,
        "body": body,
        "incoming": False,
        "private": False,
        "source": ConversationSource.REPLY,
        "from_email": new.from_email or (sender.email if sender else None),
        "to_emails": [requester.email] if requester and requester.email else [],
        "cc_emails": list(new.cc_emails),
        "bcc_emails": list(new.bcc_emails),
    }
    reply = _insert(transaction, ticket, values, sender, files, at)
    stats: dict[str, Any] = {"agent_responded_at": at, "updated_at": at}
    if ticket.stats.first_responded_at is None:
        stats["first_responded_at"] = at
    if new.cc_emails:
        stats["reply_cc_emails"] = list(new.cc_emails)
    tickets.update_ticket(records, ticket_id, stats)
    conversations.delete_draft(records, ticket_id, acting.agent_id, DraftKind.REPLY)
    tell(transaction, ticket, at, Happening("Agent replied", user_id, reply.body_text))
    sql.add_audit(records, acting.on(f"conversation:{reply.id}"))
    return reply


def _insert(
    transaction: RecordsTransaction,
    ticket: Ticket,
    values: dict[str, Any],
    sender: Sender | None,
    files: Sequence[StoredFile],
    at: Microseconds,
) -> Conversation:
    """Add a conversation with its files, and queue the mail that it goes out as, or say why it does not."""
    records = transaction.records
    recipients = [*values["to_emails"], *values["cc_emails"], *values["bcc_emails"]]
    to_be_sent = values["source"] is ConversationSource.REPLY or bool(recipients)
    delivery: dict[str, Any] = {}
    if to_be_sent:
        obstacle = _obstacle(sender, values["to_emails"], recipients)
        delivery = {
            "delivery": Delivery.NOT_SENT if obstacle else Delivery.QUEUED,
            "delivery_error": obstacle,
            "message_id": f"<{secrets.token_hex(16)}@{sender.domain if sender else LOCAL_DOMAIN}>",
        }
    text = html_to_text(values["body"])
    references = _references(records, ticket, sender)
    row = {"ticket_id": ticket.id, "body_text": text, **values, **delivery}
    number = conversations.insert_conversation(records, row | {"created_at": at, "updated_at": at})
    attachments.insert_attachments(records, conversations.OWNER, number, files, at)
    if sender is not None and delivery.get("delivery") is Delivery.QUEUED:
        mail = Mail(
            message_id=delivery["message_id"],
            sender=sender,
            subject=_subject(ticket, values["source"]),
            html=values["body"],
            text=text,
            created_at=at,
            to=tuple(values["to_emails"]),
            cc=tuple(values["cc_emails"]),
            bcc=tuple(values["bcc_emails"]),
            references=references,
        )
        outgoing_mail.insert_mail(records, number, mail, at)
    return _conversation(records, number)


def _queue_again(
    records: Connection, ticket: Ticket, conversation: Conversation, sender: Sender | None
) -> None:
    """Queue a mail that was not sent, from the address that is usual now, or say why it still cannot be sent."""
    at = now()
    recipients = [*conversation.to_emails, *conversation.cc_emails, *conversation.bcc_emails]
    obstacle = _obstacle(sender, conversation.to_emails, recipients)
    if obstacle is None and sender is not None:
        references = _references(records, ticket, sender)
        mail = Mail(
            message_id=conversation.message_id or f"<{secrets.token_hex(16)}@{sender.domain}>",
            sender=sender,
            subject=_subject(ticket, conversation.source),
            html=conversation.body,
            text=conversation.body_text,
            created_at=at,
            to=conversation.to_emails,
            cc=conversation.cc_emails,
            bcc=conversation.bcc_emails,
            references=tuple(each for each in references if each != conversation.message_id),
        )
        outgoing_mail.insert_mail(records, conversation.id, mail, at)
    state = {"delivery": Delivery.NOT_SENT if obstacle else Delivery.QUEUED, "delivery_error": obstacle}
    conversations.update_conversation(records, conversation.id, {**state, "updated_at": at})


def _obstacle(sender: Sender | None, to: Sequence[str], recipients: Sequence[str]) -> str | None:
    """Why a mail cannot go out at all; None where it can."""
    if not to:
        return NO_ADDRESS
    if sender is None:
        return NOT_CONFIGURED
    unfit = [each for each in recipients if not can_be_sent_to(each)]
    return BAD_ADDRESS.format(", ".join(unfit)) if unfit else None


def _references(records: Connection, ticket: Ticket, sender: Sender | None) -> tuple[str, ...]:
    """What a mail refers to: the ticket's own Message-ID, which makes all of its mails one thread, and theirs."""
    domain = sender.domain if sender else LOCAL_DOMAIN
    root = (f"<{ticket.thread_id}@{domain}>",) if ticket.thread_id else ()
    return (*root, *conversations.select_message_ids(records, ticket.id, MAX_REFERENCES))


def _subject(ticket: Ticket, source: ConversationSource) -> str:
    subject = ticket.subject or f"Ticket {ticket.id}"
    kind = "Re" if source is ConversationSource.REPLY else "Note"
    return f"{kind}: {subject} [#{ticket.id}]"


# Notes.


def _note(
    transaction: RecordsTransaction,
    body: str,
    files: Sequence[StoredFile],
    *,
    ticket_id: int,
    new: NewNote,
    sender: Sender | None,
    acting: Acting,
) -> Conversation:
    records, at = transaction.records, now()
    ticket = changeable_ticket(transaction, ticket_id)
    user_id = new.user_id or (ticket.requester_id if new.incoming else acting.agent_id)
    if not _is_anybody(records, user_id):
        raise FieldErrors([Fault("user_id", f"There is nobody with the id {user_id}.", Code.INVALID_VALUE)])
    values = {
        "user_id": user_id,
        "body": body,
        "incoming": new.incoming,
        "private": new.private,
        "source": ConversationSource.NOTE,
        "to_emails": list(new.notify_emails),
        "cc_emails": [],
        "bcc_emails": [],
    }
    note = _insert(transaction, ticket, values, sender, files, at)
    changes: dict[str, Any] = {"updated_at": at}
    # What the requester says, and not in private, is their answer: it wants attention again.
    answered = new.incoming and not new.private
    reopens = answered and ticket.status is not Status.OPEN
    if answered:
        changes["requester_responded_at"] = at
    if reopens:
        changes |= {"status": Status.OPEN, **enter_status(Status.OPEN, ticket.status, at)}
    tickets.update_ticket(records, ticket_id, changes)
    conversations.delete_draft(records, ticket_id, acting.agent_id, DraftKind.NOTE)
    happenings = [Happening("Customer replied" if answered else "Note added", user_id, _quoted(note))]
    if reopens:
        happenings.append(status_changed(ticket.status, Status.OPEN, user_id))
    tell(transaction, ticket, at, *happenings)
    sql.add_audit(records, acting.on(f"conversation:{note.id}"))
    return note


def _quoted(note: Conversation) -> str:
    return "" if note.private else note.body_text


def _is_anybody(records: Connection, user_id: int) -> bool:
    found: dict[int, Requester] = tickets.select_requesters(records, [user_id])
    return user_id in found


def _refuse_reply(conversation: Conversation) -> None:
    if conversation.source is not ConversationSource.NOTE:
        raise MethodNotAllowed("Changing a reply", ("DELETE",))


def _edit_note(
    transaction: RecordsTransaction,
    body: str,
    files: Sequence[StoredFile],
    *,
    conversation_id: int,
    acting: Acting,
) -> Conversation:
    records, at = transaction.records, now()
    before = _conversation(records, conversation_id)
    changeable_ticket(transaction, before.ticket_id, allowed=())
    _refuse_reply(before)
    conversations.update_conversation(
        records,
        conversation_id,
        {
            "body": body,
            "body_text": html_to_text(body),
            "last_edited_at": at,
            "last_edited_user_id": acting.agent_id,
            "updated_at": at,
        },
    )
    attachments.insert_attachments(records, conversations.OWNER, conversation_id, files, at)
    tickets.update_ticket(records, before.ticket_id, {"updated_at": at})
    sql.add_audit(records, acting.on(f"conversation:{conversation_id}"))
    return _conversation(records, conversation_id)
