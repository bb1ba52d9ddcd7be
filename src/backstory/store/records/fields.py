"""The fields that an installation has added."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.custom_field import MAX_FIELDS, CustomField, FieldType, NewField
from backstory.model.moment import Microseconds
from backstory.store.records.tables import custom_fields


def select_fields(connection: sa.Connection, kind: str) -> tuple[CustomField, ...]:
    """The fields of a kind of record (contact, company, ticket), in their order."""
    rows = connection.execute(
        sa.select(custom_fields)
        .where(custom_fields.c.object == kind)
        .order_by(custom_fields.c.position, custom_fields.c.id)
    )
    return tuple(_field(row) for row in rows)


def _field(row: sa.Row[tuple[int]]) -> CustomField:
    return CustomField(
        id=row.id,
        name=row.name,
        label=row.label,
        type=FieldType(row.type),
        required=row.required,
        choices=tuple(row.choices),
        position=row.position,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def insert_field(
    connection: sa.Connection, kind: str, name: str, new: NewField, now: Microseconds
) -> CustomField:
    """Add a field, behind those that are there.

    Raises:
        FieldErrors: there is one of this name, or as many as can be.
    """
    existing = select_fields(connection, kind)
    if len(existing) >= MAX_FIELDS:
        message = f"There are {len(existing)} already; more are not possible."
        raise FieldErrors([Fault("label", message, Code.INCONSISTENT_STATE)])
    position = max((field.position for field in existing), default=0) + 1
    values = {"object": kind, "name": name, "label": new.label, "type": new.type, "required": new.required}
    values |= {"choices": list(new.choices), "position": position, "created_at": now, "updated_at": now}
    try:
        with connection.begin_nested():
            connection.execute(custom_fields.insert().values(values))
    except IntegrityError:
        message = f"It should be a unique value; there is a field {name} already."
        raise FieldErrors([Fault("label", message, Code.DUPLICATE_VALUE)]) from None
    (field,) = (field for field in select_fields(connection, kind) if field.name == name)
    return field
