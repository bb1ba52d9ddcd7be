"""Activities that agents pinned to the top of a contact's timeline."""

from __future__ import annotations

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.moment import now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import pins

MAX_PINS = 3


async def pinned(records: Records, contact_id: int) -> list[str]:
    """The ids of a contact's pinned activities, the latest pin first."""
    return await records.read(lambda connection: pins.select_pins(connection, contact_id))


async def pin(records: Records, contact_id: int, activity_id: str, agent_id: int | None) -> None:
    """Pin an activity to a contact's timeline.

    Raises:
        FieldErrors: 409, there are as many as there can be.
    """

    def work(transaction: RecordsTransaction) -> None:
        there = pins.select_pins(transaction.records, contact_id)
        if activity_id in there:
            return
        if len(there) >= MAX_PINS:
            message = f"{MAX_PINS} activities are pinned already; unpin one of them first."
            raise FieldErrors([Fault("activity", message, Code.INCONSISTENT_STATE)])
        pins.insert_pin(transaction.records, contact_id, activity_id, agent_id, now())

    await records.write(work)


async def unpin(records: Records, contact_id: int, activity_id: str) -> None:
    """Take a pin away; one that is not there is gone already."""
    await records.write(lambda transaction: pins.delete_pin(transaction.records, contact_id, activity_id))
