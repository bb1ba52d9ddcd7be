"""What records are looked up by, on every engine: words of names, tags, custom fields and their values."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from backstory.errors import FieldErrors
from backstory.helpdesk.fields import CONTACT, TICKET, add_field, list_fields
from backstory.model.custom_field import FieldType, NewField, searched_value
from backstory.store.base import RecordsTransaction, Store
from backstory.store.records import lookups
from backstory.store.records.tables import custom_values, record_tags
from tests.store.support import ENTRY

PEOPLE = {1: "Rachel Karen Green", 2: "Zoë Grün", 3: "GREG", 4: "O'Brian", 5: "李小龙", 6: ""}


async def name_everybody(store: Store) -> None:
    def work(change: RecordsTransaction) -> None:
        for number, name in PEOPLE.items():
            lookups.replace_name_words(change.records, CONTACT, number, name)

    await store.records.write(work)


async def named(store: Store, term: str) -> set[int] | None:
    query = lookups.named_like(CONTACT, term)
    if query is None:
        return None
    return set(await store.records.read(lambda records: [row.record_id for row in records.execute(query)]))


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("gr", {1, 2, 3}),
        ("GRE", {1, 3}),
        ("gru", {2}),
        ("zoe", {2}),
        ("karen", {1}),
        ("aren", set()),
        ("green ra", {1}),
        ("rachel x", set()),
        ("brian", {4}),
        ("李", {5}),
        ("\U0010fffe", None),
        (" - ", None),
    ],
)
async def test_beginnings_of_words(store: Store, term: str, found: set[int] | None) -> None:
    await name_everybody(store)
    assert await named(store, term) == found


async def test_a_new_name_takes_the_place_of_the_old_one(store: Store) -> None:
    await name_everybody(store)
    await store.records.write(
        lambda change: lookups.replace_name_words(change.records, CONTACT, 1, "Rachel Geller")
    )
    assert await named(store, "rachel gel") == {1}
    assert await named(store, "green") == set()
    await store.records.write(lambda change: lookups.forget_lookups(change.records, CONTACT, 1))
    assert await named(store, "rachel") == set()


async def test_a_letter_that_many_share_costs_no_more(store: Store) -> None:
    many = lookups.MAX_CANDIDATES + 10

    def name_many(change: RecordsTransaction) -> None:
        for number in range(many):
            lookups.replace_name_words(change.records, CONTACT, number + 10, f"Smith{number}")

    await store.records.write(name_many)
    found = await named(store, "s")
    assert found is not None
    assert len(found) == lookups.MAX_CANDIDATES


async def test_tags_and_values_are_replaced(store: Store) -> None:
    def tag(change: RecordsTransaction, tags: list[str], **values: object) -> None:
        lookups.replace_tags(change.records, CONTACT, 1, tags)
        lookups.replace_custom_values(change.records, CONTACT, 1, values)

    await store.records.write(
        lambda change: tag(change, ["VIP", "vip ", "Größe"], cf_size=7, cf_colour="Red")
    )
    await store.records.write(lambda change: tag(change, ["Straße"], cf_size=None, cf_colour="Blue"))
    tags, values = await store.records.read(
        lambda records: (
            records.scalars(sa.select(record_tags.c.tag_key)).all(),
            records.execute(sa.select(custom_values.c.name, custom_values.c.value)).all(),
        )
    )
    assert list(tags) == ["strasse"]
    assert [tuple(row) for row in values] == [("cf_colour", "blue")]


def test_numbers_are_compared_as_numbers() -> None:
    numbers = [-1e14, -3.5, -3, -0.1, 0, 0.1, 2, 10, 10.5, 999_999_999_999_999]
    compared = [searched_value(number) for number in numbers]
    assert compared == sorted(compared)
    assert searched_value(-0.0) == searched_value(0)
    assert searched_value(3) == searched_value(3.0)


async def add(store: Store, label: str, kind: str = CONTACT) -> str:
    return (await add_field(store.records, kind, NewField(label, FieldType.TEXT), ENTRY)).name


async def test_fields_are_named_after_their_labels_and_keep_their_order(store: Store) -> None:
    assert await add(store, "Shoe size") == "cf_shoe_size"
    assert await add(store, "Größe") == "cf_grosse"
    assert await add(store, "Shoe size", TICKET) == "cf_shoe_size"
    assert [field.name for field in await list_fields(store.records, CONTACT)] == [
        "cf_shoe_size",
        "cf_grosse",
    ]
    assert [field.position for field in await list_fields(store.records, CONTACT)] == [1, 2]


async def test_one_of_several_who_add_a_field_at_once_wins(store: Store) -> None:
    results = await asyncio.gather(*(add(store, "Shoe Size") for _ in range(8)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, FieldErrors)]
    assert sorted(str(type(result).__name__) for result in results) == ["FieldErrors"] * 7 + ["str"]
    assert {fault.code for error in refused for fault in error.faults} == {"duplicate_value"}
    assert len(await list_fields(store.records, CONTACT)) == 1


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (NewField("?!", FieldType.TEXT), {"label": "invalid_value"}),
        (NewField("A", FieldType.TEXT, choices=("x",)), {"choices": "incompatible_field"}),
        (NewField("?!", FieldType.DROPDOWN), {"label": "invalid_value", "choices": "missing_field"}),
    ],
)
async def test_fields_that_cannot_be(store: Store, new: NewField, expected: dict[str, str]) -> None:
    with pytest.raises(FieldErrors) as caught:
        await add_field(store.records, CONTACT, new, ENTRY)
    assert {fault.field: fault.code for fault in caught.value.faults} == expected
