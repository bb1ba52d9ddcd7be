"""What is said about a ticket (contract 7): replies to the requester, and notes."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

from msgspec import Struct

from backstory.model.attachment import Attachment
from backstory.model.moment import Microseconds, format_second


class ConversationSource(IntEnum):
    """What a conversation is."""

    REPLY = 0
    NOTE = 2
    FORWARDED = 8
    PHONE = 9


class Delivery(StrEnum):
    """What became of the mail that a conversation is to be sent as."""

    QUEUED = "queued"
    SENT = "sent"
    NOT_SENT = "not_sent"


class DraftKind(StrEnum):
    """What an agent is writing."""

    REPLY = "reply"
    NOTE = "note"


class NewReply(Struct, frozen=True):
    """A reply to a ticket's requester, checked. `user_id` is who replies; None for whoever sends it."""

    body: str
    cc_emails: tuple[str, ...] = ()
    bcc_emails: tuple[str, ...] = ()
    from_email: str | None = None
    user_id: int | None = None


class NewNote(Struct, frozen=True):
    """A note on a ticket, checked. `incoming` says that it came from outside: what the requester said."""

    body: str
    private: bool = True
    incoming: bool = False
    notify_emails: tuple[str, ...] = ()
    user_id: int | None = None


class Conversation(Struct, frozen=True, kw_only=True):
    """A stored reply or note. `delivery` is None where nothing is to be sent."""

    id: int
    ticket_id: int
    user_id: int | None
    body: str
    body_text: str
    incoming: bool
    private: bool
    source: ConversationSource
    support_email: str | None
    from_email: str | None
    to_emails: tuple[str, ...]
    cc_emails: tuple[str, ...]
    bcc_emails: tuple[str, ...]
    message_id: str | None
    delivery: Delivery | None
    delivery_error: str | None
    failure_count: int
    last_edited_at: Microseconds | None
    last_edited_user_id: int | None
    created_at: Microseconds
    updated_at: Microseconds
    attachments: tuple[Attachment, ...] = ()

    @property
    def category(self) -> int:
        """Its kind as a number: 1 from the requester, 2 a private note, 3 a reply, 4 a public note."""
        if self.incoming:
            return 1
        if self.source is ConversationSource.REPLY:
            return 3
        return 2 if self.private else 4

    def answer(self) -> dict[str, Any]:
        """The conversation with the key set of the contract, but for its attachments, whose addresses HTTP makes."""
        edited = self.last_edited_at
        return {
            "id": self.id,
            "ticket_id": self.ticket_id,
            "user_id": self.user_id,
            "body": self.body,
            "body_text": self.body_text,
            "structured_body": None,
            "incoming": self.incoming,
            "private": self.private,
            "source": self.source.value,
            "category": self.category,
            "support_email": self.support_email,
            "from_email": self.from_email,
            "to_emails": list(self.to_emails),
            "cc_emails": list(self.cc_emails),
            "bcc_emails": list(self.bcc_emails),
            "email_failure_count": self.failure_count or None,
            "outgoing_failures": self._failures(),
            "thread_id": None,
            "thread_message_id": self.message_id,
            "auto_response": False,
            "automation_id": None,
            "automation_type_id": None,
            "source_additional_info": self._additional_info(),
            "last_edited_at": None if edited is None else format_second(edited),
            "last_edited_user_id": self.last_edited_user_id,
            "attachments": [],
            "created_at": format_second(self.created_at),
            "updated_at": format_second(self.updated_at),
        }

    def _failures(self) -> list[dict[str, Any]] | None:
        if self.delivery_error is None:
            return None
        everybody = [*self.to_emails, *self.cc_emails, *self.bcc_emails]
        return [{"emails": everybody, "reason": self.delivery_error}]

    def _additional_info(self) -> dict[str, Any] | None:
        """Whether it went out, and if not, why."""
        if self.delivery is None:
            return None
        return {"delivery": self.delivery.value, "reason": self.delivery_error}


class Draft(Struct, frozen=True):
    """What an agent has written and not sent yet."""

    kind: DraftKind
    body: str
    updated_at: Microseconds
