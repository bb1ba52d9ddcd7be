"""Merging contacts, undoing it, and the merges that are suggested (docs/decisions/0008-merges.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.contacts import existing
from backstory.model.access import AuditEntry
from backstory.model.contact import OtherCompany
from backstory.model.merge import Merge, MergeSuggestion
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import merges, sql
from backstory.store.records.contacts import select_contact
from backstory.store.records.homes import select_survivors

STANDING_SECONDS = 0.25
"""For how long it is taken as known who stands for whom, by those who only watch."""

PRIMARY, SECONDARY = "primary_contact_id", "secondary_contact_ids"

Standing = tuple[int | None, ...]
"""Compares unequal once somebody began or ceased to stand for somebody else."""


class Merges:
    """The merges of an installation."""

    def __init__(self, records: Records, phone_region: str | None = None) -> None:
        self._records = records
        self._region = phone_region
        self._standing: Standing = ()
        self._known_until = 0.0
        self._asking = asyncio.Lock()

    async def standing(self) -> Standing:
        """Who stands for whom, as one value that changes with it; at most a quarter of a second old."""
        async with self._asking:  # many viewers ask, and one answer does for all
            if time.monotonic() >= self._known_until:
                self._standing = await self._records.read(merges.select_standing)
                self._known_until = time.monotonic() + STANDING_SECONDS
            return self._standing

    async def merge(
        self,
        primary_id: int,
        secondary_ids: Sequence[int],
        values: Mapping[str, Any],
        *,
        agent_id: int | None,
        entry: AuditEntry,
    ) -> None:
        """Have one contact stand for others as well; `values` are written on it. Those it stands for already stay so.

        Raises:
            FieldErrors: 400, one does not exist; 409, the primary was merged away, is among the secondaries, or one
                of them cannot be merged; or as a change of the contact.
        """

        def work(transaction: RecordsTransaction) -> None:
            self._merge(transaction, primary_id, secondary_ids, values, agent_id, entry)

        await self._records.write(work)

    def _merge(
        self,
        transaction: RecordsTransaction,
        primary_id: int,
        secondary_ids: Sequence[int],
        values: Mapping[str, Any],
        agent_id: int | None,
        entry: AuditEntry,
    ) -> None:
        connection, moment = transaction.records, now()
        wanted = _check(connection, primary_id, list(dict.fromkeys(secondary_ids)))
        if not wanted:
            return
        made = [merges.insert_merge(connection, primary_id, each, agent_id, moment) for each in wanted]
        if values:
            contact = existing(connection, primary_id)
            chosen = _with_companies(values, contact.other_companies)
            merges.choose_values(connection, made[-1], contact, chosen, self._region, moment)
        details = {"secondaries": wanted, "merges": made}
        sql.add_audit(connection, replace(entry, target=f"contact:{primary_id}", details=details))

    async def undo(self, merge_id: int, *, agent_id: int | None, entry: AuditEntry) -> None:
        """Let both contacts of a merge stand for themselves again, as they were.

        What arrived since is where its identifier belongs; values that were edited since stay with the primary.

        Raises:
            NotFound: there is no such merge.
            FieldErrors: 409, it was undone before.
        """

        def work(transaction: RecordsTransaction) -> None:
            connection = transaction.records
            merge = merges.lock_merge(connection, merge_id)
            if merge is None:
                raise NotFound(f"There is no merge {merge_id}.")
            if merge.undone_at is not None:
                message = f"The merge {merge_id} was undone before."
                raise FieldErrors([Fault("merge_id", message, Code.INCONSISTENT_STATE)])
            merges.undo_merge(connection, merge, self._region, agent_id, now())
            details = {"secondaries": [merge.secondary_id], "merges": [merge_id]}
            sql.add_audit(connection, replace(entry, target=f"contact:{merge.primary_id}", details=details))

        await self._records.write(work)

    async def page(self, contact_id: int, limit: int, offset: int) -> list[Merge]:
        """The merges that a contact had a part in, undone ones too, newest first.

        Raises:
            NotFound: there is no contact with this number.
        """

        def work(connection: Connection) -> list[Merge]:
            existing(connection, contact_id)
            return merges.select_merges(connection, contact_id, limit, offset)

        return await self._records.read(work)

    async def suggestions(self, contact_id: int) -> list[MergeSuggestion]:
        """Who may be the same person as a contact, the oldest suggestion first.

        Raises:
            NotFound: there is no contact with this number.
        """

        def work(connection: Connection) -> list[MergeSuggestion]:
            existing(connection, contact_id)
            return merges.select_suggestions(connection, contact_id)

        return await self._records.read(work)

    async def accept(
        self, contact_id: int, other_id: int, *, agent_id: int | None, entry: AuditEntry
    ) -> None:
        """Merge a contact that was suggested into this one.

        Raises:
            NotFound: there is no contact with this number, or no such suggestion.
            FieldErrors: as `merge`.
        """

        def work(transaction: RecordsTransaction) -> None:
            contact, other = _suggested(transaction.records, contact_id, other_id)
            self._merge(transaction, contact, [other], {}, agent_id, entry)

        await self._records.write(work)

    async def dismiss(
        self, contact_id: int, other_id: int, *, agent_id: int | None, entry: AuditEntry
    ) -> None:
        """Note that a contact that was suggested is somebody else; for the same reason they are not suggested again.

        Raises:
            NotFound: there is no contact with this number, or no such suggestion.
        """

        def work(transaction: RecordsTransaction) -> None:
            connection = transaction.records
            contact, other = _suggested(connection, contact_id, other_id)
            merges.dismiss_suggestions(connection, contact, other, agent_id, now())
            sql.add_audit(connection, replace(entry, target=f"contact:{contact}", details={"other": other}))

        await self._records.write(work)


def _check(connection: Connection, primary_id: int, secondary_ids: list[int]) -> list[int]:
    """Which secondaries are to be merged: all that the primary does not stand for already.

    Raises:
        FieldErrors: with everything that is in the way.
    """
    rows = merges.lock_contacts(connection, [primary_id, *secondary_ids])
    survivors = select_survivors(connection, rows)
    faults = []
    if primary_id not in rows:
        faults.append(_unknown(PRIMARY, primary_id))
    elif problem := merges.hindrance(rows[primary_id]):
        faults.append(Fault(PRIMARY, f"Contact {primary_id} {problem}.", Code.INCONSISTENT_STATE))
    wanted = []
    for each in secondary_ids:
        if each not in rows:
            faults.append(_unknown(SECONDARY, each))
        elif each == primary_id:
            message = f"Contact {each} cannot be merged into itself."
            faults.append(Fault(SECONDARY, message, Code.INCONSISTENT_STATE))
        elif survivors[each] == primary_id:
            continue  # a repeat of the same request
        elif problem := merges.hindrance(rows[each]):
            faults.append(Fault(SECONDARY, f"Contact {each} {problem}.", Code.INCONSISTENT_STATE))
        else:
            wanted.append(each)
    if faults:
        raise FieldErrors(faults)
    return wanted


def _unknown(field: str, contact_id: int) -> Fault:
    return Fault(field, f"There is no contact {contact_id}.", Code.INVALID_VALUE)


def _with_companies(values: Mapping[str, Any], others: Sequence[OtherCompany]) -> dict[str, Any]:
    """Values with `company_ids` taken apart: the first is the contact's company, the rest join its further ones."""
    taken = dict(values)
    named = taken.pop("company_ids", None) or ()
    if named:
        known = {each.company_id for each in others}
        taken["company_id"] = named[0]
        new = [OtherCompany(each) for each in dict.fromkeys(named[1:]) if each not in known]
        taken["other_companies"] = (*others, *new)
    return taken


def _suggested(connection: Connection, contact_id: int, other_id: int) -> tuple[int, int]:
    """The two contacts of a suggestion, by the numbers of those who stand for them.

    Raises:
        NotFound: there is no contact with this number, or no such suggestion.
    """
    contact = existing(connection, contact_id)
    other = select_contact(connection, other_id)
    found = {each.contact_id for each in merges.select_suggestions(connection, contact.id)}
    if other is None or other.id not in found:
        raise NotFound(f"It is not suggested to merge contact {other_id} into {contact_id}.")
    return contact.id, other.id
