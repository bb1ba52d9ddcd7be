"""The contract of the records, on every engine: whose an activity is (contract 1.1, "Which contact"), agents, keys."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from backstory.errors import Code, FieldErrors, OperatorError
from backstory.model.access import AuditEntry, Rejection, Role, hash_key
from backstory.model.contact import Contact, NewContact
from backstory.model.identity import Conflict
from backstory.model.moment import now
from backstory.store.base import Bookmark, Store
from backstory.store.records.sql import MAX_REJECTION_AGE, MAX_REJECTIONS
from tests.store.support import (
    ENTRY,
    create_contact,
    home_of,
    publication,
    publish,
    publish_one,
    refused,
    timeline,
)

IDENTIFIERS: dict[str, Any] = {  # every kind but `id`, strongest first
    "unique_external_id": "Cust-1",
    "identities": [{"source": "stripe", "id": "cus_9"}],
    "email": "rachel@example.com",
    "facebook_id": "fb-1",
    "twitter_id": "@rachel",
    "phone": "+44 7700 900123",
    "mobile": "+44 7700 900124",
}
KINDS = list(IDENTIFIERS)


def only(*kinds: str) -> dict[str, Any]:
    return {kind: IDENTIFIERS[kind] for kind in kinds}


async def contact_of(store: Store, contact_id: int | None) -> Contact:
    assert contact_id is not None
    contact = await store.records.contact(contact_id)
    assert contact is not None
    return contact


async def create(store: Store, name: str = "Known", **fields: Any) -> Contact:
    return await create_contact(store, NewContact(name, **fields))


# Finding and making contacts.


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_identifier_makes_a_contact_and_then_finds_it(store: Store, kind: str) -> None:
    first = await publish_one(store, only(kind))
    again = await publish_one(store, only(kind))
    assert (first.matched_by, again.matched_by) == ("created", kind)
    assert first.contact_id == again.contact_id
    assert first.conflicts == again.conflicts == ()
    contact = await contact_of(store, first.contact_id)
    field = "unique_external_id" if kind == "identities" else kind
    assert getattr(contact, field) == (None if kind == "identities" else IDENTIFIERS[kind])
    assert not contact.named


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [False, True])
async def test_64_concurrent_first_activities_give_one_contact(
    store: Store, kind: str, together: bool
) -> None:
    items = [publication(only(kind), id=f"evt-{number}") for number in range(64)]
    if together:
        results = await publish(store, *items)
    else:
        results = [result for (result,) in await asyncio.gather(*(publish(store, item) for item in items))]
    assert len({result.contact_id for result in results}) == 1
    assert len({result.id for result in results}) == 64
    assert sorted(str(result.matched_by) for result in results) == sorted(["created"] + [kind] * 63)
    assert len(await timeline(store, [await home_of(store, results[0])])) == 64


async def test_a_contact_is_found_by_its_number(store: Store) -> None:
    known = await create(store, email="rachel@example.com")
    published = await publish_one(store, {"id": known.id})
    assert (published.contact_id, published.matched_by) == (known.id, "id")


async def test_an_unknown_number_is_refused_and_stores_nothing(store: Store) -> None:
    before = await store.log.stream_position()
    error = await refused(store, publication({"id": 4_711, "email": "new@example.com"}, id="evt-1"))
    assert [(fault.field, fault.code) for fault in error.faults] == [("contact.id", Code.INVALID_VALUE)]
    assert await store.log.stream_position() == before
    assert (await publish_one(store, {"email": "new@example.com"}, id="evt-1")).matched_by == "created"


@pytest.mark.parametrize("position", range(len(KINDS) - 1))
async def test_the_stronger_identifier_wins(store: Store, position: int) -> None:
    stronger, weaker = KINDS[position], KINDS[position + 1]
    one = await publish_one(store, only(stronger))
    other = await publish_one(store, only(weaker))
    both = await publish_one(store, only(stronger, weaker))
    assert one.contact_id != other.contact_id
    assert (both.contact_id, both.matched_by) == (one.contact_id, stronger)
    field = "contact.identities.0" if weaker == "identities" else f"contact.{weaker}"
    assert both.conflicts == (Conflict(field, other.contact_id or 0),)
    # Nothing was moved: the weaker one still finds its own contact.
    assert (await publish_one(store, only(weaker))).contact_id == other.contact_id


async def test_what_nobody_has_is_added_to_the_contact_that_was_found(store: Store) -> None:
    first = await publish_one(store, only("twitter_id"))
    await publish_one(store, IDENTIFIERS)
    for kind in KINDS:
        assert (await publish_one(store, only(kind))).contact_id == first.contact_id, kind
    contact = await contact_of(store, first.contact_id)
    for kind in KINDS:
        if kind != "identities":
            assert getattr(contact, kind) == IDENTIFIERS[kind]


async def test_a_new_contact_gets_every_identifier_that_was_sent(store: Store) -> None:
    first = await publish_one(store, IDENTIFIERS)
    assert first.matched_by == "created"
    for kind in KINDS:
        again = await publish_one(store, only(kind))
        assert (again.contact_id, again.matched_by, again.conflicts) == (first.contact_id, kind, ())


async def test_nothing_that_a_contact_has_is_overwritten(store: Store) -> None:
    first = await publish_one(store, IDENTIFIERS)
    more = {
        "unique_external_id": "Cust-1",
        "email": "second@example.com",
        "facebook_id": "fb-2",
        "twitter_id": "@second",
        "phone": "+44 7700 900125",
        "mobile": "+44 7700 900126",
    }
    second = await publish_one(store, more)
    assert (second.contact_id, second.conflicts) == (first.contact_id, ())
    contact = await contact_of(store, first.contact_id)
    for kind in KINDS:
        if kind != "identities":
            assert getattr(contact, kind) == IDENTIFIERS[kind]
    assert contact.other_emails == ("second@example.com",)
    for kind, value in more.items():
        assert (await publish_one(store, {kind: value})).contact_id == first.contact_id, kind


async def test_emails_match_without_case_and_other_ids_exactly(store: Store) -> None:
    first = await publish_one(store, {"email": "Rachel@Example.COM", "twitter_id": "@Rachel"})
    assert (await publish_one(store, {"email": " rachel@example.com "})).contact_id == first.contact_id
    assert (await publish_one(store, {"twitter_id": "@rachel"})).contact_id != first.contact_id
    assert (await contact_of(store, first.contact_id)).email == "Rachel@Example.COM"


async def test_identities_are_unique_by_source_and_id(store: Store) -> None:
    def of(source: str, id_: str) -> dict[str, Any]:
        return {"identities": [{"source": source, "id": id_}]}

    first = await publish_one(store, of("stripe", "1"))
    assert (await publish_one(store, of("stripe", "2"))).contact_id != first.contact_id
    assert (await publish_one(store, of("shop", "1"))).contact_id != first.contact_id
    assert (await publish_one(store, of("stripe", "1"))).contact_id == first.contact_id


async def test_the_first_identity_that_matches_wins(store: Store) -> None:
    sent = [{"source": "s", "id": str(number)} for number in range(3)]
    second = await publish_one(store, {"identities": [sent[1]]})
    third = await publish_one(store, {"identities": [sent[2]]})
    published = await publish_one(store, {"identities": sent})
    assert (published.contact_id, published.matched_by) == (second.contact_id, "identities")
    assert published.conflicts == (Conflict("contact.identities.2", third.contact_id or 0),)
    assert (await publish_one(store, {"identities": [sent[0]]})).contact_id == second.contact_id


async def test_the_same_identity_twice_in_one_request(store: Store) -> None:
    twice = [{"source": "stripe", "id": "cus_9"}] * 2
    first = await publish_one(store, {"identities": twice})
    added = await publish_one(store, {"identities": twice, "twitter_id": "@rachel"})
    assert (
        first.contact_id
        == added.contact_id
        == (await publish_one(store, {"twitter_id": "@rachel"})).contact_id
    )


async def test_every_conflict_is_told_and_nothing_is_moved(store: Store) -> None:
    owners = {kind: await publish_one(store, only(kind)) for kind in KINDS}
    published = await publish_one(store, IDENTIFIERS)
    assert published.contact_id == owners["unique_external_id"].contact_id
    assert {conflict.field: conflict.contact_id for conflict in published.conflicts} == {
        ("contact.identities.0" if kind == "identities" else f"contact.{kind}"): owner.contact_id
        for kind, owner in owners.items()
        if kind != "unique_external_id"
    }
    for kind, owner in owners.items():
        assert (await publish_one(store, only(kind))).contact_id == owner.contact_id


async def test_the_identifiers_as_they_were_sent_are_kept(store: Store) -> None:
    sent = {
        "id": None,
        "email": " Rachel@Example.com",
        "phone": "+44 (0)7700 900123",
        "name": " Rachel ",
        "is_actor": False,
    }
    published = await publish_one(store, sent)
    origin = await store.log.origin(published.id)
    assert origin is not None
    kept = json.loads(origin)
    assert kept["contact"] == {name: value for name, value in sent.items() if value is not None}
    assert (kept["matched_by"], kept["key_id"]) == ("created", 1)


# Names.


@pytest.mark.parametrize(
    ("contact", "name", "named"),
    [
        ({"email": "rachel.green@example.com"}, "rachel.green", False),
        ({"email": "rachel.green@example.com", "twitter_id": "@r"}, "rachel.green", False),
        ({"email": "rachel@example.com", "name": " Rachel Green "}, "Rachel Green", True),
        ({"twitter_id": "@rachel"}, "@rachel", False),
        ({"twitter_id": "@rachel", "name": " "}, "@rachel", False),
        ({"unique_external_id": "Cust-1", "twitter_id": "@rachel"}, "Cust-1", False),
        ({"identities": [{"source": "stripe", "id": "cus_9"}]}, "cus_9", False),
        ({"phone": "+44 7700 900123"}, "+44 7700 900123", False),
    ],
)
async def test_names_of_new_contacts(store: Store, contact: dict[str, Any], name: str, named: bool) -> None:
    made = await contact_of(store, (await publish_one(store, contact)).contact_id)
    assert (made.name, made.named) == (name, named)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [False, True])
async def test_the_first_real_name_stays(store: Store, kind: str, together: bool) -> None:
    first = await publish_one(store, only(kind))
    items = [publication(only(kind) | {"name": name}) for name in ("Rachel", "Monica", "Phoebe")]
    if together:
        await publish(store, *items)
    else:
        for item in items:
            await publish(store, item)
    contact = await contact_of(store, first.contact_id)
    assert (contact.name, contact.named) == ("Rachel", True)


async def test_a_name_that_a_person_gave_is_kept(store: Store) -> None:
    known = await create(store, "Rachel Green", email="rachel@example.com")
    await publish_one(store, {"email": "rachel@example.com", "name": "RGREEN"})
    assert (await contact_of(store, known.id)).name == "Rachel Green"


# Numbers.


@pytest.mark.parametrize("kind", ["phone", "mobile"])
async def test_numbers_are_compared_as_they_are_dialled(store: Store, kind: str) -> None:
    first = await publish_one(store, {kind: "+44 7700 900123"})
    other = "mobile" if kind == "phone" else "phone"
    for item in (
        publication({kind: "+447700900123"}),
        publication({other: "+44 (0)7700-900-123"}),
        publication({kind: "07700 900123"}, region="GB"),
    ):
        (again,) = await publish(store, item)
        assert again.contact_id == first.contact_id


@pytest.mark.parametrize("together", [False, True])
async def test_phone_and_mobile_may_be_the_same_number(store: Store, together: bool) -> None:
    items = [publication({"phone": "+447700900123", "mobile": "+44 7700 900123"}) for _ in range(3)]
    if together:
        results = await publish(store, *items)
    else:
        results = [(await publish(store, item))[0] for item in items]
    assert len({result.contact_id for result in results}) == 1
    assert [result.matched_by for result in results] == ["created", "phone", "phone"]


async def test_a_number_is_added_to_who_is_known_by_more(store: Store) -> None:
    known = await create(store, email="rachel@example.com")
    await publish_one(store, {"email": "rachel@example.com", "phone": "+447700900123"})
    assert (await publish_one(store, {"phone": "+447700900123"})).contact_id == known.id
    assert (await contact_of(store, known.id)).phone == "+447700900123"


@pytest.mark.parametrize("together", [False, True])
async def test_a_shared_number_has_one_phone_only_contact(store: Store, together: bool) -> None:
    sharers = [await create(store, f"Sharer {number}", phone="+44 7700 900123") for number in range(3)]
    items = [publication({kind: "+447700900123"}) for kind in ("phone", "mobile", "phone")]
    if together:
        results = await publish(store, *items)
    else:
        results = [(await publish(store, item))[0] for item in items]
    (phone_only,) = {result.contact_id for result in results}
    assert phone_only not in {sharer.id for sharer in sharers}
    assert [result.matched_by for result in results] == ["created", "mobile", "phone"]
    # It is not one more holder of the number, and who is known by more is found by that.
    assert (await publish_one(store, {"phone": "+447700900123"})).contact_id == phone_only


async def test_a_shared_number_does_not_mix_who_is_known_by_more(store: Store) -> None:
    sharers = [
        await create(store, f"Sharer {number}", phone="+447700900123", email=f"{number}@example.com")
        for number in range(2)
    ]
    for number, sharer in enumerate(sharers):
        published = await publish_one(store, {"email": f"{number}@example.com", "phone": "+447700900123"})
        assert (published.contact_id, published.matched_by, published.conflicts) == (sharer.id, "email", ())
    somebody_new = await publish_one(store, {"email": "new@example.com", "phone": "+447700900123"})
    assert somebody_new.contact_id not in {sharer.id for sharer in sharers}


async def test_64_concurrent_first_activities_of_a_shared_number(store: Store) -> None:
    for number in range(2):
        await create(store, f"Sharer {number}", mobile="+447700900123")
    results = await asyncio.gather(*(publish_one(store, {"phone": "+447700900123"}) for _ in range(64)))
    assert len({result.contact_id for result in results}) == 1


# Groups: what one publication makes, the later ones of its group see.


async def test_a_group_resolves_as_one_after_the_other_would(store: Store) -> None:
    a, b = {"source": "s", "id": "a"}, {"source": "s", "id": "b"}
    results = await publish(
        store,
        publication({"email": "one@example.com"}),
        publication({"email": "ONE@example.com", "twitter_id": "@one"}),
        publication({"twitter_id": "@one", "identities": [a]}),
        publication({"identities": [a, b], "name": "One"}),
        publication({"identities": [b], "name": "Not one"}),
        publication({"twitter_id": "@two"}),
        publication({"email": "one@example.com", "twitter_id": "@two", "phone": "+447700900123"}),
        publication({"phone": "+447700900123"}),
    )
    one, two = results[0].contact_id, results[5].contact_id
    assert [result.contact_id for result in results] == [one, one, one, one, one, two, one, one]
    assert [result.matched_by for result in results] == [
        *("created", "email", "twitter_id", "identities", "identities", "created", "email", "phone")
    ]
    assert results[6].conflicts == (Conflict("contact.twitter_id", two or 0),)
    assert (await contact_of(store, one)).name == "One"


async def test_the_largest_batch_with_every_identifier(store: Store) -> None:
    """1,000 publications with all their kinds and 20 identities each: within the engine's limits."""
    items = [
        publication(
            {
                "unique_external_id": f"x{number}",
                "identities": [{"source": "s", "id": f"{number}-{index}"} for index in range(20)],
                "email": f"{number}@example.com",
                "facebook_id": f"f{number}",
                "twitter_id": f"t{number}",
                "phone": f"+1201555{number:04d}",
                "mobile": f"+1202555{number:04d}",
            },
            id=f"evt-{number}",
        )
        for number in range(1_000)
    ]
    results = await publish(store, *items)
    assert len({result.contact_id for result in results}) == 1_000


