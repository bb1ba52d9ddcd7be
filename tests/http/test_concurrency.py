"""Several at once: one of those who create the same wins, and nobody's change of another field is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, unique

RACERS = 12


def race(work: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(work, range(RACERS)))


@pytest.mark.parametrize("field", ["email", "twitter_id", "unique_external_id"])
def test_one_contact_gets_what_is_unique_and_the_others_are_told_who(api: httpx.Client, field: str) -> None:
    value = email() if field == "email" else unique()
    answers = race(lambda n: api.post("/api/v2/contacts", json={"name": f"N{n}", field: value}))
    (winner,) = (answer.json()["id"] for answer in answers if answer.status_code == 201)
    refused = [answer.json()["errors"][0] for answer in answers if answer.status_code == 409]
    assert len(refused) == RACERS - 1
    assert all(error["field"] == field and error["code"] == "duplicate_value" for error in refused)
    assert {error["additional_info"]["user_id"] for error in refused} == {winner}


@pytest.mark.parametrize(
    ("path", "body"),
    [("companies", {"name": "Central Perk"}), ("groups", {"name": "Second line"})],
)
def test_one_name_is_given_once(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    name = f"{body['name']} {unique()}"
    answers = race(lambda _: api.post(f"/api/v2/{path}", json={"name": name}))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (RACERS - 1)


def test_changes_of_different_fields_are_all_kept(api: httpx.Client) -> None:
    fields = [
        api.post("/api/v2/contact_fields", json={"label": unique("F"), "type": "custom_number"}).json()[
            "name"
        ]
        for _ in range(RACERS)
    ]
    contact = api.post("/api/v2/contacts", json={"name": "A", "email": email()}).json()["id"]
    path = f"/api/v2/contacts/{contact}"
    answers = race(lambda n: api.put(path, json={"custom_fields": {fields[n]: n}}))
    assert {answer.status_code for answer in answers} == {200}
    kept = api.get(path).json()["custom_fields"]
    assert {name: kept[name] for name in fields} == dict(zip(fields, range(RACERS), strict=True))


def test_changes_of_one_field_leave_one_of_them_everywhere(api: httpx.Client) -> None:
    contact = api.post("/api/v2/contacts", json={"name": "A", "email": email()}).json()["id"]
    path = f"/api/v2/contacts/{contact}"
    emails = [email() for _ in range(RACERS)]
    tags = [unique("tag") for _ in range(RACERS)]
    answers = race(lambda n: api.put(path, json={"email": emails[n], "tags": [tags[n]]}))
    assert {answer.status_code for answer in answers} == {200}
    changed = api.get(path).json()
    (place,) = (n for n, each in enumerate(emails) if each == changed["email"])
    assert changed["tags"] == [tags[place]]
    found = [api.get("/api/v2/contacts", params={"email": each}).json() for each in emails]
    assert [len(each) for each in found] == [int(n == place) for n in range(RACERS)]
    for n, tag in enumerate(tags):
        results = api.get("/api/v2/search/contacts", params={"query": f"\"tag:'{tag}'\""}).json()
        assert results["total"] == int(n == place)


def test_changes_of_a_ticket_are_all_told(api: httpx.Client) -> None:
    ticket = api.post("/api/v2/tickets", json={"email": email(), "subject": "A"}).json()["id"]
    path = f"/api/v2/tickets/{ticket}"
    changes: list[dict[str, Any]] = [{"priority": 4}, {"type": "Question"}, {"subject": "B"}, {"tags": ["x"]}]
    answers = race(lambda n: api.put(path, json=changes[n % len(changes)]))
    assert {answer.status_code for answer in answers} == {200}
    changed = api.get(path).json()
    assert (changed["priority"], changed["type"], changed["subject"], changed["tags"]) == (
        4,
        "Question",
        "B",
        ["x"],
    )


def test_an_agent_is_made_once(api: httpx.Client) -> None:
    contact = api.post("/api/v2/contacts", json={"name": "A", "email": email()}).json()["id"]
    answers = race(lambda _: api.put(f"/api/v2/contacts/{contact}/make_agent"))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (RACERS - 1)
