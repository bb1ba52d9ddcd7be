"""The helpdesk's contacts, companies, merges and erasures, on every engine: the queries behind them are the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backstory.errors import Code, FieldErrors
from backstory.helpdesk.companies import Companies
from backstory.helpdesk.contacts import Contacts
from backstory.helpdesk.csv_files import CONTACT, CsvFiles
from backstory.helpdesk.erasing import Eraser
from backstory.helpdesk.files import AttachmentFiles
from backstory.helpdesk.merges import Merges
from backstory.model.company import NewCompany
from backstory.model.contact import Contact, ContactFilters, NewContact, State
from backstory.model.csv_text import CsvRow
from backstory.store.base import Store
from tests.store.support import ENTRY, NONE, publication, publish_one

ALL = ContactFilters()


@pytest.fixture
def files(tmp_path: Path) -> AttachmentFiles:
    return AttachmentFiles(tmp_path / "files")


@pytest.fixture
def contacts(store: Store, files: AttachmentFiles) -> Contacts:
    return Contacts(store.records, files)


async def create(contacts: Contacts, name: str, **fields: Any) -> Contact:
    return await contacts.create(NewContact(name, **fields), None, ENTRY)


async def names(contacts: Contacts, **filters: Any) -> list[str]:
    return [each.name for each in await contacts.page(ContactFilters(**filters), 100, 0)]


async def test_lists_are_ordered_narrowed_and_completed(store: Store, contacts: Contacts) -> None:
    for name in ("Zoe", "Ärmel", "apfel"):
        await create(contacts, name, email=f"{name}@example.com", phone="+44 20 7946 0001")
    await publish_one(store, {"email": "published@example.com", "name": "Bob Published"})
    assert await names(contacts) == ["apfel", "Ärmel", "Bob Published", "Zoe"]
    assert [each.name for each in await contacts.page(ALL, 2, 1)] == ["Ärmel", "Bob Published"]
    assert await names(contacts, email="ZOE@example.com") == ["Zoe"]
    assert await names(contacts, phone="020 7946 0001") == []
    assert await names(contacts, phone="+442079460001", updated_since=0) == ["apfel", "Ärmel", "Zoe"]
    assert await names(contacts, state=State.VERIFIED) == []
    assert [name for _, name in await contacts.suggest("publ")] == ["Bob Published"]


async def test_one_of_many_racers_gets_an_email(contacts: Contacts) -> None:
    made = await asyncio.gather(
        *(create(contacts, f"Nr {n}", email="one@example.com") for n in range(8)), return_exceptions=True
    )
    (winner,) = (each for each in made if isinstance(each, Contact))
    for each in made:
        if each is not winner:
            assert isinstance(each, FieldErrors)
            assert each.faults[0].code is Code.DUPLICATE_VALUE
            assert each.faults[0].additional_info == {"user_id": winner.id}
    others = [await create(contacts, f"Other {n}", email=f"{n}@example.com") for n in range(4)]
    changed = await asyncio.gather(
        *(contacts.change(each.id, {"email": "two@example.com", "tags": ("a",)}, ENTRY) for each in others),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Contact) for each in changed) == 1
    assert sum(isinstance(each, FieldErrors) for each in changed) == 3


async def test_companies_take_and_release_contacts(store: Store, contacts: Contacts) -> None:
    companies = Companies(store.records)
    early = await create(contacts, "Early", email="early@Perk.example.com")
    company = await companies.create(NewCompany("Central Perk", domains=("perk.example.com",)), ENTRY)
    late = await create(contacts, "Late", email="late@perk.example.com")
    await publish_one(store, {"email": "published@perk.example.com", "name": "Middle"})
    assert await names(contacts, company_id=company.id) == ["Early", "Late", "Middle"]
    assert late.company_id == company.id
    with pytest.raises(FieldErrors, match="unique"):
        await companies.create(NewCompany("central perk"), ENTRY)
    await companies.delete(company.id, ENTRY)
    assert (await contacts.get(early.id)).company_id is None


async def test_a_merge_is_undone_exactly(store: Store, contacts: Contacts) -> None:
    merges = Merges(store.records)
    one = await create(contacts, "One", email="one@example.com", tags=("a",))
    other = await create(contacts, "Other", email="other@example.com", phone="+442079460002", tags=("b",))
    await publish_one(store, {"email": "other@example.com"})
    await merges.merge(one.id, [other.id], {"job_title": "Chef"}, agent_id=None, entry=ENTRY)
    both = await contacts.get(other.id)
    assert (both.id, both.phone, both.tags, both.job_title) == (one.id, other.phone, ("a", "b"), "Chef")
    assert (await publish_one(store, {"id": other.id})).contact_id == one.id
    (merge,) = await merges.page(one.id, 10, 0)
    await merges.undo(merge.id, agent_id=None, entry=ENTRY)
    for before in (one, other):
        after = await contacts.get(before.id)
        assert after == type(after)(
            **{n: getattr(before, n) for n in before.__struct_fields__} | {"updated_at": after.updated_at}
        )
    read = await store.read_timeline(other.id, NONE, None, 10)
    assert read is not None
    assert len(read.page.activities) == 2


async def test_merges_in_a_circle_end_with_somebody(store: Store, contacts: Contacts) -> None:
    merges = Merges(store.records)
    ids = [(await create(contacts, f"Nr {n}", email=f"{n}@example.com")).id for n in range(4)]
    pairs = [(ids[n], ids[(n + 1) % 4]) for n in range(4)]
    results = await asyncio.gather(
        *(merges.merge(one, [other], {}, agent_id=None, entry=ENTRY) for one, other in pairs),
        return_exceptions=True,
    )
    refused = [each for each in results if each is not None]
    assert all(isinstance(each, FieldErrors) for each in refused)
    survivors = {(await contacts.get(each)).id for each in ids}
    assert len(survivors) == len(refused) >= 1


async def test_suggestions_are_dismissed(store: Store, contacts: Contacts) -> None:
    merges = Merges(store.records)
    one = await create(contacts, "One", email="one@example.com")
    other = await create(contacts, "Other", twitter_id="@other")
    await publish_one(store, {"email": "one@example.com", "twitter_id": "@other"})
    (suggestion,) = await merges.suggestions(one.id)
    assert (suggestion.contact_id, suggestion.reasons) == (other.id, ("twitter_id",))
    await merges.dismiss(one.id, other.id, agent_id=None, entry=ENTRY)
    await publish_one(store, {"email": "one@example.com", "twitter_id": "@other"})
    assert await merges.suggestions(one.id) == []


async def test_an_erased_contact_leaves_ids_for_replays_alone(
    store: Store, contacts: Contacts, files: AttachmentFiles
) -> None:
    eraser = Eraser(store.records, store.log, files)
    items = [publication({"email": "gone@example.com"}, id=f"evt-{n}") for n in range(7)]
    published = [(await store.publish([item]))[0] for item in items]
    kept = await publish_one(store, {"email": "kept@example.com"}, id="evt-kept")
    contact_id = published[0].contact_id  # type: ignore[union-attr]
    contact = await contacts.get(contact_id or 0)
    assert await store.log.erase([contact.key], 3) == 3
    eraser.start()
    await eraser.erase(contact.id, force=True, entry=ENTRY)
    await eraser.close()
    assert (await store.log.page([contact.key], NONE, None, 10)).activities == ()
    assert await store.log.erase([contact.key], 3) == 0
    (again,) = await store.publish([items[0]])
    assert (again.id, again.duplicate, again.contact_id) == (published[0].id, True, None)  # type: ignore[union-attr]
    assert await store.log.get(kept.id) is not None
    assert (await publish_one(store, {"email": "gone@example.com"})).contact_id != contact.id


async def test_rows_are_taken_or_refused_one_by_one(store: Store, contacts: Contacts) -> None:
    rows = CsvFiles(store.records)
    good = CsvRow(2, {"name": "Good", "email": "good@example.com", "company": "Acme", "tags": "a; b"})
    bad = CsvRow(3, {"name": "Bad", "twitter_id": "@taken", "email": "bad@example.com"})
    await create(contacts, "Holder", twitter_id="@taken")
    await create(contacts, "Bad", email="bad@example.com")
    outcome = await rows.take(CONTACT, [good, bad])
    assert (outcome.created, outcome.updated, [each.line for each in outcome.refusals]) == (1, 0, [3])
    columns = await rows.columns(CONTACT)
    text, count, _ = await rows.export(CONTACT, columns, 0, 10)
    assert count == 3
    assert "good@example.com" in text
