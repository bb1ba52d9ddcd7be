"""Reading (contract 1.2): one activity, timelines page by page, every filter, the finds across contacts."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, BATCH, find
from tests.support import FINDS_WORDS, Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine

KEYS = {
    "id",
    "external_id",
    "contact_id",
    "name",
    "timestamp",
    "description",
    "link",
    "actor",
    "source",
    "object",
    "context",
    "is_actor",
    "received_at",
}
NEXT = re.compile(r'<(http://[^>]+)>; rel="next"')


def next_url(answer: httpx.Response) -> str | None:
    if "Link" not in answer.headers:
        return None
    found = NEXT.fullmatch(answer.headers["Link"])
    assert found, answer.headers["Link"]
    return found[1]


def pages(api: httpx.Client, url: str, **params: Any) -> Iterator[list[Any]]:
    answer = api.get(url, params=params)
    while True:
        assert answer.status_code == 200, answer.text
        yield answer.json()
        url_ = next_url(answer)
        if url_ is None:
            return
        answer = api.get(url_)


def every(api: httpx.Client, url: str, **params: Any) -> list[Any]:
    return [activity for page in pages(api, url, **params) for activity in page]


@pytest.fixture(scope="module")
def history(shared_server: Installation) -> dict[str, Any]:
    """A contact with a varied history of 120 activities; every tenth happened at the same moment."""
    mail, run = email(), unique("run")
    start = datetime(2023, 1, 1, tzinfo=UTC)
    items = [
        publish_request(
            name=("Order placed", "Cart left", "Call ended")[n % 3],
            id=f"{run}-{n}",
            timestamp=(start + timedelta(hours=n - n % 10)).isoformat(),
            description=f"Ümläut café number{n}" if n % 2 else None,
            actor={"type": ("shopper", "agent")[n % 2]},
            source={"name": "shopify" if n < 60 else "stripe"},
            object={"type": ("cart", "call", "order", "visit")[n % 4], "id": f"{run}-object-{n}"},
            context={
                "Order id": f"{run}-order-{n // 2}",
                "nested": {"list": [{"trackingNumber": f"{run}T{n}"}, "Straße"], "key_word": n},
            },
            contact={"email": mail},
        )
        for n in range(120)
    ]
    with shared_server.client() as api:
        results = api.post(BATCH, json={"activities": items}).json()["results"]
        contact_id = results[0]["contact_id"]
        wait_until(lambda: api.get(ACTIVITIES, params={"ref": f"{run}-object-119"}).json(), what="the index")
    expected = sorted(
        zip(items, [result["id"] for result in results], strict=True),
        key=lambda pair: (pair[0]["activity"]["timestamp"], pair[1]),
        reverse=True,
    )
    return {"contact": contact_id, "run": run, "expected": expected, "mail": mail}


def wanted(history: dict[str, Any], keep: Any) -> list[str]:
    return [id_ for item, id_ in history["expected"] if keep(item["activity"])]


def test_one_activity_whole(api: httpx.Client) -> None:
    request = publish_request(
        id=unique("evt"),
        description="d",
        link="https://example.com",
        timestamp="2020-10-01T14:00:00.25Z",
        actor={"type": "shopper", "id": "1", "name": "R"},
        source={"name": "shopify", "id": "2"},
        object={"type": "order", "id": "3", "link": "https://example.com/3", "name": "N"},
        context={"a": [1]},
        contact={"email": email(), "is_actor": False},
    )
    published = publish(api, request)
    activity = api.get(f"{ACTIVITIES}/{published['id']}").json()
    assert set(activity) == KEYS
    sent = request["activity"]
    for name in ("name", "description", "link", "actor", "source", "object", "context"):
        assert activity[name] == sent[name], name
    assert activity["timestamp"] == "2020-10-01T14:00:00.250Z"
    assert activity["external_id"] == sent["id"]
    assert activity["is_actor"] is False
    assert activity["contact_id"] == published["contact_id"]
    assert api.get(f"{ACTIVITIES}/{published['id'].upper()}").json() == activity
    (listed,) = api.get(f"/api/v2/contacts/{published['contact_id']}/activities").json()
    assert listed == activity


@pytest.mark.parametrize("per_page", [1, 7, 30, 60, 100])
def test_pages_follow_the_link_to_the_end(api: httpx.Client, history: dict[str, Any], per_page: int) -> None:
    got = list(pages(api, f"/api/v2/contacts/{history['contact']}/activities", per_page=per_page))
    assert [activity["id"] for page in got for activity in page] == wanted(history, lambda _: True)
    assert all(len(page) == per_page for page in got[:-1])
    assert len(got) == -(-120 // per_page), "no empty page at the end"


def test_a_page_has_thirty_by_default(api: httpx.Client, history: dict[str, Any]) -> None:
    assert len(api.get(f"/api/v2/contacts/{history['contact']}/activities").json()) == 30


def test_links_have_the_host_that_the_client_used(api: httpx.Client, history: dict[str, Any]) -> None:
    path = f"/api/v2/contacts/{history['contact']}/activities"
    url = next_url(
        api.get(f"{path}?per_page=5&q=caf%C3%A9&source=shopify&source=stripe", headers={"Host": "a.test:1"})
    )
    assert url is not None
    assert url.startswith(f"http://a.test:1{path}?")
    query = httpx.URL(url).params
    assert query.get_list("source") == ["shopify", "stripe"]
    assert query["q"] == "café"
    assert query["per_page"] == "5"
    assert len(query.get_list("cursor")) == 1
    proxied = api.get(f"{path}?per_page=5", headers={"X-Forwarded-Proto": "https", "Host": "crm.example.com"})
    assert proxied.headers["Link"].startswith(f"<https://crm.example.com{path}?")


def test_only_the_first_page_has_a_stream_position(api: httpx.Client, history: dict[str, Any]) -> None:
    first = api.get(f"/api/v2/contacts/{history['contact']}/activities?per_page=50")
    assert first.headers["X-Stream-Position"]
    second = api.get(next_url(first) or "")
    assert "X-Stream-Position" not in second.headers


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"source": "stripe"}, lambda a: a["source"]["name"] == "stripe"),
    ({"source": ["stripe", "shopify"]}, lambda a: True),
    ({"source": "Stripe"}, lambda a: False),
    ({"type": "cart"}, lambda a: a["object"]["type"] == "cart"),
    ({"type": ["cart", "call"]}, lambda a: a["object"]["type"] in ("cart", "call")),
    ({"name": "Cart left"}, lambda a: a["name"] == "Cart left"),
    ({"actor_type": "agent"}, lambda a: a["actor"]["type"] == "agent"),
    ({"since": "2023-01-03T00:00:00Z"}, lambda a: a["timestamp"] >= "2023-01-03"),
    ({"until": "2023-01-03"}, lambda a: a["timestamp"] < "2023-01-03"),
    (
        {"since": "2023-01-02T06:00", "until": "2023-01-02T06:00:00.000001"},
        lambda a: "02T06" in a["timestamp"],
    ),
    ({"since": "2023-02-01", "until": "2023-01-01"}, lambda a: False),
    ({"q": "CAFE"}, lambda a: a["description"]),
    ({"q": "umlaut number7"}, lambda a: a["description"] and "number7" in a["description"].split()[-1:]),
    ({"q": "strasse"}, lambda a: True),
    ({"q": "caf"}, lambda a: False),
    ({"q": "key_word"}, lambda a: False),
    ({"q": "cart left"}, lambda a: a["name"] == "Cart left" or False),
    (
        {
            "source": "stripe",
            "type": "cart",
            "name": "Order placed",
            "actor_type": "shopper",
            "since": "2023-01-04",
        },
        lambda a: (
            a["source"]["name"] == "stripe"
            and a["object"]["type"] == "cart"
            and a["name"] == "Order placed"
            and a["timestamp"] >= "2023-01-04"
        ),
    ),
    ({"q": "café", "source": "stripe"}, lambda a: a["description"] and a["source"]["name"] == "stripe"),
]


@pytest.mark.parametrize(("params", "keep"), FILTERS, ids=[str(params) for params, _ in FILTERS])
def test_filters_of_a_timeline(api: httpx.Client, history: dict[str, Any], params: Any, keep: Any) -> None:
    got = every(api, f"/api/v2/contacts/{history['contact']}/activities", per_page=7, **params)
    assert [activity["id"] for activity in got] == wanted(history, keep)


@pytest.mark.parametrize(
    ("params", "keep"),
    [
        pytest.param(params, keep, id=str(params), marks=FINDS_WORDS if "q" in params else ())
        for params, keep in FILTERS
    ],
)
def test_filters_across_contacts(api: httpx.Client, history: dict[str, Any], params: Any, keep: Any) -> None:
    """Others' activities are there too; of this contact's exactly the wanted are found, in order."""
    bounds = {"since": "2023-01-01", "until": "2023-01-07"} | params
    got = every(api, ACTIVITIES, per_page=50, **bounds)
    assert [each["id"] for each in got if each["contact_id"] == history["contact"]] == wanted(history, keep)
    assert [each["timestamp"] for each in got] == sorted((each["timestamp"] for each in got), reverse=True)


def test_refs_find_by_exact_match(api: httpx.Client, history: dict[str, Any]) -> None:
    run = history["run"]

    def found(ref: str, **more: str) -> list[str]:
        return [activity["id"] for activity in every(api, ACTIVITIES, ref=ref, **more)]

    assert found(f"{run}-object-17") == wanted(history, lambda a: a["object"]["id"] == f"{run}-object-17")
    assert found(f"{run}-17") == wanted(history, lambda a: a["id"] == f"{run}-17")
    assert found(f"{run}T17") == wanted(history, lambda a: a["id"] == f"{run}-17")
    both = found(f"{run}-order-8")
    assert both == wanted(history, lambda a: a["id"] in (f"{run}-16", f"{run}-17"))
    assert len(both) == 2
    assert found(f"{run}-order-8", name="Call ended") == wanted(history, lambda a: a["id"] == f"{run}-17")
    assert found(f"{run}-order-8".upper()) == []
    assert found(f"{run}-order") == []


def test_everybody_to_whom_it_happened(api: httpx.Client) -> None:
    name = unique("Outage")
    contacts = [
        publish(api, publish_request(name=name, source={"name": source}, contact={"email": email()}))[
            "contact_id"
        ]
        for source in ("a", "b", "a")
    ]
    got = wait_until(lambda: len(x := api.get(ACTIVITIES, params={"name": name}).json()) == 3 and x)
    assert [activity["contact_id"] for activity in got] == contacts[::-1]
    only = api.get(ACTIVITIES, params={"name": name, "source": "a"}).json()
    assert [activity["contact_id"] for activity in only] == [contacts[2], contacts[0]]


def test_found_within_a_second(api: httpx.Client) -> None:
    order = unique("order")
    published = publish(api, publish_request(context={"sku": order}, contact={"email": email()}))
    (found,) = wait_until(lambda: find(api, ref=order), seconds=1, what="the reference")
    assert found["id"] == published["id"]


@FINDS_WORDS
def test_words_are_found_within_a_second(api: httpx.Client) -> None:
    word = unique("w").replace("-", "")
    published = publish(api, publish_request(context={"x": word}, contact={"email": email()}))
    (found,) = wait_until(lambda: find(api, q=word), seconds=1, what="the word")
    assert found["id"] == published["id"]


@pytest.mark.engine("cassandra")  # the others find them
def test_words_across_contacts_are_refused(api: httpx.Client) -> None:
    answer = api.get(ACTIVITIES, params={"q": "anything", "source": "shopify"})
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["code"]) == ("q", "inaccessible_field")
    assert "one contact's timeline" in fault["message"]


def test_paging_while_activities_arrive(api: httpx.Client) -> None:
    """Nothing repeated and nothing skipped that was there, whatever arrives at the top or back-dated."""
    mail = email()
    start = datetime(2022, 1, 1, tzinfo=UTC)

    def at(hours: float) -> str:
        return (start + timedelta(hours=hours)).isoformat()

    items = [publish_request(timestamp=at(n), contact={"email": mail}) for n in range(200)]
    results = api.post(BATCH, json={"activities": items}).json()["results"]
    there = [result["id"] for result in results]
    contact_id = results[0]["contact_id"]
    stop = threading.Event()

    def arrive() -> None:
        with httpx.Client(base_url=api.base_url, auth=api.auth) as client:
            n = 0
            while not stop.is_set():
                for hours in (300 + n, n % 200 + 0.5, n % 200):
                    publish(
                        client, publish_request(name="late", timestamp=at(hours), contact={"email": mail})
                    )
                n += 1

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        for per_page in (3, 10):
            got = every(api, f"/api/v2/contacts/{contact_id}/activities", per_page=per_page)
            ids = [activity["id"] for activity in got]
            assert len(set(ids)) == len(ids), "something came twice"
            assert [id_ for id_ in ids if id_ in set(there)] == there[::-1]
            order = [(activity["timestamp"], activity["id"]) for activity in got]
            assert order == sorted(order, reverse=True)
    finally:
        stop.set()
        thread.join()


def test_a_cursor_past_the_end_is_an_empty_page(api: httpx.Client) -> None:
    contact_id = publish(api, publish_request(contact={"email": email()}))["contact_id"]
    answer = api.get(f"/api/v2/contacts/{contact_id}/activities", params={"cursor": "gAAAAAAAAAA" + "A" * 21})
    assert answer.status_code == 200
    assert answer.json() == []
    assert "Link" not in answer.headers
