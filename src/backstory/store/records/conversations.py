"""Queries on conversations and drafts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from backstory.model.conversation import Conversation, ConversationSource, Delivery, Draft, DraftKind
from backstory.model.moment import Microseconds
from backstory.store.records import attachments
from backstory.store.records.tables import conversations, drafts

OWNER = "conversation"

_EMAIL_LISTS = ("to_emails", "cc_emails", "bcc_emails")
_AS_THEY_ARE = (
    "id ticket_id user_id body body_text incoming private support_email from_email message_id delivery_error"
    " failure_count last_edited_at last_edited_user_id created_at updated_at"
).split()


def select_conversation(connection: sa.Connection, conversation_id: int) -> Conversation | None:
    """One conversation; None where there is none."""
    rows = connection.execute(sa.select(conversations).where(conversations.c.id == conversation_id)).all()
    found = _conversations(connection, rows)
    return found[0] if found else None


def select_page(connection: sa.Connection, ticket_id: int, *, offset: int, limit: int) -> list[Conversation]:
    """Conversations of a ticket, oldest first."""
    rows = connection.execute(
        sa.select(conversations)
        .where(conversations.c.ticket_id == ticket_id)
        .order_by(conversations.c.created_at, conversations.c.id)
        .offset(offset)
        .limit(limit)
    ).all()
    return _conversations(connection, rows)


def _conversations(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Conversation]:
    files = attachments.select_by_owners(connection, OWNER, [row.id for row in rows])
    return [
        Conversation(
            **_fields(row),
            source=ConversationSource(row.source),
            delivery=Delivery(row.delivery) if row.delivery else None,
            attachments=tuple(files.get(row.id, ())),
        )
        for row in rows
    ]


def _fields(row: sa.Row[Any]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in _AS_THEY_ARE}
    return fields | {name: tuple(getattr(row, name)) for name in _EMAIL_LISTS}


def insert_conversation(connection: sa.Connection, values: Mapping[str, Any]) -> int:
    """Add a conversation; its number."""
    inserted = connection.execute(conversations.insert().values(**values))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def update_conversation(connection: sa.Connection, conversation_id: int, values: Mapping[str, Any]) -> None:
    """Write some columns of a conversation."""
    connection.execute(conversations.update().where(conversations.c.id == conversation_id).values(**values))


def move_conversations(connection: sa.Connection, ticket_id: int, to_ticket_id: int) -> None:
    """Give all conversations of a ticket to another one."""
    connection.execute(
        conversations.update().where(conversations.c.ticket_id == ticket_id).values(ticket_id=to_ticket_id)
    )


def delete_conversation(connection: sa.Connection, conversation_id: int) -> None:
    """Remove a conversation."""
    connection.execute(conversations.delete().where(conversations.c.id == conversation_id))


def select_message_ids(connection: sa.Connection, ticket_id: int, limit: int) -> list[str]:
    """The Message-IDs of a ticket's last mails, oldest first."""
    query = (
        sa.select(conversations.c.message_id)
        .where(conversations.c.ticket_id == ticket_id, conversations.c.message_id.is_not(None))
        .order_by(conversations.c.created_at.desc(), conversations.c.id.desc())
        .limit(limit)
    )
    return [each for each in connection.scalars(query) if each is not None][::-1]


# Drafts.


def select_draft(connection: sa.Connection, ticket_id: int, agent_id: int, kind: DraftKind) -> Draft | None:
    """What an agent has written; None where there is nothing."""
    row = connection.execute(
        sa.select(drafts.c.kind, drafts.c.body, drafts.c.updated_at).where(
            drafts.c.ticket_id == ticket_id, drafts.c.agent_id == agent_id, drafts.c.kind == kind
        )
    ).one_or_none()
    return Draft(DraftKind(row.kind), row.body, row.updated_at) if row else None


def save_draft(
    connection: sa.Connection,
    ticket_id: int,
    agent_id: int,
    kind: DraftKind,
    body: str,
    now: Microseconds,
) -> None:
    """Keep what an agent has written, instead of what they had."""
    delete_draft(connection, ticket_id, agent_id, kind)
    connection.execute(
        drafts.insert().values(ticket_id=ticket_id, agent_id=agent_id, kind=kind, body=body, updated_at=now)
    )


def delete_draft(connection: sa.Connection, ticket_id: int, agent_id: int, kind: DraftKind) -> None:
    """Forget what an agent has written; it may not be there."""
    connection.execute(
        drafts.delete().where(
            drafts.c.ticket_id == ticket_id, drafts.c.agent_id == agent_id, drafts.c.kind == kind
        )
    )
