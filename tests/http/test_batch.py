"""Batches (contract 1.2): good items are kept even where others are bad, answered in order."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, unique
from tests.http.wire import ACTIVITIES, BATCH
from tests.support import Installation, publish_request

pytestmark = pytest.mark.every_engine

NDJSON = {"Content-Type": "application/x-ndjson"}


def send(client: httpx.Client, items: list[Any], kind: str, **headers: str) -> httpx.Response:
    if kind == "json":
        return client.post(BATCH, json={"activities": items}, headers=headers)
    lines = "".join(f"{json.dumps(item)}\n" for item in items)
    return client.post(BATCH, content=lines, headers=NDJSON | headers)


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_good_bad_foreign_and_duplicate_items_are_answered_in_order(
    shared_server: Installation, api: httpx.Client, kind: str
) -> None:
    mail, event = email(), unique("evt")
    items: list[Any] = [
        publish_request(name="one", id=event, contact={"email": mail}),
        publish_request(name="", actor={}, contact={"email": mail}),
        publish_request(name="foreign", source={"name": "stripe"}, contact={"email": mail}),
        publish_request(name="one again", id=event, contact={"email": mail}),
        publish_request(name="two", contact={"email": mail}),
        publish_request(name="nobody", contact={"id": 10**15}),
        [],
        None,
        publish_request(name="three", contact={"email": mail}),
    ]
    with shared_server.client(shared_server.source_key) as client:
        answer = send(client, items, kind)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"results"}
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [200, 400, 403, 200, 200, 400, 400, 400, 200]
    good = [result for result in results if result["status"] == 200]
    assert all({"id", "contact_id", "duplicate"} <= set(result) for result in good)
    assert [result["duplicate"] for result in good] == [False, True, False, False]
    assert good[1]["id"] == good[0]["id"]
    assert good[1]["differs"] is True
    assert {error["field"] for error in results[1]["errors"]} == {"activity.name", "activity.actor.type"}
    assert results[1]["description"] == "Validation failed"
    assert results[2]["code"] == "access_denied"
    assert [error["field"] for error in results[5]["errors"]] == ["contact.id"]
    timeline = api.get(f"/api/v2/contacts/{good[0]['contact_id']}/activities").json()
    assert [each["name"] for each in timeline] == ["three", "two", "one"]


def test_a_bad_line_does_not_spoil_the_others(api: httpx.Client) -> None:
    good = json.dumps(publish_request(contact={"email": email()}))
    body = f"\n{good}\r\n{{not json\n\n   \n{good[:-1]}\n{good}"
    answer = api.post(BATCH, content=body, headers=NDJSON)
    assert [result["status"] for result in answer.json()["results"]] == [200, 400, 400, 200]
    assert answer.json()["results"][1]["code"] == "invalid_json"


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_a_thousand_items_and_not_one_more(api: httpx.Client, kind: str) -> None:
    mail = email()
    items = [publish_request(name=f"n{number}", contact={"email": mail}) for number in range(1000)]
    results = send(api, items, kind).json()["results"]
    assert [result["status"] for result in results] == [200] * 1000
    assert len({result["id"] for result in results}) == 1000
    assert len({result["contact_id"] for result in results}) == 1
    refused = send(api, [*items, items[0]], kind)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "activities"
    assert refused.json()["errors"][0]["code"] == "invalid_value"


def test_the_order_of_a_batch_is_the_order_of_arrival(api: httpx.Client) -> None:
    mail, when = email(), "2024-05-05T05:05:05Z"
    items = [publish_request(name=f"n{i}", timestamp=when, contact={"email": mail}) for i in range(50)]
    results = send(api, items, "json").json()["results"]
    assert [r["id"] for r in results] == sorted(r["id"] for r in results)
    timeline = api.get(f"/api/v2/contacts/{results[0]['contact_id']}/activities?per_page=100").json()
    assert [each["name"] for each in timeline] == [f"n{i}" for i in reversed(range(50))]


def test_an_idempotency_key_counts_with_the_index(api: httpx.Client) -> None:
    key, items = unique("key"), [publish_request(contact={"email": email()}) for _ in range(3)]
    first = send(api, items, "json", **{"Idempotency-Key": key}).json()["results"]
    again = send(api, items, "json", **{"Idempotency-Key": key}).json()["results"]
    assert [result["duplicate"] for result in first] == [False] * 3
    assert [result["duplicate"] for result in again] == [True] * 3
    assert [result["id"] for result in again] == [result["id"] for result in first]
    # A single request with the same key is another request.
    single = api.post(ACTIVITIES, json=items[0], headers={"Idempotency-Key": key}).json()
    assert single["duplicate"] is False


def test_an_empty_batch_is_answered_empty(api: httpx.Client) -> None:
    assert send(api, [], "json").json() == {"results": []}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"activities": "missing_field"}),
        ({"activities": None}, {"activities": "missing_field"}),
        ({"activities": {}}, {"activities": "datatype_mismatch"}),
        ({"activities": [], "more": 1}, {"more": "invalid_field"}),
        ([], {"body": "datatype_mismatch"}),
    ],
)
def test_a_batch_that_is_none(api: httpx.Client, body: Any, expected: dict[str, str]) -> None:
    answer = api.post(BATCH, json=body)
    assert answer.status_code == 400
    assert {error["field"]: error["code"] for error in answer.json()["errors"]} == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[{}]", '{"activities": [...]}'),
        (b"1", '{"activities": [...]}'),
        (b"{}\n{}", "application/x-ndjson"),
    ],
)
def test_what_would_have_been_a_batch_is_told(api: httpx.Client, content: bytes, told: str) -> None:
    answer = api.post(BATCH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    (fault,) = answer.json().get("errors", [answer.json()])
    assert told in fault["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"activities": [], "activities": []}', b"\xff", b"[" * 100_000]
)
def test_a_batch_that_is_not_json(api: httpx.Client, body: bytes) -> None:
    answer = api.post(BATCH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_json"
    assert set(answer.json()) == {"code", "message"}
