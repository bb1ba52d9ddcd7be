"""Activities that agents pinned to the top of a contact's timeline. A pin stays at the home of its activity."""

from __future__ import annotations

from backstory.errors import Code, Fault, FieldErrors
from backstory.model.activity import Activity
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import pins
from backstory.store.records.homes import select_home_ids

MAX_PINS = 3


async def pinned(records: Records, contact_id: int) -> list[str]:
    """The ids of a contact's pinned activities, the latest pin first: after a merge those of both."""
    return await records.read(lambda connection: _pinned(connection, contact_id))


def _pinned(connection: Connection, contact_id: int) -> list[str]:
    return pins.select_pins(connection, select_home_ids(connection, contact_id))


async def pin(records: Records, contact_id: int, activity: Activity, agent_id: int | None) -> None:
    """Pin an activity to its contact's timeline.

    Raises:
        FieldErrors: 409, there are as many as there can be.
    """
    activity_id = str(activity.id)

    def work(transaction: RecordsTransaction) -> None:
        there = _pinned(transaction.records, contact_id)
        if activity_id in there:
            return
        if len(there) >= MAX_PINS:
            message = f"{len(there)} activities are pinned already; unpin one of them first."
            raise FieldErrors([Fault("activity", message, Code.INCONSISTENT_STATE)])
        pins.insert_pin(transaction.records, activity.contact_key, activity_id, agent_id, now())

    await records.write(work)


async def unpin(records: Records, contact_id: int, activity: Activity) -> None:
    """Take a pin away; one that is not there is gone already."""

    def work(transaction: RecordsTransaction) -> None:
        homes = select_home_ids(transaction.records, contact_id)
        pins.delete_pin(transaction.records, homes, str(activity.id))

    await records.write(work)
