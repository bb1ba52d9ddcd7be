"""Contacts: created, read, listed, changed, deleted, restored (contract 5).

An old number of a merged contact is as good as that of the one that stands for it, but for deleting: who deletes a
duplicate behind a merge must not lose the one that was kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from backstory.errors import Code, Fault, FieldErrors, MethodNotAllowed, NotFound
from backstory.helpdesk.files import AttachmentFiles, write_with_files
from backstory.model.access import AuditEntry
from backstory.model.contact import Contact, ContactFilters, NewContact, name_key
from backstory.model.custom_field import shown_custom_fields
from backstory.model.form import Upload
from backstory.model.moment import now
from backstory.store.base import Connection, Records, RecordsTransaction
from backstory.store.records import contacts, fields, sql

FAR = 1_000
"""From so many contacts behind the first on a page begins where the one before it ended, if that is known."""

PLACE_SECONDS = 60.0
MAX_PLACES = 1_000

IDENTIFIED_BY = ("email", "phone", "mobile", "twitter_id", "unique_external_id")
"""One of these a contact must have."""


class _ListPage(NamedTuple):
    filters: ContactFilters
    limit: int
    offset: int


class _Places:
    """Where pages of lists ended lately."""

    def __init__(self) -> None:
        self._places: OrderedDict[_ListPage, tuple[float, tuple[str, int]]] = OrderedDict()

    def get(self, page: _ListPage) -> tuple[str, int] | None:
        """What stands right before a page; None where that is not known any more."""
        entry = self._places.get(page)
        return entry[1] if entry is not None and entry[0] > time.monotonic() else None

    def keep(self, page: _ListPage, place: tuple[str, int]) -> None:
        """Remember it for a while."""
        self._places[page] = (time.monotonic() + PLACE_SECONDS, place)
        self._places.move_to_end(page)
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)


class Contacts:
    """The contacts of an installation."""

    def __init__(self, records: Records, files: AttachmentFiles, phone_region: str | None = None) -> None:
        self._records = records
        self._files = files
        self._region = phone_region
        self._places = _Places()

    async def get(self, contact_id: int) -> Contact:
        """One contact, deleted ones too.

        Raises:
            NotFound: there is none with this number.
        """
        return await self._records.read(partial(self._shown, contact_id=contact_id))

    def _shown(self, connection: Connection, contact_id: int) -> Contact:
        (contact,) = with_fields(connection, [existing(connection, contact_id)])
        return contact

    async def page(self, filters: ContactFilters, limit: int, offset: int) -> list[Contact]:
        """Contacts by name; see `ContactFilters`. The last one of them only tells that there are more.

        Whoever walks a long list asks for one page behind the other: where a page ended is remembered for a while, so
        that the next one begins there instead of counting from the top.
        """
        after = self._places.get(_ListPage(filters, limit, offset)) if offset >= FAR else None

        def work(connection: Connection) -> list[Contact]:
            found = contacts.select_page(connection, filters, self._region, limit, offset, after)
            return with_fields(connection, found)

        found = await self._records.read(work)
        if len(found) == limit > 1:
            following = _ListPage(filters, limit, offset + limit - 1)
            self._places.keep(following, (name_key(found[-2].name), found[-2].id))
        return found

    async def suggest(self, term: str) -> list[tuple[int, str]]:
        """Numbers and names of contacts in whose name words begin with the term's, by name."""
        return await self._records.read(partial(contacts.select_suggested, term=term))

    async def create(self, new: NewContact, avatar: Upload | None, entry: AuditEntry) -> Contact:
        """Create a contact, with a picture where there is one.

        Raises:
            FieldErrors: 409, an identifier that must be unique belongs to another contact, with the holder's number;
                400, a company does not exist.
        """
        kept = await self._files.keep([avatar] if avatar else [])

        def work(transaction: RecordsTransaction) -> Contact:
            created = contacts.insert_contact(transaction.records, new, self._region, now())
            contacts.replace_avatar(transaction.records, created.id, kept, now())
            sql.add_audit(transaction.records, replace(entry, target=f"contact:{created.id}"))
            return self._shown(transaction.records, created.id)

        return await write_with_files(self._records, self._files, work, kept)

    async def check_changeable(self, contact_id: int) -> None:
        """Return when a contact can be changed.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is deleted, blocked, or an agent.
        """
        await self._records.read(partial(changeable, contact_id=contact_id))

    async def change(self, contact_id: int, changes: Mapping[str, Any], entry: AuditEntry) -> Contact:
        """Change fields of a contact (names of `NewContact`, and `avatar`, a file); None takes a value away.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is deleted, blocked, or an agent.
            FieldErrors: as `create`; or it would be left with nothing to be known by.
        """
        avatar = changes.get("avatar")
        kept = await self._files.keep([avatar] if avatar else [])

        def work(transaction: RecordsTransaction) -> Contact:
            connection = transaction.records
            contact = changeable(connection, contact_id)
            _keep_known(contact, changes)
            if "avatar" in changes:
                contacts.replace_avatar(connection, contact.id, kept, now())
            contacts.update_contact(connection, contact, changes, self._region, now())
            details = {"fields": sorted(changes)}
            sql.add_audit(connection, replace(entry, target=f"contact:{contact.id}", details=details))
            return self._shown(connection, contact.id)

        return await write_with_files(self._records, self._files, work, kept)

    async def delete(self, contact_id: int, entry: AuditEntry) -> None:
        """Delete a contact softly: it can be restored, and still takes activities. A second time changes nothing.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is an agent.
            FieldErrors: 409, it was merged into another one.
        """

        def work(transaction: RecordsTransaction) -> None:
            contact = existing(transaction.records, contact_id)
            refuse_merged(contact, contact_id)
            _refuse_agent(contact)
            if not contact.deleted:
                moment = now()
                contacts.update_deleted(transaction.records, contact.id, moment, moment)
                sql.add_audit(transaction.records, replace(entry, target=f"contact:{contact.id}"))

        await self._records.write(work)

    async def restore(self, contact_id: int, entry: AuditEntry) -> None:
        """Bring back a contact that is deleted or blocked; one that is neither stays as it is.

        Raises:
            NotFound: there is none with this number.
        """

        def work(transaction: RecordsTransaction) -> None:
            contact = existing(transaction.records, contact_id)
            if contact.deleted or contact.blocked:
                contacts.update_deleted(transaction.records, contact.id, None, now())
                sql.add_audit(transaction.records, replace(entry, target=f"contact:{contact.id}"))

        await self._records.write(work)

    async def note_invitation(self, contact_id: int, entry: AuditEntry) -> None:
        """Note in the audit log that a contact was to be invited; there is no portal to invite anybody to.

        Raises:
            NotFound: there is none with this number.
            MethodNotAllowed: it is deleted, blocked, or an agent.
            FieldErrors: 409, it has no email.
        """

        def work(transaction: RecordsTransaction) -> None:
            contact = changeable(transaction.records, contact_id)
            if contact.email is None:
                message = "An invitation goes to an email, and this contact has none."
                raise FieldErrors([Fault("email", message, Code.INCONSISTENT_STATE)])
            sql.add_audit(transaction.records, replace(entry, target=f"contact:{contact.id}"))

        await self._records.write(work)


