"""A ticket as the API answers it (contract 6): its states, when it is due, and what a change of state does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct

from backstory.model.activity import SentContact
from backstory.model.attachment import Attachment
from backstory.model.moment import Microseconds, format_second

MAX_SUBJECT = 255
MAX_TAGS = 100
MAX_TAG = 255
MAX_CC = 50
MAX_TYPE = 255
LISTED_DAYS = 30
"""A list that names no `updated_since` goes back so far."""

EMBEDDED_CONVERSATIONS = 10

_HOUR = 3600 * 1_000_000


class _Named(IntEnum):
    @property
    def label(self) -> str:
        """What people call it."""
        return self.name.replace("_", " ").capitalize()


class Status(_Named):
    """Where a ticket stands. Those from 6 are the ones that a new Freshdesk account has beside its own four."""

    OPEN = 2
    PENDING = 3
    RESOLVED = 4
    CLOSED = 5
    WAITING_ON_CUSTOMER = 6
    WAITING_ON_THIRD_PARTY = 7

    @property
    def is_done(self) -> bool:
        """Whether nobody works on it any more."""
        return self in (Status.RESOLVED, Status.CLOSED)


class Priority(_Named):
    """How much it matters."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    URGENT = 4


class TicketSource(_Named):
    """How it reached us."""

    EMAIL = 1
    PORTAL = 2
    PHONE = 3
    CHAT = 7
    FEEDBACK_WIDGET = 9
    OUTBOUND_EMAIL = 10


ENUMS: dict[str, type[Status] | type[Priority] | type[TicketSource]] = {
    "status": Status,
    "priority": Priority,
    "source": TicketSource,
}
"""The fields that are numbers with a meaning."""

SERVICE_HOURS: dict[Priority, tuple[int, int]] = {
    Priority.LOW: (24, 120),
    Priority.MEDIUM: (12, 72),
    Priority.HIGH: (4, 24),
    Priority.URGENT: (1, 8),
}
"""Within how many hours of its creation a ticket is to be answered first, and resolved, around the clock."""


def due_times(priority: Priority, created: Microseconds) -> tuple[Microseconds, Microseconds]:
    """When the first answer, and when the resolution of a ticket is due."""
    first, resolved = SERVICE_HOURS[priority]
    return created + first * _HOUR, created + resolved * _HOUR


class NewTicket(Struct, frozen=True):
    """A ticket to create, its fields checked one by one. `requester` has at least one identifier."""

    requester: SentContact
    subject: str | None = None
    description: str = ""
    type: str | None = None
    status: Status = Status.OPEN
    priority: Priority = Priority.LOW
    source: TicketSource = TicketSource.PORTAL
    responder_id: int | None = None
    group_id: int | None = None
    company_id: int | None = None
    product_id: int | None = None
    email_config_id: int | None = None
    due_by: Microseconds | None = None
    fr_due_by: Microseconds | None = None
    cc_emails: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    custom_fields: Mapping[str, Any] = {}


class Stats(Struct, frozen=True):
    """When what happened to a ticket."""

    closed_at: Microseconds | None = None
    resolved_at: Microseconds | None = None
    first_responded_at: Microseconds | None = None
    agent_responded_at: Microseconds | None = None
    requester_responded_at: Microseconds | None = None
    reopened_at: Microseconds | None = None
    pending_since: Microseconds | None = None
    status_updated_at: Microseconds | None = None

    def answer(self) -> dict[str, Any]:
        """The stats with the key set of the contract."""
        return {name: _second(getattr(self, name)) for name in self.__struct_fields__}


def enter_status(status: Status, before: Status | None, at: Microseconds) -> dict[str, Microseconds | None]:
    """What a ticket's stats become when it enters a status; `before` is None for a new ticket."""
    stats: dict[str, Microseconds | None] = {
        "status_updated_at": at,
        "pending_since": at if status is Status.PENDING else None,
        "closed_at": at if status is Status.CLOSED else None,
    }
    was_done = before is not None and before.is_done
    if not status.is_done:
        stats["resolved_at"] = None
    elif not was_done:
        stats["resolved_at"] = at
    if was_done and not status.is_done:
        stats["reopened_at"] = at
    return stats


