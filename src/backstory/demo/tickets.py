"""What some of the demo shop's customers wrote to it."""

from __future__ import annotations

from pathlib import Path

from backstory.helpdesk.acting import Acting
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.tickets import Tickets
from backstory.model.access import AuditEntry
from backstory.model.activity import SentContact
from backstory.model.ticket import NewTicket, Priority, Status, TicketSource
from backstory.store.base import Store

TICKETS = (
    NewTicket(
        SentContact(email="gethin.birtwell@example.com"),
        subject="Can I still change my address?",
        description="<p>I have moved. Could you send my next parcel to the new place?</p>",
        status=Status.PENDING,
        source=TicketSource.EMAIL,
        tags=("address",),
    ),
    NewTicket(
        SentContact(email="john@example.com"),
        subject="You charged me twice",
        description="<p>My card was charged twice for one order. Please give one of them back.</p>",
        priority=Priority.HIGH,
        source=TicketSource.EMAIL,
        tags=("payment",),
    ),
    NewTicket(
        SentContact(email="rachel@example.com"),
        subject="My payment failed, again",
        description="<p>Hello, I tried to pay for my sneakers and it did not go through. Was I charged?</p>",
        priority=Priority.URGENT,
        tags=("payment",),
    ),
)
"""The last one is the story's."""


async def open_tickets(store: Store, directory: Path, agent_id: int, entry: AuditEntry) -> tuple[int, int]:
    """Open them; the numbers of the last one and of its requester."""
    tickets = Tickets(store.records, AttachmentFiles(directory), lambda: None)
    opened = [await tickets.create(new, Acting(agent_id, entry)) for new in TICKETS]
    return opened[-1].id, opened[-1].requester_id
