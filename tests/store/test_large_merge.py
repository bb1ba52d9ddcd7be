"""A merge of two contacts with 100,000 activities each, and its undoing: exact, a few rows, and publishing goes on."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pysqlite3 as sqlite3
import pytest

from backstory.helpdesk.merges import Merges
from backstory.model.activity import Published
from backstory.model.contact import NewContact
from backstory.model.ids import ActivityId
from backstory.store.base import RecordsTransaction
from backstory.store.log.sqlite_search import search_file
from backstory.store.sqlite import SqliteStore
from tests.store.support import ENTRY, NONE, create_contact, publication

MANY = 100_000
FEW_ROWS = 40

_FILL = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
INSERT INTO activities
SELECT ?2 + i * 2, i, ?3, 1700000000000000 + (i * 7919) % 1000003, 'shopify', 'Paid', NULL, 'shopper',
       CAST('{"external_id":null,"name":"Paid"}' AS BLOB), CAST('{}' AS BLOB) FROM n
"""


async def filled(store: SqliteStore, name: str, first: int) -> int:
    """A contact with many activities, at every other position from `first` on."""
    contact = await create_contact(store, NewContact(name, email=f"{name}@example.com"))

    with closing(sqlite3.connect(str(search_file(store.database.path)))) as index, index:
        index.execute("UPDATE index_state SET value = ? WHERE name = 'indexed'", (str(1 << 60),))

    def work(transaction: Any) -> None:
        transaction.raw.execute(_FILL, (MANY, first, contact.key))

    await store.database.write(work)
    return contact.id


async def whole(store: SqliteStore, contact_id: int) -> list[ActivityId]:
    """A contact's whole timeline, page by page."""
    ids: list[ActivityId] = []
    after = None
    while True:
        read = await store.read_timeline(contact_id, NONE, after, 1_000)
        assert read is not None
        ids += [activity.id for activity in read.page.activities]
        after = read.page.next
        if after is None:
            return ids


async def count_changes(store: SqliteStore) -> int:
    return await store.database.write(lambda transaction: int(transaction.raw.total_changes))


@pytest.mark.engine("sqlite")
async def test_large_contacts_are_merged_and_parted_exactly(store: SqliteStore) -> None:
    one, other = await filled(store, "one", 1_000_000), await filled(store, "other", 1_000_001)
    before_one, before_other = await whole(store, one), await whole(store, other)
    assert len(before_one) == len(before_other) == MANY
    merges = Merges(store.records)
    published: list[Published] = []
    done = asyncio.Event()

    async def publish() -> None:
        while not done.is_set():
            (result,) = await store.publish([publication({"email": "other@example.com"})])
            assert isinstance(result, Published)
            published.append(result)

    publisher = asyncio.create_task(publish())
    start = await count_changes(store)
    await merges.merge(one, [other], {}, agent_id=None, entry=ENTRY)
    merged_at = len(published)
    assert await count_changes(store) - start <= FEW_ROWS + 10 * len(published)
    joined = await whole(store, one)
    done.set()
    await publisher
    assert len(published) > merged_at
    assert {each.contact_id for each in published[merged_at + 1 :]} == {one}
    arrived = [each.id for each in published]
    assert len(joined) == len(set(joined))
    assert set(joined) - set(arrived) == {*before_one, *before_other}

    def last(transaction: RecordsTransaction) -> int:
        raw = transaction.raw  # type: ignore[attr-defined]  # SQLite's has the driver's connection
        return int(raw.execute("SELECT max(id) FROM contact_merges").fetchone()[0])

    number = await store.records.write(last)
    start = await count_changes(store)
    await merges.undo(number, agent_id=None, entry=ENTRY)
    assert await count_changes(store) - start <= FEW_ROWS
    assert await whole(store, one) == before_one
    after_other = await whole(store, other)
    assert after_other == [*reversed(arrived), *before_other]
