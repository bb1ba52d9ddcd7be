"""The contract of the activity log, on every engine: replays, pages, filters, searches, the order of arrival, deletion.

Random tests draw from a seeded generator, so that every run does the same.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
from typing import Any

import pytest

from backstory import transfer
from backstory.model.activity import Activity, Deletion, Published
from backstory.model.ids import ActivityId
from backstory.model.json_text import parse_exact
from backstory.model.moment import now, parse_moment
from backstory.model.page import Filters, Place
from backstory.model.refs import refs_of
from backstory.model.words import split_words, words_of
from backstory.store.base import Store
from tests.store.support import (
    ENTRY,
    NOON,
    finds_words_across,
    found,
    found_by_words,
    home_of,
    indexed,
    limits,
    publication,
    publish,
    publish_one,
    refused,
    rounds,
    timeline,
)

pytestmark = pytest.mark.usefixtures("prompt_index")

HOUR = 3600 * 1_000_000
DAY = 24 * HOUR


def order(activity: Activity) -> tuple[int, ActivityId]:
    return activity.timestamp, activity.id


def newest_first(activities: list[Activity]) -> list[Activity]:
    return sorted(activities, key=order, reverse=True)


# What is kept.


async def test_an_activity_comes_back_exactly(store: Store) -> None:
    context = {
        "Order id": 84637930,
        "nested": {"list": [1, "zwei", None, True]},
        "emoji": "👩‍👩‍👧",
        "rtl": "\u202eשלום",
    }
    item = publication(
        {"email": "a@b", "is_actor": False}, at=NOON, id="evt-1", context=context, object={"type": "cart"}
    )
    (published,) = await publish(store, item)
    activity = await store.log.get(published.id)
    assert activity == Activity(published.id, await home_of(store, published), NOON, item.body)
    answer = json.loads(activity.answer(80_001))
    assert list(answer) == [
        *(
            "id",
            "contact_id",
            "external_id",
            "name",
            "timestamp",
            "description",
            "link",
            "actor",
            "source",
            "object",
        ),
        *("context", "is_actor", "received_at"),
    ]
    assert (answer["id"], answer["contact_id"], answer["context"]) == (str(published.id), 80_001, context)


async def test_what_is_not_there(store: Store) -> None:
    published = await publish_one(store)
    wrong_tail = published.id._replace(tail=published.id.tail ^ 1)
    for unknown in (wrong_tail, ActivityId(0, 0), ActivityId(2**60 - 1, 0)):
        assert await store.log.get(unknown) is None
        assert await store.log.origin(unknown) is None
        assert await store.log.delete(unknown, ENTRY) is None
    assert await timeline(store, [b"nobody's key ..."]) == []
    assert await store.log.get(published.id) is not None


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"])
async def test_the_ends_of_time(store: Store, text: str) -> None:
    at = parse_moment(text)
    published = await publish_one(store, timestamp=text)
    home = await home_of(store, published)
    assert [each.timestamp for each in await timeline(store, [home])] == [at]
    assert len(await timeline(store, [home], Filters(since=at, until=at + 1))) == 1
    assert await timeline(store, [home], Filters(until=at)) == []
    assert await timeline(store, [home], Filters(since=at + 1)) == []
    assert json.loads((await timeline(store, [home]))[0].body)["timestamp"] == (
        text if "T" in text else f"{text}T00:00:00Z"
    )


async def test_ids_rise_in_the_order_of_the_answers(store: Store) -> None:
    ids = [(await publish_one(store)).id for _ in range(20)]
    ids += [each.id for each in await publish(store, *(publication() for _ in range(20)))]
    assert ids == sorted(ids)
    assert len({str(each) for each in ids}) == 40


# Replays.


def same(one: Published, other: Published) -> bool:
    return (one.id, one.contact_id, one.external_id) == (other.id, other.contact_id, other.external_id)


@pytest.mark.parametrize("keyed", [{"id": "evt-1"}, {"key": "header-1"}])
@pytest.mark.parametrize("together", [False, True])
async def test_a_replay_stores_nothing_and_answers_the_first(
    store: Store, keyed: dict[str, str], together: bool
) -> None:
    items = [publication(**keyed) for _ in range(4)]  # type: ignore[arg-type]
    if together:
        results = await publish(store, *items)
    else:
        results = [(await publish(store, item))[0] for item in items]
    first, *replays = results
    assert (first.duplicate, first.differs) == (False, False)
    for replay in replays:
        assert same(replay, first)
        assert (replay.duplicate, replay.differs, replay.matched_by) == (True, False, "created")
    assert len(await timeline(store, [await home_of(store, first)])) == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_replay_that_differs_says_so_and_stores_nothing(store: Store, together: bool) -> None:
    items = [
        publication(id="evt-1", context={"a": 1, "b": 2}),
        publication(id="evt-1", context={"b": 2, "a": 1}),
        publication(id="evt-1", context={"a": "1", "b": 2}),
        publication({"twitter_id": "@new"}, id="evt-1", context={"a": 1, "b": 2}),
    ]
    if together:
        results = await publish(store, *items)
    else:
        results = [(await publish(store, item))[0] for item in items]
    assert [result.differs for result in results] == [False, False, True, False]
    assert len({(result.id, result.contact_id) for result in results}) == 1
    assert (
        await publish_one(store, {"twitter_id": "@new"})
    ).matched_by == "created"  # the replay made no contact


async def test_replays_are_recognised_per_source_and_key(store: Store) -> None:
    results = await publish(
        store,
        publication(id="1", source={"name": "a"}),
        publication(id="1", source={"name": "b"}),
        publication(id="2", source={"name": "a"}),
        publication(key="1"),
        publication(key="2"),
        publication(),
        publication(),
    )
    assert not any(result.duplicate for result in results)
    assert len({result.id for result in results}) == 7


async def test_64_concurrent_replays_store_one(store: Store) -> None:
    results = [
        each
        for (each,) in await asyncio.gather(*(publish(store, publication(id="evt-1")) for _ in range(64)))
    ]
    assert sorted(result.duplicate for result in results) == [False] + [True] * 63
    assert len({result.id for result in results}) == 1


async def test_a_refused_first_is_no_first(store: Store) -> None:
    """In one group: the first of a key is refused, so the next of that key is the first."""
    contact_id = (await publish_one(store)).contact_id
    results = await store.publish(
        [
            publication({"id": 4_711}, id="evt-1"),
            publication({"id": contact_id}, id="evt-1"),
            publication({"id": contact_id}, id="evt-1"),
            publication({"id": 4_711}, id="evt-2"),
            publication({"id": 4_711}, id="evt-2"),
        ]
    )
    assert [isinstance(result, Published) for result in results] == [False, True, True, False, False]
    assert [result.duplicate for result in results if isinstance(result, Published)] == [False, True]


async def test_the_replay_of_a_deleted_activity_stores_nothing(store: Store) -> None:
    for keyed in ({"id": "evt-1"}, {"key": "header-1"}):
        first = await publish_one(store, **keyed)  # type: ignore[arg-type]
        await store.log.delete(first.id, ENTRY)
        replay = await publish_one(store, **keyed)  # type: ignore[arg-type]
        assert same(replay, first)
        assert (replay.duplicate, replay.differs) == (True, False)
        assert await store.log.get(first.id) is None
        assert await timeline(store, [await home_of(store, first)]) == []


async def test_an_idempotency_key_ends_after_a_day(store: Store) -> None:
    long_ago = now() - DAY - 1_000_000
    old = await publish_one(store, key="header-1", received=long_ago)
    with_id = await publish_one(store, id="evt-1", key="header-2", received=long_ago)
    fresh = await publish_one(store, key="header-1")
    assert (fresh.duplicate, fresh.id == old.id) == (False, False)
    assert (await publish_one(store, key="header-1")).id == fresh.id  # counted from the fresh one now
    assert (await publish_one(store, id="evt-1", key="header-2")).id == with_id.id  # ids are kept for ever
    almost = await publish_one(store, key="header-3", received=now() - DAY + 60_000_000)
    await store.ready()
    assert (await publish_one(store, key="header-3")).id == almost.id


# Pages.


@pytest.mark.parametrize("page", [1, 7, 60, 100])
async def test_an_export_has_the_whole_timeline_oldest_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(transfer, "PAGE", page)
    chance = random.Random(2)
    items = [publication(at=NOON + chance.randrange(10), name=f"event {number}") for number in range(60)]
    results = await publish(store, *items)
    assert results[0].contact_id is not None
    out = io.BytesIO()
    assert await transfer.export_contact(store, results[0].contact_id, out, ENTRY) == 60
    expected = newest_first([await _get(store, each) for each in results])[::-1]
    exported = [json.loads(line)["activity"]["name"] for line in out.getvalue().splitlines()]
    assert exported == [json.loads(each.body)["name"] for each in expected]


async def test_pages_of_every_size_give_the_whole_timeline(store: Store) -> None:
    chance = random.Random(1)
    items = [publication(at=NOON + chance.randrange(10), name=f"event {number}") for number in range(60)]
    results = await publish(store, *items)
    home = await home_of(store, results[0])
    expected = newest_first([await _get(store, each) for each in results])
    for limit in (1, 2, 3, 7, 59, 60, 61, 100):
        assert await timeline(store, [home], limit=limit) == expected
        page = await store.log.page([home], Filters(), None, limit)
        assert (page.next is None) == (limit >= 60)


async def _get(store: Store, published: Published) -> Activity:
    activity = await store.log.get(published.id)
    assert activity is not None
    return activity


@pytest.mark.parametrize("seed", range(8))
async def test_paging_while_activities_arrive(store: Store, seed: int) -> None:
    """Nothing that was there when paging began is repeated or skipped, whatever arrives or is deleted meanwhile."""
    chance = random.Random(seed)
    span = chance.choice([3, 50, 10_000])  # many ties, some, hardly any

    async def arrive(count: int) -> list[Published]:
        items = [publication(at=NOON + chance.randrange(-span, span)) for _ in range(count)]
        return await publish(store, *items) if items else []

    there = await arrive(chance.randrange(1, 80))
    home = await home_of(store, there[0])
    originals = {each.id: await _get(store, each) for each in there}
    deleted: set[ActivityId] = set()
    seen: list[Activity] = []
    missing_ok: set[ActivityId] = set()
    arrived: dict[ActivityId, Place | None] = {}
    after: Place | None = None
    while True:
        page = await store.log.page([home], Filters(), after, chance.randrange(1, 12))
        seen.extend(page.activities)
        if page.next is None:
            break
        after = page.next
        for each in await arrive(chance.randrange(0, 6)):
            arrived[each.id] = after
        if chance.random() < 0.3:
            gone = chance.choice(sorted(originals.keys() - deleted))
            await store.log.delete(gone, ENTRY)
            deleted.add(gone)
            if gone not in {each.id for each in seen}:
                missing_ok.add(gone)
    assert seen == newest_first(seen)
    assert len({each.id for each in seen}) == len(seen)
    read = {each.id for each in seen}
    assert originals.keys() - missing_ok <= read
    assert not missing_ok & read
    # What arrived behind the reader's place appears, what arrived before it does not.
    for activity_id, place in arrived.items():
        activity = await store.log.get(activity_id)
        assert activity is not None
        assert place is not None
        assert (activity_id in read) == ((activity.timestamp, activity.id) < (place.timestamp, place.id))


async def test_several_homes_are_one_timeline(store: Store) -> None:
    chance = random.Random(5)
    results = []
    for _ in range(60):
        email = f"{chance.randrange(3)}@example.com"
        results.append(await publish_one(store, {"email": email}, at=NOON + chance.randrange(10)))
    await publish_one(store, {"email": "somebody.else@example.com"}, at=NOON)
    homes = sorted({await home_of(store, each) for each in results})
    assert len(homes) == 3
    expected = newest_first([await _get(store, each) for each in results])
    for limit in (1, 7, 100):
        assert await timeline(store, homes, limit=limit) == expected
        assert await timeline(store, homes[:1], limit=limit) == [
            a for a in expected if a.contact_key == homes[0]
        ]
    await indexed(store)
    assert await timeline(store, homes, Filters(words=("paid",)), limit=7) == expected


# Filters and searches, against a reference that looks at every activity.

SOURCES, TYPES, NAMES = (
    ["shopify", "Shopify", "stripe", "zoom"],
    ["cart", "call", "Call", ""],
    ["Paid", "paid", "Ünpaid"],
)
ACTORS = ["shopper", "agent", "system"]
WORDS = [
    *"transaction failed Straße STRASSE café cafe\u0301 東京".split(),
    *"Αθήνα عربي ﬁnal 84637930 A-17 don't 1.10 naïve I İ ß".split(),
]
KEYS = ["Order id", "note", "invoice_ref", "total", "sku", "items"]


def random_context(chance: random.Random, depth: int = 0) -> Any:
    roll = chance.random()
    if depth > 2 or roll < 0.5:
        return chance.choice(
            [None, True, 5, 1.5, 84637930, " ".join(chance.choices(WORDS, k=3)), chance.choice(WORDS)]
        )
    if roll < 0.7:
        return [random_context(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): random_context(chance, depth + 1) for _ in range(chance.randrange(4))}


def random_options(chance: random.Random) -> dict[str, Any]:
    def some(value: Any) -> Any:
        return value if chance.random() < 0.6 else None

    return {
        "at": NOON + chance.randrange(-5, 6) * HOUR,
        "name": chance.choice(NAMES),
        "source": {"name": chance.choice(SOURCES), "id": some("hidden")},
        "actor": {
            "type": chance.choice(ACTORS),
            "name": some(chance.choice(WORDS)),
            "id": some("hidden-actor"),
        },
        "object": some(
            {"type": some(chance.choice(TYPES)), "id": some(chance.choice(["A-17", "84637930", ""]))}
        ),
        "description": some(" ".join(chance.choices(WORDS, k=4))),
        "context": some({"root": random_context(chance), "Order id": some("A-17"), "words as keys": 1}),
    }


def random_filters(chance: random.Random, *, across: bool) -> Filters:
    def some(value: Any, none: Any) -> Any:
        return value if chance.random() < 0.3 else none

    return Filters(
        sources=some(tuple(chance.sample([*SOURCES, "nobody"], chance.randrange(1, 4))), ()),
        types=some(tuple(chance.sample([*TYPES, "nothing"], chance.randrange(1, 4))), ()),
        name=some(chance.choice([*NAMES, "PAID"]), None),
        actor_type=some(chance.choice([*ACTORS, "nobody"]), None),
        since=some(NOON + chance.randrange(-6, 7) * HOUR, None),
        until=some(NOON + chance.randrange(-6, 7) * HOUR, None),
        words=some(tuple(dict.fromkeys(split_words(" ".join(chance.choices([*WORDS, "hidden"], k=2))))), ()),
        ref=some(chance.choice(["A-17", "84637930", "a-17", "A-1", "hidden"]), None) if across else None,
    )


def matches(activity: Activity, filters: Filters) -> bool:
    """The contract's filters, naively, on the answer."""
    answer = json.loads(activity.answer(1))
    kept = parse_exact(activity.body)
    described = answer["object"] or {}
    values = [kept[name] for name in ("name", "description", "object", "actor", "context")]
    return (
        (not filters.sources or answer["source"]["name"] in filters.sources)
        and (not filters.types or described.get("type") in filters.types)
        and filters.name in (None, answer["name"])
        and filters.actor_type in (None, answer["actor"]["type"])
        and (filters.since is None or activity.timestamp >= filters.since)
        and (filters.until is None or activity.timestamp < filters.until)
        and set(filters.words) <= words_of(*values)
        and (
            filters.ref is None
            or filters.ref in refs_of(described.get("id"), answer["external_id"], kept["context"])
        )
    )


