"""The names of contacts, for lists of what many of them did."""

from __future__ import annotations

from collections.abc import Iterable

from backstory.store.base import Records
from backstory.store.records.names import select_contact_names


async def contact_names(records: Records, contact_ids: Iterable[int]) -> dict[int, str]:
    """The names by number; of contacts that are gone there is none."""
    wanted = sorted(set(contact_ids))
    return await records.read(lambda connection: select_contact_names(connection, wanted))