class Ticket(Struct, frozen=True, kw_only=True):
    """A stored ticket. `requester_id` is the contact that stands for `home_id`, whose ticket it is."""

    id: int
    subject: str | None
    description: str
    description_text: str
    type: str | None
    status: Status
    priority: Priority
    source: TicketSource
    requester_id: int
    home_id: int
    responder_id: int | None
    group_id: int | None
    company_id: int | None
    product_id: int | None
    email_config_id: int | None
    support_email: str | None
    to_emails: tuple[str, ...] | None
    cc_emails: tuple[str, ...]
    fwd_emails: tuple[str, ...]
    reply_cc_emails: tuple[str, ...]
    ticket_cc_emails: tuple[str, ...]
    spam: bool
    deleted: bool
    merged_into: int | None
    due_by: Microseconds
    fr_due_by: Microseconds
    nr_due_by: Microseconds | None
    parent_id: int | None
    tags: tuple[str, ...]
    custom_fields: Mapping[str, Any]
    stats: Stats
    thread_id: str | None
    created_at: Microseconds
    updated_at: Microseconds
    attachments: tuple[Attachment, ...] = ()

    def is_late(self, moment: Microseconds) -> bool:
        """Whether it should have been resolved by now."""
        return not self.status.is_done and self.due_by < moment

    def is_unanswered(self, moment: Microseconds) -> bool:
        """Whether nobody has answered it in time."""
        return self.stats.first_responded_at is None and not self.status.is_done and self.fr_due_by < moment

    def answer(self, moment: Microseconds) -> dict[str, Any]:
        """The ticket with the key set of the contract, but for its attachments, whose addresses HTTP makes."""
        return {
            "id": self.id,
            "subject": self.subject,
            "description": self.description,
            "description_text": self.description_text,
            "structured_description": None,
            "type": self.type,
            "status": self.status.value,
            "priority": self.priority.value,
            "source": self.source.value,
            "requester_id": self.requester_id,
            "responder_id": self.responder_id,
            "group_id": self.group_id,
            "company_id": self.company_id,
            "product_id": self.product_id,
            "email_config_id": self.email_config_id,
            "support_email": self.support_email,
            "to_emails": None if self.to_emails is None else list(self.to_emails),
            "cc_emails": list(self.cc_emails),
            "fwd_emails": list(self.fwd_emails),
            "reply_cc_emails": list(self.reply_cc_emails),
            "ticket_cc_emails": list(self.ticket_cc_emails),
            "spam": self.spam,
            "deleted": self.deleted,
            "urgent": self.priority is Priority.URGENT,
            "fr_escalated": self.is_unanswered(moment),
            "nr_escalated": False,
            "is_escalated": self.is_late(moment),
            "due_by": format_second(self.due_by),
            "fr_due_by": format_second(self.fr_due_by),
            "nr_due_by": _second(self.nr_due_by),
            "association_type": None,
            "associated_tickets_count": None,
            "associated_tickets_list": None,
            "form_id": None,
            "source_additional_info": None,
            "tags": list(self.tags),
            "attachments": [],
            "custom_fields": dict(self.custom_fields),
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }


DESCRIPTION_KEYS = ("description", "description_text", "structured_description")
"""What lists leave out unless they are asked for it."""


def _second(moment: Microseconds | None) -> str | None:
    return None if moment is None else format_second(moment)


class Requester(Struct, frozen=True):
    """Whose a ticket is, as it is shown with it."""

    id: int
    name: str
    email: str | None
    mobile: str | None
    phone: str | None


class Named(Struct, frozen=True):
    """A record's number and what people call it: a company, an agent."""

    id: int
    name: str


class View(StrEnum):
    """Tickets that are looked for often. The first four are the API's."""

    NEW_AND_MY_OPEN = "new_and_my_open"
    WATCHING = "watching"
    SPAM = "spam"
    DELETED = "deleted"
    MY_OPEN = "my_open"
    UNASSIGNED = "unassigned"


class Order(StrEnum):
    """By what a list of tickets is ordered."""

    CREATED = "created_at"
    DUE = "due_by"
    UPDATED = "updated_at"
    STATUS = "status"


class TicketFilters(Struct, frozen=True):
    """What a list of tickets is narrowed to; all that is given must hold.

    `homes` are the numbers of contacts. Without a view for them, spam and deleted tickets are left out. Every one of
    `words` must begin a word of the subject or of the requester's name.
    """

    view: View | None = None
    statuses: tuple[Status, ...] = ()
    homes: Collection[int] | None = None
    company_id: int | None = None
    group_id: int | None = None
    updated_since: Microseconds | None = None
    created_since: Microseconds | None = None
    words: tuple[str, ...] = ()
