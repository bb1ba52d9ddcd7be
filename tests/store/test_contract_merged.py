"""The contract of merged contacts, on every engine: who answers, what homes are read, where activities belong."""

from __future__ import annotations

from typing import Any

import pytest

from backstory.model.contact import NewContact
from backstory.model.identity import Conflict
from backstory.store.base import Store
from backstory.store.records.tables import contacts
from tests.store.support import NONE, create_contact, publish_one


async def create(store: Store, name: str, **fields: Any) -> int:
    return (await create_contact(store, NewContact(name, **fields))).id


async def merge(store: Store, secondary: int, primary: int | None) -> None:
    """Have one contact stand for another, as a merge does (None: as its undoing does)."""
    change = contacts.update().where(contacts.c.id == secondary).values(merged_into=primary)
    await store.records.write(lambda transaction: transaction.records.execute(change).rowcount)


@pytest.fixture
async def chain(store: Store) -> tuple[int, int, int]:
    """Three contacts, the third merged into the second and that into the first."""
    first = await create(store, "First", email="first@example.com", phone="+44 7700 900001")
    second = await create(store, "Second", email="second@example.com", phone="+44 7700 900001")
    third = await create(store, "Third", email="third@example.com")
    await merge(store, third, second)
    await merge(store, second, first)
    return first, second, third


async def test_every_number_of_a_chain_answers_the_one_that_stands_for_all(
    store: Store, chain: tuple[int, int, int]
) -> None:
    first = chain[0]
    for number in chain:
        contact = await store.records.contact(number)
        assert contact is not None
        assert (contact.id, contact.email) == (first, "first@example.com")
        assert set(contact.other_emails) == {"second@example.com", "third@example.com"}
        homes = await store.records.homes(number)
        assert homes is not None
        assert (homes.contact_id, len(homes.keys), homes.keys[0]) == (first, 3, contact.key)
        assert await store.records.contact_ids(homes.keys) == dict.fromkeys(homes.keys, first)


async def test_activities_stay_at_their_home_and_are_read_as_one_timeline(
    store: Store, chain: tuple[int, int, int]
) -> None:
    first, second, third = chain
    published = [
        await publish_one(store, contact)
        for contact in (
            {"email": "third@example.com"},
            {"id": third},
            {"email": "first@example.com"},
            {"id": second},
        )
    ]
    assert [each.contact_id for each in published] == [first] * 4
    assert [each.matched_by for each in published] == ["email", "id", "email", "id"]
    read = await store.read_timeline(second, NONE, None, 10)
    assert read is not None
    assert [activity.id for activity in read.page.activities] == [each.id for each in reversed(published)]
    for number, own in ((third, published[:2]), (second, published[3:]), (first, published[2:3])):
        await merge(store, number, None)
        read = await store.read_timeline(number, NONE, None, 10)
        assert read is not None
        assert read.homes.contact_id == number
        assert {activity.id for activity in read.page.activities} == {each.id for each in own}


async def test_a_replay_answers_the_contact_that_stands_for_its_home(store: Store) -> None:
    first, second = (
        await create(store, "A", email="a@example.com"),
        await create(store, "B", email="b@example.com"),
    )
    one = await publish_one(store, {"email": "b@example.com"}, id="evt-1")
    await merge(store, second, first)
    again = await publish_one(store, {"email": "b@example.com"}, id="evt-1")
    assert (one.contact_id, again.contact_id, again.id, again.duplicate) == (second, first, one.id, True)


async def test_two_rows_of_one_person_are_no_conflict_and_share_no_number(
    store: Store, chain: tuple[int, int, int]
) -> None:
    first = chain[0]
    both = await publish_one(store, {"email": "first@example.com", "twitter_id": "@t"})
    assert both.contact_id == first
    mixed = await publish_one(
        store, {"email": "third@example.com", "twitter_id": "@t", "phone": "+447700900001"}
    )
    assert (mixed.contact_id, mixed.conflicts) == (first, ())
    called = await publish_one(store, {"phone": "+447700900001"})
    assert (called.contact_id, called.matched_by) == (first, "phone")


async def test_a_conflict_names_who_stands_for_the_holder(store: Store, chain: tuple[int, int, int]) -> None:
    other = await create(store, "Other", email="other@example.com")
    published = await publish_one(store, {"email": "other@example.com", "twitter_id": "@o"})
    assert published.contact_id == other
    published = await publish_one(store, {"id": chain[2], "twitter_id": "@o"})
    assert published.conflicts == (Conflict("contact.twitter_id", other),)
    published = await publish_one(store, {"id": other, "email": "third@example.com"})
    assert published.conflicts == (Conflict("contact.email", chain[0]),)
