"""The fields that an installation adds to contacts, companies and tickets."""

from __future__ import annotations

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.access import AuditEntry
from backstory.model.custom_field import PREFIX, CustomField, FieldType, NewField, field_name
from backstory.model.moment import now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import fields, sql

CONTACT, COMPANY, TICKET = "contact", "company", "ticket"


async def list_fields(records: Records, kind: str) -> tuple[CustomField, ...]:
    """The fields that were added to a kind of record, in their order."""
    return await records.read(lambda connection: fields.select_fields(connection, kind))


async def add_field(records: Records, kind: str, new: NewField, entry: AuditEntry) -> CustomField:
    """Add a field. Its name is made from its label.

    Raises:
        FieldErrors: there is one of this name, the label has no word, or choices do not go with the type.
    """
    name = field_name(new.label)
    _refuse(name, new)

    def work(transaction: RecordsTransaction) -> CustomField:
        added = fields.insert_field(transaction.records, kind, name, new, now())
        sql.add_audit(transaction.records, replace(entry, target=f"field:{kind}.{added.name}"))
        return added

    return await records.write(work)


def _refuse(name: str, new: NewField) -> None:
    faults = []
    if name == PREFIX:
        message = "It has no letter or digit, so that no name can be made from it."
        faults.append(Fault("label", message, Code.INVALID_VALUE))
    if new.choices and new.type is not FieldType.DROPDOWN:
        message = f"Only a {FieldType.DROPDOWN} has choices."
        faults.append(Fault("choices", message, Code.INCOMPATIBLE_FIELD))
    if not new.choices and new.type is FieldType.DROPDOWN:
        faults.append(Fault("choices", "A dropdown needs some.", Code.MISSING_FIELD))
    if faults:
        raise FieldErrors(faults)