# Contacts.


async def test_a_created_contact_comes_back(store: Store) -> None:
    new = NewContact(
        "Rachel Green",
        "rachel@example.com",
        "+44 1",
        "+44 2",
        "@r",
        "X1",
        "street",
        "text",
        "job",
        "de",
        "UTC",
    )
    created = await create_contact(store, new)
    assert await store.records.contact(created.id) == created
    for field in new.__struct_fields__:
        assert getattr(created, field) == getattr(new, field)
    assert created.named
    assert not created.deleted
    assert (await store.records.contact_ids([created.key, b"x" * 16])) == {created.key: created.id}
    assert await store.records.contact(created.id + 1) is None
    assert await store.records.contact_ids([]) == {}


@pytest.mark.parametrize("field", ["email", "twitter_id", "unique_external_id"])
async def test_what_must_be_unique_names_its_holder(store: Store, field: str) -> None:
    holder = await create(store, **{field: "a@b"})
    with pytest.raises(FieldErrors) as caught:
        await create(store, **{field: "a@b"})
    (fault,) = caught.value.faults
    assert (fault.field, fault.code, fault.additional_info) == (
        field,
        Code.DUPLICATE_VALUE,
        {"user_id": holder.id},
    )
    assert caught.value.status == 409


async def test_every_taken_value_is_reported_at_once_and_nothing_is_made(store: Store) -> None:
    await publish_one(store, {"email": "a@b"})
    await publish_one(store, {"twitter_id": "t"})
    audited = await store.records.audit_page(None, 100)
    with pytest.raises(FieldErrors) as caught:
        await create(store, email="A@B", twitter_id="t", unique_external_id="free")
    assert {fault.field for fault in caught.value.faults} == {"email", "twitter_id"}
    assert await store.records.audit_page(None, 100) == audited
    assert (await publish_one(store, {"unique_external_id": "free"})).matched_by == "created"


