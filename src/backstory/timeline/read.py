"""Reading activities: the API, the pages and the command line all come through here."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from backstory.errors import NotFound
from backstory.model.activity import Activity, join_answers
from backstory.model.contact import Contact
from backstory.model.ids import ActivityId
from backstory.model.page import Filters, Place
from backstory.store.base import Homes, Store, StreamPosition, WritesPages, WrittenPage


class Shown(Struct, frozen=True):
    """An activity and the public number of its contact."""

    activity: Activity
    contact_id: int

    def answer(self) -> bytes:
        """The activity as the API answers it."""
        return self.activity.answer(self.contact_id)


class ShownPage(Struct, frozen=True):
    """A page of activities, newest first; `position` is where a live stream goes on, on a first page.

    `homes` are those of the contact whose timeline it is.
    """

    activities: tuple[Shown, ...]
    next: Place | None
    position: StreamPosition | None = None
    homes: Homes | None = None

    def written(self) -> WrittenPage:
        """The page as the API answers it."""
        return WrittenPage(
            join_answers([each.answer() for each in self.activities]), self.next, self.position, self.homes
        )


class Timeline:
    """The read path over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writer = store if isinstance(store, WritesPages) else None

    async def contact(self, contact_id: int) -> Contact:
        """A contact.

        Raises:
            NotFound: there is none with this number.
        """
        contact = await self._store.records.contact(contact_id)
        if contact is None:
            raise _no_contact(contact_id)
        return contact

    async def homes(self, contact_id: int) -> Homes:
        """The homes whose activities make a contact's timeline.

        Raises:
            NotFound: there is no contact with this number.
        """
        homes = await self._store.records.homes(contact_id)
        if homes is None:
            raise _no_contact(contact_id)
        return homes

    async def activity(self, activity_id: ActivityId) -> Shown:
        """One activity.

        Raises:
            NotFound: there is none with this id (any more).
        """
        activity = await self._store.log.get(activity_id)
        if activity is None:
            raise NotFound(f"There is no activity {activity_id}.")
        shown = await self._show([activity])
        if not shown:  # its contact was erased, and it is about to be
            raise NotFound(f"There is no activity {activity_id}.")
        return shown[0]

    async def page(self, contact_id: int, filters: Filters, after: Place | None, limit: int) -> ShownPage:
        """A page of a contact's timeline, newest first.

        Raises:
            NotFound: there is no contact with this number.
        """
        read = await self._store.read_timeline(contact_id, filters, after, limit)
        if read is None:
            raise _no_contact(contact_id)
        shown = tuple(Shown(activity, read.homes.contact_id) for activity in read.page.activities)
        return ShownPage(shown, read.page.next, read.position, read.homes)

    async def written_page(
        self, contact_id: int, filters: Filters, after: Place | None, limit: int
    ) -> WrittenPage:
        """As `page`, as the API answers it."""
        if self._writer is None:
            return (await self.page(contact_id, filters, after, limit)).written()
        written = await self._writer.write_timeline(contact_id, filters, after, limit)
        if written is None:
            raise _no_contact(contact_id)
        return written

    async def find(self, filters: Filters, after: Place | None, limit: int) -> ShownPage:
        """A page of activities across contacts, newest first."""
        page = await self._store.log.find(filters, after, limit)
        return ShownPage(await self._show(page.activities), page.next)

    async def _show(self, activities: Sequence[Activity]) -> tuple[Shown, ...]:
        """Join the contacts' numbers; activities of a contact that was just erased are left out."""
        keys = {activity.contact_key for activity in activities}
        ids = await self._store.records.contact_ids(sorted(keys)) if keys else {}
        return tuple(Shown(each, ids[each.contact_key]) for each in activities if each.contact_key in ids)


def _no_contact(contact_id: int) -> NotFound:
    return NotFound(f"There is no contact {contact_id}.")