@pytest.mark.parametrize("seed", range(4))
async def test_every_filter_agrees_with_the_reference(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    people = [{"email": f"{number}@example.com"} for number in range(3)]
    results: list[Published] = []
    for _ in range(5):
        group = [publication(chance.choice(people), **random_options(chance)) for _ in range(40)]
        results.extend(await publish(store, *group))
    for each in chance.sample(results, 20):
        await store.log.delete(each.id, ENTRY)
    await indexed(store)
    everything = newest_first([each for each in [await store.log.get(each.id) for each in results] if each])
    assert len(everything) == 180
    homes = sorted({each.contact_key for each in everything})
    met = 0
    for _ in range(rounds(store)):
        filters, limit = random_filters(chance, across=True), chance.choice(limits(store))
        expected = [each for each in everything if matches(each, filters)]
        if finds_words_across(store) or not filters.words:
            assert await found(store, filters, limit=limit) == expected, filters
            met += bool(expected)
        filters = random_filters(chance, across=False)
        some_homes = chance.sample(homes, chance.randrange(1, 3))
        expected = [each for each in everything if each.contact_key in some_homes and matches(each, filters)]
        assert await timeline(store, some_homes, filters, limit=limit) == expected, filters
        met += bool(expected)
    assert met > rounds(store) / 3  # the filters are not so rare that nothing was compared


@pytest.mark.parametrize("field", ["name", "description", "actor", "object", "context"])
async def test_a_word_is_found_wherever_it_stands(store: Store, field: str) -> None:
    expected: dict[str, set[ActivityId]] = {}
    home = await home_of(store, await publish_one(store, name="first"))
    for word in WORDS:
        values: dict[str, Any] = {
            "name": f"x {word}",
            "description": word,
            "actor": {"type": "agent", "name": word},
            "object": {"link": f"https://example.com/{word}"},
            "context": {"deep": [{"er": {"still": [word]}}]},
        }
        published = await publish_one(store, **{field: values[field]})
        await publish_one(
            store, name="other", context={word: "in a key"}, source={"name": "shop", "id": word}
        )
        for folded in split_words(word):
            expected.setdefault(folded, set()).add(published.id)
    await indexed(store)
    for word in WORDS:
        for written in (word, word.lower(), word.upper()):
            words = tuple(dict.fromkeys(split_words(written)))
            ids = set.intersection(*(expected[each] for each in words))
            if finds_words_across(store):
                assert {each.id for each in await found(store, Filters(words=words))} == ids, written
            assert {each.id for each in await timeline(store, [home], Filters(words=words))} == ids, written


async def test_words_are_whole(store: Store) -> None:
    published = await publish_one(
        store, name="Transactions failed", context={"a": "pre-order", "b": "x" * 5_000}
    )
    await indexed(store)
    for part in ("transaction", "fail", "ransactions", "preorder", "x" * 4_999, "x" * 5_001):
        assert await found_by_words(store, published, Filters(words=(part,))) == []
    for whole in ("transactions", "order", "pre", "x" * 5_000):
        assert [each.id for each in await found_by_words(store, published, Filters(words=(whole,)))] == [
            published.id
        ]


async def test_words_of_the_query_language_are_words(store: Store) -> None:
    published = await publish_one(store, name='AND OR NOT near NEAR(a, 2) col:val star* ^start "quoted" @at')
    await indexed(store)
    for word in ("and", "or", "not", "near", "col", "star", "start", "quoted", "at"):
        assert [each.id for each in await found_by_words(store, published, Filters(words=(word, "val")))] == [
            published.id
        ]
    home = await home_of(store, published)
    assert (
        await found_by_words(store, published, Filters(words=(home.hex(),))) == []
    )  # a contact's key is no word


@pytest.mark.parametrize(
    "ref", ["A-17", "x" * 128, "1.10", "12345678901234567890", "Ü 5", "a\u0301", "%", "' OR 1=1"]
)
async def test_references_are_exact(store: Store, ref: str) -> None:
    results = await publish(
        store,
        publication(object={"id": ref}),
        publication(id=ref),
        publication(context={"deep": [{"Order id": ref}]}),
        publication(context={"Order id": ref + "x"}, object={"id": ref.swapcase() + "-"}),
        publication(context={"note": ref}, name=ref, description=ref),
    )
    await indexed(store)
    assert {each.id for each in await found(store, Filters(ref=ref))} == {each.id for each in results[:3]}


async def test_a_number_is_found_as_it_was_written(store: Store) -> None:
    published = await publish_one(
        store, context={"Order id": 84637930, "sku": 5, "ref": "x" * 129, "qty no": True}
    )
    await indexed(store)
    for ref in ("84637930", "5"):
        assert [each.id for each in await found(store, Filters(ref=ref))] == [published.id]
    for ref in ("8463793", "84637930.0", "x" * 129, "true", "True", ""):
        assert await found(store, Filters(ref=ref)) == []


@pytest.mark.parametrize(
    "literal", ["9" * 5_000, "1e400", "-0.0", "18446744073709551616", '"' + "x" * 200_000 + '"']
)
async def test_no_value_keeps_the_others_from_being_found(store: Store, literal: str) -> None:
    odd = await publish_one(
        store, context={"Order id": "A-17", "value": "@@"}, literal=literal, name="odd one"
    )
    other = await publish_one(store, context={"Order id": "A-17"}, name="other one")
    await indexed(store)
    assert [each.id for each in await found(store, Filters(ref="A-17"))] == [other.id, odd.id]
    assert [each.id for each in await found_by_words(store, odd, Filters(words=("one",)))] == [
        other.id,
        odd.id,
    ]
    assert [
        each.id for each in await found_by_words(store, odd, Filters(words=("odd",), actor_type="shopper"))
    ] == [odd.id]
    await store.log.delete(odd.id, ENTRY)
    assert [each.id for each in await found_by_words(store, odd, Filters(words=("one",)))] == [other.id]
    assert [each.id for each in await found(store, Filters(ref="A-17"))] == [other.id]


async def test_a_rare_filter_answers_short_pages_that_lead_to_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstory.store.log.walk.SCAN_LIMIT", 10)
    rare = {5, 6, 33, 99}
    items = [publication(at=NOON + n, actor={"type": "rare" if n in rare else "usual"}) for n in range(100)]
    results = await publish(store, *items)
    home = await home_of(store, results[0])
    await indexed(store)
    expected = [results[number].id for number in sorted(rare, reverse=True)]
    filters = Filters(actor_type="rare")
    assert [each.id for each in await timeline(store, [home], filters, limit=2)] == expected
    assert [each.id for each in await found(store, filters, limit=2)] == expected
    short = await store.log.page([home], filters, None, 2)
    assert len(short.activities) == 1
    assert short.next is not None
    # Where more match than can be sorted, the timeline is walked instead.
    monkeypatch.setattr("backstory.store.log.walk.MATCH_LIMIT", 3)
    assert [each.id for each in await timeline(store, [home], Filters(words=("rare",)), limit=2)] == expected
    assert [
        each.id for each in await found_by_words(store, results[0], Filters(words=("rare",)), limit=2)
    ] == expected


# The order of arrival.


async def _all_arrivals(store: Store, limit: int, homes: list[bytes]) -> list[Activity | Deletion]:
    """Everything that arrived for some homes, from the beginning, a piece at a time."""
    events: list[Activity | Deletion] = []
    after, more = 0, True
    while more:
        arrivals = await store.log.all_arrivals(after, limit, frozenset(homes))
        assert len(arrivals.events) <= limit
        events.extend(arrivals.events)
        assert arrivals.position > after or not arrivals.more
        after, more = arrivals.position, arrivals.more
    assert after == (await store.log.stream_position()).position
    return events


async def _arrivals(store: Store, homes: list[bytes], after: int, limit: int) -> list[Activity | Deletion]:
    events: list[Activity | Deletion] = []
    while (arrivals := await store.log.arrivals(homes, after, limit)).events:
        assert len(arrivals.events) <= limit
        events.extend(arrivals.events)
        after = arrivals.position
    return events


def replay(
    shown: dict[ActivityId, Activity], events: list[Activity | Deletion]
) -> dict[ActivityId, Activity]:
    """What a viewer has after these events."""
    after = dict(shown)
    for event in events:
        if isinstance(event, Deletion):
            after.pop(event.id, None)
        else:
            after[event.id] = event
    return after


@pytest.mark.parametrize("seed", range(4))
async def test_a_stream_from_any_cut_off_ends_like_a_fresh_read(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    people = [{"email": f"{number}@example.com"} for number in range(2)]
    first = [await publish_one(store, person) for person in people]
    homes = [await home_of(store, each) for each in first]
    watched = homes if seed % 2 else homes[:1]
    alive = [each.id for each in first]
    cuts = [((await store.log.stream_position()), await timeline(store, watched))]
    for _ in range(40):
        if chance.random() < 0.3 and alive:
            gone = alive.pop(chance.randrange(len(alive)))
            deletion = await store.log.delete(gone, ENTRY)
            assert deletion is not None
            assert deletion.id == gone
            assert deletion.position == (await store.log.stream_position()).position
        else:
            items = [
                publication(chance.choice(people), at=NOON + chance.randrange(-DAY, DAY))
                for _ in range(chance.randrange(1, 4))
            ]
            alive.extend(each.id for each in await publish(store, *items))
        cuts.append((await store.log.stream_position(), await timeline(store, watched)))
    fresh = await timeline(store, watched)
    assert len({position.generation for position, _ in cuts}) == 1
    for (position, shown), limit in zip(cuts, itertools.cycle((1, 3, 1_000))):
        events = await _arrivals(store, watched, position.position, limit)
        ends = replay({each.id: each for each in shown}, events)
        assert newest_first(list(ends.values())) == fresh
    mine = await _all_arrivals(store, 7, watched)
    places = [each.position if isinstance(each, Deletion) else each.id.position for each in mine]
    assert places == sorted(set(places))
    assert mine == await _arrivals(store, watched, 0, 5)


async def test_the_position_of_an_empty_log(store: Store) -> None:
    position = await store.log.stream_position()
    assert position.position == 0
    assert await store.log.arrivals([b"x" * 16], 0, 10) == await store.log.all_arrivals(0, 10, frozenset())


async def test_a_back_dated_activity_arrives_last(store: Store) -> None:
    await publish_one(store, at=NOON)
    position = await store.log.stream_position()
    late = await publish_one(store, at=NOON - DAY)
    arrivals = await store.log.arrivals([await home_of(store, late)], position.position, 10)
    assert [each.id for each in arrivals.events if isinstance(each, Activity)] == [late.id]
    assert (await timeline(store, [await home_of(store, late)]))[-1].id == late.id


async def test_positions_rise_even_when_the_clock_goes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await publish_one(store)
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000)
    second = await publish_one(store)
    deletion = await store.log.delete(second.id, ENTRY)
    third = await publish_one(store)
    assert deletion is not None
    assert first.id.position < second.id.position < deletion.position < third.id.position


# Deletion.


@pytest.mark.parametrize("when", ["before the index", "behind the index"])
async def test_a_deleted_activity_is_nowhere(store: Store, when: str) -> None:
    options: dict[str, Any] = {
        "name": "Secret word",
        "object": {"type": "cart", "id": "A-17"},
        "context": {"Order id": "B-18"},
    }
    kept, gone = [await publish_one(store, **options) for _ in range(2)]
    if when == "behind the index":
        await indexed(store)
    deletion = await store.log.delete(gone.id, ENTRY)
    assert deletion is not None
    assert await store.log.delete(gone.id, ENTRY) is None
    await indexed(store)
    home = await home_of(store, kept)
    for filters in (
        *(Filters(), Filters(name="Secret word"), Filters(types=("cart",))),
        *(Filters(sources=("shopify",)), Filters(ref="A-17"), Filters(ref="B-18")),
    ):
        assert [each.id for each in await found(store, filters)] == [kept.id]
    everywhere = await found_by_words(store, kept, Filters(words=("secret",)))
    assert [each.id for each in everywhere] == [kept.id]
    for filters in (Filters(), Filters(words=("secret",))):
        assert [each.id for each in await timeline(store, [home], filters)] == [kept.id]
    assert await store.log.get(gone.id) is None
    assert await store.log.origin(gone.id) is None
    events = (await store.log.all_arrivals(0, 10, frozenset([home]))).events
    assert [type(event) for event in events] == [Activity, Deletion]


async def test_a_deletion_is_audited_once(store: Store) -> None:
    published = await publish_one(store)
    await store.log.delete(published.id, ENTRY)
    await store.log.delete(published.id, ENTRY)
    assert [entry for _, entry in await store.records.audit_page(None, 10)] == [ENTRY]


async def test_a_refused_publication_leaves_no_trace(store: Store) -> None:
    await publish_one(store)
    before = await store.log.stream_position()
    await refused(store, publication({"id": 4_711}, id="evt-9"))
    assert await store.log.stream_position() == before
