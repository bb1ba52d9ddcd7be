"""What every change of a ticket is made with: the ticket, kept from others meanwhile, and the files that came along."""

from __future__ import annotations

from collections.abc import Sequence

from backstory.errors import Code, Fault, FieldErrors, MethodNotAllowed, NotFound
from backstory.helpdesk.files import AttachmentFiles
from backstory.model.attachment import MAX_ATTACHMENTS, StoredFile
from backstory.model.form import Upload
from backstory.model.ticket import Ticket
from backstory.store.base import RecordsTransaction
from backstory.store.records import tickets


async def keep_uploads(files: AttachmentFiles, uploads: Sequence[Upload]) -> list[StoredFile]:
    """Write the files of a request to the disk.

    Raises:
        FieldErrors: they are too large.
        Unavailable: the disk cannot take them.
    """
    size = sum(upload.size for upload in uploads)
    if size > MAX_ATTACHMENTS:
        message = f"They have {size:,} bytes together; at most {MAX_ATTACHMENTS:,} are possible."
        raise FieldErrors([Fault("attachments", message, Code.INVALID_VALUE)])
    return await files.keep(uploads)


def no_ticket(ticket_id: int) -> NotFound:
    """There is no such ticket."""
    return NotFound(f"There is no ticket {ticket_id}.")


def locked_ticket(transaction: RecordsTransaction, ticket_id: int) -> Ticket:
    """A ticket that nobody else changes meanwhile, deleted ones too.

    Raises:
        NotFound: there is none with this number.
    """
    ticket = tickets.lock_ticket(transaction.records, ticket_id)
    if ticket is None:
        raise no_ticket(ticket_id)
    return ticket


def changeable_ticket(
    transaction: RecordsTransaction, ticket_id: int, allowed: Sequence[str] = ("GET", "DELETE")
) -> Ticket:
    """A ticket that can be changed, and that nobody else changes meanwhile; `allowed` are the verbs that remain else.

    Raises:
        NotFound: there is none with this number.
        MethodNotAllowed: it is spam, or deleted.
    """
    ticket = locked_ticket(transaction, ticket_id)
    refuse_unchangeable(ticket, allowed)
    return ticket


def refuse_unchangeable(ticket: Ticket, allowed: Sequence[str] = ("GET", "DELETE")) -> None:
    """Return where a ticket can be changed.

    Raises:
        MethodNotAllowed: it is spam, or deleted.
    """
    if ticket.deleted or ticket.spam:
        raise MethodNotAllowed("Changing a ticket that is deleted or spam", allowed)
