"""What a change of the records can do beside its queries, on every engine: add events to the log, resolve a contact."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sqlalchemy as sa

from backstory.errors import FieldErrors
from backstory.model.activity import Actor, Object, SentContact, identifiers_of, own_event
from backstory.model.identity import Resolved, Sought
from backstory.model.ids import ContactKey
from backstory.model.page import Filters
from backstory.store.base import RecordsTransaction, Store
from backstory.store.records.tables import companies
from tests.store.support import NOON, home_of, indexed, publish_one, timeline

TICKET = Object("ticket", "7", name="Where is my parcel?")
AGENT = Actor("agent", "1", "Ursula")


def event(home: ContactKey, name: str = "Agent replied", **options: Any) -> Any:
    return own_event(home, name, at=NOON, actor=AGENT, about=TICKET, **options)


async def test_events_stand_on_the_timeline(store: Store) -> None:
    published = await publish_one(store, at=NOON - 1)
    home = await home_of(store, published)
    before = await store.log.stream_position()
    context = {"Status": "Open → Pending"}
    await store.records.write(
        lambda transaction: transaction.append(
            [event(home, "Ticket opened", is_actor=True), event(home, description="Soon.", context=context)]
        )
    )
    await indexed(store)
    shown = [json.loads(each.answer(1)) for each in await timeline(store, [home])]
    assert [each["name"] for each in shown] == ["Agent replied", "Ticket opened", "Paid"]
    assert shown[0]["source"] == {"name": "backstory", "id": None}
    assert shown[0]["object"] == {"type": "ticket", "id": "7", "link": None, "name": "Where is my parcel?"}
    assert (shown[0]["context"], shown[0]["description"], shown[0]["is_actor"]) == (context, "Soon.", False)
    assert shown[1]["is_actor"] is True
    arrivals = await store.log.arrivals([home], before.position, 10)
    assert len(arrivals.events) == 2
    await indexed(store)
    found = await store.log.find(Filters(sources=("backstory",), types=("ticket",)), None, 10)
    assert len(found.activities) == 2


async def test_events_are_kept_with_their_change_or_not_at_all(store: Store) -> None:
    published = await publish_one(store)
    home = await home_of(store, published)

    def work(transaction: RecordsTransaction) -> None:
        _insert_company(transaction, "Kept never")
        transaction.append([event(home)])
        raise ValueError("changed its mind")

    with pytest.raises(ValueError, match="changed its mind"):
        await store.records.write(work)
    assert len(await timeline(store, [home])) == 1
    assert await store.records.read(_company_names) == []


def _insert_company(transaction: RecordsTransaction, name: str) -> None:
    row = {"name": name, "name_key": name.lower(), "created_at": 0, "updated_at": 0}
    transaction.records.execute(companies.insert().values(row))


def _company_names(records: sa.Connection) -> list[str]:
    return list(records.scalars(sa.select(companies.c.name)))


def sought(name: str | None = None, **contact: Any) -> Sought:
    return Sought(tuple(identifiers_of(SentContact(**contact), None)), name)


async def resolve(store: Store, wanted: Sought) -> Resolved:
    return await store.records.write(lambda transaction: transaction.resolve(wanted))


async def test_a_contact_is_found_as_publishing_finds_it(store: Store) -> None:
    published = await publish_one(store, {"email": "rachel@example.com", "phone": "+44 7700 900123"})
    by_email = await resolve(store, sought(email="RACHEL@example.com"))
    by_phone = await resolve(store, sought(phone="+447700900123", twitter_id="@rachel"))
    by_twitter = await resolve(store, sought(twitter_id="@rachel"))
    by_id = await resolve(store, sought(id=published.contact_id))
    found = (by_email, by_phone, by_twitter, by_id)
    assert {each.contact_id for each in found} == {published.contact_id}
    assert [each.matched_by for each in found] == ["email", "phone", "twitter_id", "id"]
    assert by_email.contact_key == await home_of(store, published)


async def test_a_contact_is_made_as_publishing_makes_it(store: Store) -> None:
    made = await resolve(store, sought("Monica", email="monica@example.com"))
    assert made.matched_by == "created"
    contact = await store.records.contact(made.contact_id)
    assert contact is not None
    assert (contact.name, contact.named, contact.email) == ("Monica", True, "monica@example.com")
    assert (await publish_one(store, {"email": "monica@example.com"})).contact_id == made.contact_id


async def test_an_unknown_number_of_a_contact_is_refused(store: Store) -> None:
    with pytest.raises(FieldErrors) as refusal:
        await resolve(store, sought(id=4711))
    assert [fault.field for fault in refusal.value.faults] == ["contact.id"]


async def test_who_resolves_at_once_gets_one_contact(store: Store) -> None:
    wanted = sought(email="race@example.com")
    found = await asyncio.gather(*(resolve(store, wanted) for _ in range(8)))
    assert len({each.contact_id for each in found}) == 1
    assert [each.matched_by for each in found].count("created") == 1