def with_fields(connection: Connection, found: Sequence[Contact]) -> list[Contact]:
    """Contacts with every custom field, null where one has no value."""
    known = fields.select_fields(connection, contacts.CONTACT)
    return [
        replace(contact, custom_fields=shown_custom_fields(known, contact.custom_fields)) for contact in found
    ]


def existing(connection: Connection, contact_id: int) -> Contact:
    """The contact with this number, or the one that stands for it.

    Raises:
        NotFound: there is none.
    """
    contact = contacts.select_contact(connection, contact_id)
    if contact is None:
        raise no_contact(contact_id)
    return contact


def no_contact(contact_id: int) -> NotFound:
    """What a number is answered that no contact has."""
    return NotFound(f"There is no contact {contact_id}.")


def changeable(connection: Connection, contact_id: int) -> Contact:
    """The contact with this number, for a change.

    Raises:
        NotFound: there is none.
        MethodNotAllowed: it is deleted, blocked, or an agent.
    """
    contact = existing(connection, contact_id)
    refuse_gone(contact)
    _refuse_agent(contact)
    return contact


def refuse_gone(contact: Contact) -> None:
    """Refuse to change a contact that is deleted or blocked.

    Raises:
        MethodNotAllowed: it is.
    """
    if contact.deleted or contact.blocked:
        raise MethodNotAllowed("Changing a contact that is deleted or blocked", ("GET", "DELETE"))


def _refuse_agent(contact: Contact) -> None:
    if contact.is_agent:
        raise MethodNotAllowed("Changing an agent as a contact", ("GET",))


def refuse_merged(contact: Contact, contact_id: int) -> None:
    """Refuse to delete a contact by the number of one that was merged into it.

    Raises:
        FieldErrors: 409.
    """
    if contact.id != contact_id:
        message = f"Contact {contact_id} was merged into {contact.id}; undo the merge, or delete that one."
        raise FieldErrors([Fault("id", message, Code.INCONSISTENT_STATE)])


def _keep_known(contact: Contact, changes: Mapping[str, Any]) -> None:
    """Refuse a change that takes away the last thing that a contact is known by."""
    if not any(name in changes for name in IDENTIFIED_BY):
        return
    if not any(changes.get(name, getattr(contact, name)) for name in IDENTIFIED_BY):
        message = f"One of these must stay: {', '.join(IDENTIFIED_BY)}."
        raise FieldErrors([Fault("email", message, Code.MISSING_FIELD)])
