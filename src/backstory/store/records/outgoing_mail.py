"""Queries on the mail that waits: each row is a mail that must still be sent."""

from __future__ import annotations

import sqlalchemy as sa
from msgspec import Struct

from backstory.model.conversation import Delivery
from backstory.model.mail import Mail, decode_mail, encode_mail
from backstory.model.moment import Microseconds
from backstory.store.records.tables import conversations, outgoing_mail


class Waiting(Struct, frozen=True):
    """A mail that waits, and how often it was tried."""

    id: int
    conversation_id: int
    mail: Mail
    attempts: int
    next_at: Microseconds
    created_at: Microseconds


def insert_mail(connection: sa.Connection, conversation_id: int, mail: Mail, now: Microseconds) -> None:
    """Have a mail sent, once this transaction is durable."""
    connection.execute(
        outgoing_mail.insert().values(
            conversation_id=conversation_id,
            sender=mail.sender.email,
            recipients=list(mail.recipients),
            message=encode_mail(mail),
            next_at=now,
            created_at=now,
        )
    )


def select_due(connection: sa.Connection, now: Microseconds, limit: int) -> list[Waiting]:
    """Mails whose time has come, the longest waiting first."""
    rows = connection.execute(
        sa.select(outgoing_mail)
        .where(outgoing_mail.c.next_at <= now)
        .order_by(outgoing_mail.c.next_at, outgoing_mail.c.id)
        .limit(limit)
    )
    return [
        Waiting(
            row.id, row.conversation_id, decode_mail(row.message), row.attempts, row.next_at, row.created_at
        )
        for row in rows
    ]


def count_waiting(connection: sa.Connection) -> int:
    """How many mails wait."""
    return connection.scalar(sa.select(sa.func.count()).select_from(outgoing_mail)) or 0


def claim(connection: sa.Connection, waiting: Waiting, until: Microseconds) -> bool:
    """Take a mail for sending; False where another process has it. It is everybody's again after `until`."""
    taken = connection.execute(
        outgoing_mail.update()
        .where(outgoing_mail.c.id == waiting.id, outgoing_mail.c.next_at == waiting.next_at)
        .values(next_at=until, attempts=waiting.attempts + 1)
    )
    return taken.rowcount == 1


def postpone(
    connection: sa.Connection, waiting: Waiting, until: Microseconds, error: str, now: Microseconds
) -> None:
    """Sending failed for now: try again later, and say why it waits."""
    connection.execute(outgoing_mail.update().where(outgoing_mail.c.id == waiting.id).values(next_at=until))
    connection.execute(
        conversations.update()
        .where(conversations.c.id == waiting.conversation_id)
        .values(delivery_error=error, failure_count=conversations.c.failure_count + 1, updated_at=now)
    )


def settle(
    connection: sa.Connection,
    waiting: Waiting,
    delivery: Delivery,
    error: str | None,
    now: Microseconds,
) -> None:
    """A mail was sent, or is given up: it waits no more, and its conversation says so."""
    delete_mail(connection, waiting.conversation_id)
    failures = 0 if delivery is Delivery.SENT else 1
    connection.execute(
        conversations.update()
        .where(conversations.c.id == waiting.conversation_id)
        .values(
            delivery=delivery,
            delivery_error=error,
            failure_count=conversations.c.failure_count + failures,
            updated_at=now,
        )
    )


def delete_mail(connection: sa.Connection, conversation_id: int) -> None:
    """Do not send the mail of a conversation; it may be sent already."""
    connection.execute(outgoing_mail.delete().where(outgoing_mail.c.conversation_id == conversation_id))
