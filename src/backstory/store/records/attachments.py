"""Queries on attachments: the bytes are on the disk, what is known of them stands here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from backstory.model.attachment import Attachment, StoredFile
from backstory.model.moment import Microseconds
from backstory.store.records.tables import attachments

_COLUMNS = [attachments.c[name] for name in Attachment.__struct_fields__]


def insert_attachments(
    connection: sa.Connection, owner: str, owner_id: int, files: Iterable[StoredFile], now: Microseconds
) -> None:
    """Give a record files that are on the disk."""
    for file in files:
        connection.execute(
            attachments.insert().values(
                owner=owner,
                owner_id=owner_id,
                name=file.name,
                content_type=file.content_type,
                size=file.size,
                stored_as=file.stored_as,
                created_at=now,
                updated_at=now,
            )
        )


def select_attachment(connection: sa.Connection, attachment_id: int) -> Attachment | None:
    """One attachment; None where there is none."""
    row = connection.execute(sa.select(*_COLUMNS).where(attachments.c.id == attachment_id)).one_or_none()
    return Attachment(*row) if row else None


def select_by_owners(
    connection: sa.Connection, owner: str, owner_ids: Collection[int]
) -> dict[int, list[Attachment]]:
    """The attachments of records, oldest first, by the record's number; records without any are left out."""
    found: dict[int, list[Attachment]] = {}
    if owner_ids:
        rows = connection.execute(
            sa.select(*_COLUMNS)
            .where(attachments.c.owner == owner, attachments.c.owner_id.in_(owner_ids))
            .order_by(attachments.c.owner_id, attachments.c.id)
        )
        for row in rows:
            found.setdefault(row.owner_id, []).append(Attachment(*row))
    return found


def delete_by_owners(connection: sa.Connection, owner: str, owner_ids: Collection[int]) -> None:
    """Forget the attachments of records; their bytes are removed from the disk when nothing names them any more."""
    connection.execute(
        attachments.delete().where(attachments.c.owner == owner, attachments.c.owner_id.in_(owner_ids))
    )


def select_known(connection: sa.Connection, stored_as: Sequence[str]) -> set[str]:
    """Which of these names on the disk belong to an attachment."""
    query = sa.select(attachments.c.stored_as).where(attachments.c.stored_as.in_(stored_as))
    return set(connection.scalars(query))


def select_number(connection: sa.Connection, stored_as: str) -> int:
    """The number of the attachment that has this name on the disk."""
    query = sa.select(attachments.c.id).where(attachments.c.stored_as == stored_as)
    return int(connection.execute(query).scalar_one())


def delete_stored(connection: sa.Connection, stored_as: str) -> None:
    """Forget the attachment that has this name on the disk."""
    connection.execute(attachments.delete().where(attachments.c.stored_as == stored_as))


def delete_older(connection: sa.Connection, owner: str, before: Microseconds) -> list[str]:
    """Forget attachments of a kind of owner that were made before a moment; their names on the disk."""
    old = sa.and_(attachments.c.owner == owner, attachments.c.created_at < before)
    names = list(connection.scalars(sa.select(attachments.c.stored_as).where(old)))
    connection.execute(attachments.delete().where(old))
    return names
