"""The demo's story: always the same, always within the contract, with Rachel in it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from backstory.demo import story

NOW = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)

MOMENTS = [
    datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(2028, 2, 29, 14, 6, 59, tzinfo=UTC),
    datetime(2026, 5, 20, 14, 7, tzinfo=UTC),
    datetime(2026, 7, 4, 23, 59, 59, tzinfo=UTC),
]

# The canonical request of the contract, but for its timestamp. The text, because the order of keys counts.
SEED_REQUEST = """{
  "activity": {
    "name": "Transaction failed",
    "description": "Transaction for Order ID on 1 Oct, 2019",
    "actor": {"id": "918mI2k1", "name": "Rachel", "type": "contact"},
    "source": {"name": "shopify", "id": "7819e8k1119"},
    "object": {"type": "transaction", "id": "1234", "link": "https://myorderstatus.example.com/84637930"},
    "context": {
      "name": "Rachel",
      "Items": 2,
      "Item description": {
        "item1": {"Item name": "Gucci White Ace Sneakers", "Size": "10 UK", "Color": "White", "Instock": "Yes"},
        "item2": {"Item name": "Gucci Round Sleeve T-Shirt", "Size": "40 UK", "Color": "Blue", "Instock": "Yes"}
      },
      "Amount": "50",
      "Currency": "Dollars",
      "Postal code": "12401",
      "Order id": "84637930",
      "Transaction link": "myorderstatus.example.com/84637930"
    }
  },
  "contact": {"email": "rachel@example.com"}
}"""

# What the contract allows: for each object the longest text of each field, None where the rule is another.
FIELDS: dict[str, dict[str, int | None]] = {
    "activity": {
        "id": 255,
        "name": 255,
        "timestamp": None,
        "description": 4096,
        "link": 2048,
        "actor": None,
        "source": None,
        "object": None,
        "context": None,
    },
    "actor": {"type": 255, "id": 255, "name": 255},
    "source": {"name": 255, "id": 255},
    "object": {"type": 255, "id": 255, "link": 2048, "name": 255},
}
IDENTIFIERS = ("unique_external_id", "email", "phone")


def told(now: datetime = NOW, **options: Any) -> list[dict[str, Any]]:
    return list(story.requests(now, **options))


@pytest.fixture(scope="module")
def year() -> list[dict[str, Any]]:
    return told()


def at(request: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(request["activity"]["timestamp"])


def of(year: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [request["activity"] for request in year if request["activity"]["name"] == name]


def ids(year: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(request["activity"]["source"]["name"], request["activity"]["id"]) for request in year]


def identifiers(contact: dict[str, Any]) -> list[tuple[str, str]]:
    """As the contract looks for them, strongest first."""
    own = [(item["source"], item["id"]) for item in contact.get("identities", [])]
    return own + [(field, contact[field]) for field in IDENTIFIERS if field in contact]


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def lives(year: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Requests by the email of the person, found as the product finds a contact."""
    owners: dict[tuple[str, str], str] = {}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in year:
        keys = identifiers(request["contact"])
        known = {owners[key] for key in keys if key in owners}
        assert len(known) <= 1, f"identifiers of different people: {request['contact']}"
        email = known.pop() if known else request["contact"]["email"]
        owners.update(dict.fromkeys(keys, email))
        found[email].append(request)
    return found


def test_the_same_arguments_tell_the_same_story(year):
    assert json.dumps(told()) == json.dumps(year)


def test_another_seed_tells_another_story(year):
    """All but the one event whose id is written down."""
    assert set(ids(told(seed=8))) & set(ids(year)) == {("shopify", "5310884637930")}


def test_another_day_moves_the_year_and_keeps_the_ids(year):
    later = told(NOW + timedelta(days=3))
    assert len(set(ids(later)) - set(ids(year))) < 300
    assert len(set(ids(later)) & set(ids(year))) > 6000


