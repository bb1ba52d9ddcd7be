"""Contacts as agents look for them: by anything that they are known by; and who is not to be listened to."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from msgspec.structs import replace

from backstory.helpdesk.contacts import changeable
from backstory.model.access import AuditEntry
from backstory.model.contact import Contact, State
from backstory.model.identity import Kind
from backstory.model.moment import now
from backstory.store.base import Records, RecordsTransaction
from backstory.store.records import contact_finding, sql

MAX_SEARCH = 255


async def find_contacts(
    records: Records, text: str, state: State | None, region: str | None, limit: int, offset: int
) -> list[Contact]:
    """Contacts by name who are known by a text: name, company, email, number, an id here or elsewhere.

    Those that are neither deleted nor blocked; with a state, those that are.
    """
    work = partial(
        contact_finding.select_found, text=text, state=state, region=region, limit=limit, offset=offset
    )
    return await records.read(work)


async def known_by(records: Records, contact_id: int) -> list[tuple[Kind, str]]:
    """All that a contact is known by, but for numbers, oldest first."""
    return await records.read(partial(contact_finding.select_identifiers, contact_id=contact_id))


async def contact_names(records: Records, contact_ids: Collection[int]) -> dict[int, str]:
    """The names of contacts, those that were merged away their own; of contacts that are gone there is none."""
    return await records.read(partial(contact_finding.select_names, contact_ids=contact_ids))


async def block_contact(records: Records, contact_id: int, entry: AuditEntry) -> None:
    """Block a contact: it is in no list, and still takes activities. Restoring takes it back.

    Raises:
        NotFound: there is none with this number.
        MethodNotAllowed: it is deleted, blocked, or an agent.
    """

    def work(transaction: RecordsTransaction) -> None:
        contact = changeable(transaction.records, contact_id)
        contact_finding.update_blocked(transaction.records, contact.id, now())
        sql.add_audit(transaction.records, replace(entry, target=f"contact:{contact.id}"))

    await records.write(work)
