"""What the contract suite needs on every engine: publications made by the real admission, and waiting for the index."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from backstory.errors import FieldErrors
from backstory.ingest.admit import Arrival, admit
from backstory.model.access import AuditEntry, Principal, Role
from backstory.model.activity import Activity, Publication, Published
from backstory.model.contact import Contact, NewContact
from backstory.model.ids import ContactKey
from backstory.model.moment import now, parse_moment
from backstory.model.page import Filters, Place
from backstory.store.base import Store
from backstory.store.cassandra import CassandraStore
from backstory.store.copying import EVERYTHING, KeptActivity, LogCopy
from backstory.store.records.contacts import insert_contact

PRINCIPAL = Principal(1, 1, Role.ADMIN, frozenset(), None)
ENTRY = AuditEntry(0, "test", "test", "test", "test")
NOON = parse_moment("2024-05-17T12:00:00Z")
NONE = Filters()
_ROWS = msgspec.json.Decoder()


def publication(
    contact: dict[str, Any] | None = None,
    *,
    at: int | None = None,
    key: str | None = None,
    received: int | None = None,
    region: str | None = None,
    literal: str = "",
    **activity: Any,
) -> Publication:
    """An admitted publish request.

    `at`: its timestamp in microseconds; `key`: the Idempotency-Key header; `literal`: JSON text that stands where
    "@@" was given.
    """
    arrival = Arrival(PRINCIPAL, now() if received is None else received, key, region)
    request = {
        "activity": {"name": "Paid", "actor": {"type": "shopper"}, "source": {"name": "shopify"}} | activity,
        "contact": {"email": "rachel@example.com"} if contact is None else contact,
    }
    admitted = admit(json.dumps(request).replace('"@@"', literal).encode(), arrival)
    if at is None:
        return admitted
    return msgspec.structs.replace(admitted, timestamp=at)


async def publish(store: Store, *publications: Publication) -> list[Published]:
    """Publish in one group; all must be kept."""
    results = await store.publish(publications)
    assert all(isinstance(result, Published) for result in results), results
    return [result for result in results if isinstance(result, Published)]


async def publish_one(store: Store, contact: dict[str, Any] | None = None, **options: Any) -> Published:
    """Publish one activity, in a group of its own."""
    (published,) = await publish(store, publication(contact, **options))
    return published


async def create_contact(store: Store, new: NewContact) -> Contact:
    """Create a contact as whoever works here does, by the query alone."""
    return await store.records.write(lambda change: insert_contact(change.records, new, None, now()))


async def refused(store: Store, item: Publication) -> FieldErrors:
    """Publish one that is refused."""
    (result,) = await store.publish([item])
    assert isinstance(result, FieldErrors)
    return result


async def home_of(store: Store, published: Published) -> ContactKey:
    """The log's key of the contact that an activity went to."""
    assert published.contact_id is not None
    contact = await store.records.contact(published.contact_id)
    assert contact is not None
    return contact.key


async def indexed(store: Store) -> None:
    """Return once readers find everything that was published so far, or noted with a change of the records."""
    deadline = time.monotonic() + 10
    while store.stats().index_lag > 0:
        assert time.monotonic() < deadline, "the index did not catch up"
        await asyncio.sleep(0.002)  # between two looks
    while isinstance(store, CassandraStore) and await store.records.read(_are_noted):
        assert time.monotonic() < deadline, "the noted events did not reach the log"
        await (
            store.relay()
        )  # the store's own may have taken them already: then they are counted until it is done
    await store.publish([])  # passes the commit that the index is in


def _are_noted(connection: sa.Connection) -> bool:
    return bool(connection.scalar(sa.select(sa.func.count()).select_from(sa.table("activity_outbox"))))


async def timeline(
    store: Store, homes: Sequence[ContactKey], filters: Filters = NONE, *, limit: int = 100
) -> list[Activity]:
    """A whole timeline, page by page."""
    found: list[Activity] = []
    after: Place | None = None
    while True:
        page = await store.log.page(homes, filters, after, limit)
        assert len(page.activities) <= limit
        found.extend(page.activities)
        if page.next is None:
            return found
        after = page.next


def finds_words_across(store: Store) -> bool:
    """Whether an engine finds words across contacts; one that does not refuses them (test_cassandra.py)."""
    return not isinstance(store, CassandraStore)


def rounds(store: Store) -> int:
    """How many random queries are enough: on a cluster each is a dozen exchanges between servers on one machine."""
    return 30 if isinstance(store, CassandraStore) else 150


def limits(store: Store) -> tuple[int, ...]:
    """The sizes of pages that random queries ask for; on a cluster none of one activity, for the same reason."""
    return (7, 30, 100) if isinstance(store, CassandraStore) else (1, 3, 100)


async def found(store: Store, filters: Filters = NONE, *, limit: int = 100) -> list[Activity]:
    """Everything that a search across contacts finds, page by page."""
    all_found: list[Activity] = []
    after: Place | None = None
    while True:
        page = await store.log.find(filters, after, limit)
        assert len(page.activities) <= limit
        all_found.extend(page.activities)
        if page.next is None:
            return all_found
        after = page.next


async def found_by_words(
    store: Store, published: Published, filters: Filters, *, limit: int = 100
) -> list[Activity]:
    """As `found`; in the timeline of the contact of `published` where the engine finds words there alone."""
    if finds_words_across(store):
        return await found(store, filters, limit=limit)
    return await timeline(store, [await home_of(store, published)], filters, limit=limit)


async def kept_in(log: LogCopy) -> list[KeptActivity]:
    """All activities of a log, as they are kept, in the order of their positions."""
    return sorted([row async for rows in log.activities(0, EVERYTHING) for row in rows])