async def test_concurrent_creations_of_one_email(store: Store) -> None:
    results = await asyncio.gather(*(create(store, email="a@b") for _ in range(16)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Contact"] + ["FieldErrors"] * 15


async def test_numbers_of_contacts_rise(store: Store) -> None:
    ids = [(await create(store, email=f"{number}@b")).id for number in range(5)]
    assert ids == sorted(set(ids))


# Agents, keys.


async def test_agents_and_keys(store: Store) -> None:
    records = store.records
    agent = await records.create_agent("Ann@Example.com", "Ann", Role.ADMIN, "hash", ENTRY)
    with pytest.raises(OperatorError):
        await records.create_agent("ann@example.COM", "Other", Role.AGENT, "hash", ENTRY)
    with pytest.raises(OperatorError):
        await records.create_key(
            hash_key("k"), "k", agent_email="no@b", sources=(), expires=None, entry=ENTRY
        )
    hers = await records.create_key(
        hash_key("k1"), "k1…", agent_email="ANN@example.com", sources=(), expires=None, entry=ENTRY
    )
    its = await records.create_key(
        hash_key("k2"), "k2…", agent_email=None, sources=("a", "b"), expires=7, entry=ENTRY
    )

    principal = await records.principal(hash_key("k1"))
    assert principal is not None
    assert (principal.key_id, principal.agent_id, principal.role, principal.expires) == (
        hers,
        agent.id,
        Role.ADMIN,
        None,
    )
    principal = await records.principal(hash_key("k2"))
    assert principal is not None
    assert (principal.key_id, principal.agent_id, principal.role, principal.expires) == (its, None, None, 7)
    assert principal.sources == {"a", "b"}
    assert await records.principal(hash_key("k3")) is None

    assert await records.revoke_key(hers, ENTRY)
    assert not await records.revoke_key(hers, ENTRY)
    assert not await records.revoke_key(4_711, ENTRY)
    assert await records.principal(hash_key("k1")) is None
    assert [(key.id, key.agent, key.sources, key.revoked_at is None) for key in await records.keys()] == [
        (hers, "Ann@Example.com", (), False),
        (its, None, ("a", "b"), True),
    ]


# Traces.


async def test_the_audit_log_has_everything_newest_first(store: Store) -> None:
    records = store.records
    agent = await records.create_agent("ann@b", "Ann", Role.AGENT, "hash", ENTRY)
    key = await records.create_key(
        hash_key("k"), "k", agent_email=None, sources=("s",), expires=None, entry=ENTRY
    )
    await records.revoke_key(key, replace(ENTRY, target="revoked"))
    await records.revoke_key(key, replace(ENTRY, target="revoked again"))  # changed nothing: not audited
    entry = AuditEntry(5, "agent:1", "contact.export", "contact:7", "127.0.0.1", {"rows": 5})
    await records.audit(entry)
    entries = await records.audit_page(None, 100)
    assert [each.target for _, each in entries] == [
        *("contact:7", "revoked", f"key:{key}", f"agent:{agent.id}")
    ]
    assert entries[0][1] == entry
    numbers = [number for number, _ in entries]
    assert numbers == sorted(numbers, reverse=True)
    assert await records.audit_page(numbers[1], 2) == entries[2:4]
    assert await records.audit_page(numbers[-1], 2) == []


async def test_refused_requests_are_kept_within_bounds(store: Store) -> None:
    records = store.records

    def rejection(number: int, at: int) -> Rejection:
        return Rejection(
            at, f"request-{number}", "/p", 400, None, "shopify", ({"field": "a", "code": "b"},), "{…}"
        )

    await records.keep_rejections([rejection(1, now() - MAX_REJECTION_AGE - 1), rejection(2, now())])
    ((_, kept),) = await records.rejections(None, 100)
    assert (kept.request_id, [dict(error) for error in kept.errors]) == (
        "request-2",
        [{"field": "a", "code": "b"}],
    )
    at = now()
    for start in range(0, MAX_REJECTIONS + 1_000, 1_000):
        await records.keep_rejections([rejection(10 + start + index, at) for index in range(1_000)])
    page = await records.rejections(None, MAX_REJECTIONS * 2)
    assert len(page) == MAX_REJECTIONS
    assert page[0][1].request_id == f"request-{10 + MAX_REJECTIONS + 999}"
    assert await records.rejections(page[4][0], 5) == page[5:10]


async def test_a_bookmark_is_kept_with_what_it_stands_for(store: Store) -> None:
    assert await store.bookmark("file") is None
    await store.publish([publication(id="1")], Bookmark("file", 1, 100))
    await store.publish([publication(id="2")], Bookmark("file", 2, 200))
    await store.publish([], Bookmark("other", 9, 900))
    assert await store.bookmark("file") == Bookmark("file", 2, 200)
    assert await store.bookmark("other") == Bookmark("other", 9, 900)


async def test_a_store_is_ready(store: Store) -> None:
    await store.ready()
    assert (await store.log.stream_position()).position == 0  # proving it leaves no trace in the log
    (published,) = await publish(store, publication())
    assert (await store.log.stream_position()).position == published.id.position