def test_more_contacts_leave_the_first_ones_as_they_are(year):
    few = lives(told(contacts=20))
    assert len(few) == 20
    assert few.items() <= lives(year).items()


@pytest.mark.parametrize(("contacts", "people"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_a_small_cast(contacts, people):
    assert len(lives(told(contacts=contacts))) == people


def test_a_cast_with_more_people_than_names():
    many = lives(told(contacts=700))
    assert len(many) == 700


def test_every_event_has_its_own_id(year):
    assert max(Counter(ids(year)).values()) == 1


@pytest.mark.parametrize("now", [NOW, *MOMENTS])
def test_oldest_first_within_the_year_before(now):
    moments = [at(request) for request in told(now)]
    assert moments == sorted(moments)
    assert now - timedelta(days=365) <= moments[0]
    assert moments[-1] <= now


def test_timestamps_are_utc_to_the_second(year):
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", request["activity"]["timestamp"]) for request in year
    )


def test_another_zone_is_the_same_moment(year):
    assert told(NOW.astimezone(timezone(timedelta(hours=9)))) == year


def faults(request: dict[str, Any]) -> Iterator[str]:
    """What the contract would refuse."""
    activity, contact = request["activity"], request["contact"]
    for kind, limits in FIELDS.items():
        fields = activity if kind == "activity" else activity[kind]
        for field, value in fields.items():
            limit = limits.get(field, 0)
            if limit is not None and not (isinstance(value, str) and 1 <= len(value.strip()) <= limit):
                yield f"{kind}.{field}"
    if not (activity["name"] and activity["actor"]["type"] and activity["source"]["name"]):
        yield "mandatory"
    if depth(activity["context"]) > 32 or len(json.dumps(activity["context"])) > 256 * 1024:
        yield "activity.context"
    if not identifiers(contact) or not contact.keys() <= {*IDENTIFIERS, "identities", "name", "is_actor"}:
        yield "contact"


def test_every_request_keeps_to_the_contract(year):
    assert [(request, found) for request in year for found in faults(request)] == []


def test_json_gives_back_what_was_told(year):
    text = json.dumps(year, allow_nan=False, ensure_ascii=False)
    assert json.loads(text) == year
    text.encode()  # no lone surrogates


def test_the_volume_of_a_believable_shop(year):
    sizes = sorted(len(life) for life in lives(year).values())
    assert 6000 <= len(year) <= 8000
    assert len(sizes) == 300
    assert sum(5 <= size <= 40 for size in sizes) >= 240
    assert 3 <= sum(size >= 200 for size in sizes) <= 10


def test_seven_sources_and_their_shapes(year):
    shapes = defaultdict(set)
    for request in year:
        shapes[request["activity"]["source"]["name"]].add(tuple(request["activity"]["context"]))
    assert shapes.keys() == {"shopify", "stripe", "aircall", "dhl", "webapp", "mailchimp", "chargebee"}
    assert sum(map(len, shapes.values())) >= 20


def test_contacts_are_found_by_every_kind_of_identifier(year):
    known_alone = {tuple(sorted({kind for kind, _ in identifiers(request["contact"])})) for request in year}
    assert {("email",), ("phone",), ("unique_external_id",), ("email", "stripe")} <= known_alone


def test_who_is_not_the_contact_is_said_not_to_be(year):
    for request in year:
        by_another = request["activity"]["actor"]["type"] in ("agent", "system")
        assert request["contact"].get("is_actor", True) is not by_another


def test_nobody_real(year):
    text = json.dumps(year, ensure_ascii=False)
    hosts = {*re.findall(r"https?://([^/\"]+)", text), *re.findall(r"@([\w.-]+)", text)}
    assert all(re.fullmatch(r"([a-z]+\.)*example\.(com|org|net)", host) for host in hosts)
    phones = {request["contact"]["phone"] for request in year if "phone" in request["contact"]}
    reserved = r"\+(121255501\d\d|442079460\d{3}|33199\d{6}|493023125\d{3}|46701740\d{3}|612555\d{5})"
    assert len(phones) > 50
    assert all(re.fullmatch(reserved, phone) for phone in phones)


def test_names_of_the_world(year):
    names = "".join(request["contact"].get("name", "") for request in year)
    scripts = {unicodedata.name(letter).split()[0] for letter in names if letter.isalpha()}
    assert scripts >= {"LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "CJK", "HANGUL"}
    assert set("éöñŁÞ") <= set(unicodedata.normalize("NFC", names))
    assert "🎁" in json.dumps(year, ensure_ascii=False)


def test_an_order_is_one_thread_through_shop_payments_and_parcels(year):
    placed = {activity["object"]["id"] for activity in of(year, "Order placed")}
    paid = {activity["context"]["metadata"]["order_id"] for activity in of(year, "Charge succeeded")}
    sent = {activity["object"]["id"]: activity["context"] for activity in of(year, "Order fulfilled")}
    delivered = {activity["context"]["trackingNumber"]: activity for activity in of(year, "Delivered")}
    numbers = {context["trackingNumber"]: order for order, context in sent.items()}
    assert len(placed) > 200
    assert sent.keys() <= placed < paid
    for number, activity in delivered.items():
        assert activity["context"]["references"]["order_id"] == numbers[number]
        checkpoints = [checkpoint["timestamp"] for checkpoint in activity["context"]["events"]]
        assert checkpoints == sorted(checkpoints, reverse=True)


def test_minor_units_and_amounts_agree(year):
    totals = {activity["object"]["id"]: activity["context"] for activity in of(year, "Order placed")}
    paid = [activity["context"] for activity in of(year, "Charge succeeded")]
    charges = {charge["metadata"]["order_id"]: charge for charge in paid}
    assert len(totals) > 200
    for number, order in totals.items():
        assert charges[number]["currency"] == order["currency"].lower()
        assert charges[number]["amount"] == int(order["total_price"].replace(".", ""))


@pytest.mark.parametrize("now", [NOW, *MOMENTS])
def test_rachel_was_charged_and_her_order_failed(now):
    rachel = lives(told(now, contacts=10))["rachel@example.com"]
    failed = at(rachel[-1])
    assert (failed.hour, failed.minute, failed.second) == (14, 7, 0)
    assert failed <= now < failed + timedelta(days=1)

    *_, basket, checkout, charge, _ = [request["activity"] for request in rachel]
    assert [basket["name"], checkout["name"], charge["name"]] == [
        "Cart created",
        "Checkout started",
        "Charge succeeded",
    ]
    assert at(rachel[-2]) == failed - timedelta(minutes=1)
    assert (charge["context"]["amount"], charge["context"]["currency"]) == (5000, "usd")
    assert charge["context"]["metadata"] == {"order_id": "84637930"}
    assert len(rachel) > 30


@pytest.mark.parametrize("now", [NOW, *MOMENTS])
def test_rachels_failed_transaction_is_the_seed_request(now):
    last = lives(told(now, contacts=10))["rachel@example.com"][-1]
    activity = {field: value for field, value in last["activity"].items() if field not in ("id", "timestamp")}
    assert json.dumps({**last, "activity": activity}) == json.dumps(json.loads(SEED_REQUEST))


def test_john_was_charged_twice_for_one_order(year):
    john = [request["activity"]["name"] for request in lives(year)["john@example.com"]]
    assert john[-9:] == [
        "Cart created",
        "Checkout started",
        "Charge failed",
        "Charge succeeded",
        "Charge succeeded",
        "Order placed",
        "Call missed",
        "Call answered",
        "Charge refunded",
    ]


def test_others_lost_their_orders_while_rachel_did(year):
    since = NOW.replace(hour=13, minute=30)
    lost = [
        request
        for request in year
        if request["activity"]["name"] == "Transaction failed" and at(request) >= since
    ]
    assert len(lost) >= 4
