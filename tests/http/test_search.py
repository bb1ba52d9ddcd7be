"""Searches over HTTP: every field finds what it should and nothing else, in order, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.support import Installation, publish_request

pytestmark = pytest.mark.every_engine(cluster=False)  # of the records alone

TODAY = datetime.now(UTC).date()


def find(api: httpx.Client, what: str, query: str, page: int = 1) -> list[int]:
    """The ids of a page of results; the total is right for a first page."""
    answer = api.get(f"/api/v2/search/{what}", params={"query": f'"{query}"', "page": page})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["total", "results"]
    ids = [each["id"] for each in answer.json()["results"]]
    if page == 1:
        assert answer.json()["total"] == len(ids) or len(ids) == 30
    return ids


def create(api: httpx.Client, what: str, **fields: Any) -> int:
    answer = api.post(f"/api/v2/{what}", json=fields)
    assert answer.status_code == 201, answer.text
    number = answer.json()["id"]
    assert isinstance(number, int)
    return number


class People:
    """Contacts that are told apart by every field that is searched, all with one tag of their own."""

    def __init__(self, api: httpx.Client) -> None:
        self.tag = unique("tag")
        self.company = create(api, "companies", name=unique("Company"))
        self.email, self.twitter = email(), unique("tw")
        self.first = create(
            api, "contacts", name="A", email=self.email, language="de", time_zone="Berlin",
            tags=[self.tag, "It's"], company_id=self.company, phone="+44 20 7946 0321",
        )  # fmt: skip
        self.second = create(
            api, "contacts", name="B", twitter_id=self.twitter, language="fr", tags=[self.tag.upper()],
            mobile="+44 7700 900321",
        )  # fmt: skip
        self.deleted = create(api, "contacts", name="C", email=email(), tags=[self.tag])
        api.delete(f"/api/v2/contacts/{self.deleted}")


@pytest.fixture(scope="module")
def people(shared_server: Installation) -> Iterator[People]:
    with shared_server.client() as api:
        yield People(api)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag:'{tag}'", ["second", "first"]),
        ("tag:'{tag}' AND language:'de'", ["first"]),
        ("tag:'{tag}' AND (language:'de' OR language:'fr')", ["second", "first"]),
        ("tag:'{tag}' AND language:'DE'", []),
        ("tag:'{tag}' AND time_zone:null", ["second"]),
        ("tag:'{tag}' AND time_zone:'Berlin'", ["first"]),
        ("tag:'{tag}' AND company_id:{company}", ["first"]),
        ("tag:'{tag}' AND company_id:null", ["second"]),
        ("tag:'{tag}' AND email:null", ["second"]),
        ("tag:'{tag}' AND twitter_id:null", ["first"]),
        ("tag:'{tag}' AND phone:null", ["second"]),
        ("tag:'{tag}' AND mobile:null", ["first"]),
        ("tag:'{tag}' AND active:false", ["second", "first"]),
        ("tag:'{tag}' AND active:true", []),
        ("tag:'{tag}' AND tag:'IT\\'S'", ["first"]),
        ("company_id:{company}", ["first"]),
        ("email:'{email}'", ["first"]),
        ("twitter_id:'{twitter}'", ["second"]),
        ("tag:'{tag}' AND phone:'+442079460321'", ["first"]),
        ("tag:'{tag}' AND mobile:'+44 7700 900321'", ["second"]),
        ("tag:'{tag}' AND phone:'+447700900321'", []),
        ("tag:'{tag}' AND created_at:'{today}'", ["second", "first"]),
        ("tag:'{tag}' AND created_at:>'{today}' AND updated_at:<'{tomorrow}'", ["second", "first"]),
        ("tag:'{tag}' AND created_at:<'{yesterday}'", []),
        ("tag:'{tag}' AND updated_at:>'{tomorrow}'", []),
        ("tag:'nobody' OR email:'{email}' OR twitter_id:'{twitter}'", ["second", "first"]),
    ],
)
def test_contacts(api: httpx.Client, people: People, query: str, found: list[str]) -> None:
    days = {
        "today": TODAY,
        "yesterday": TODAY - timedelta(days=1),
        "tomorrow": TODAY + timedelta(days=1),
    }
    asked = query.format(**vars(people), **days)
    assert find(api, "contacts", asked) == [getattr(people, name) for name in found]


def test_contacts_without_a_tag(api: httpx.Client, people: People) -> None:
    company = create(api, "companies", name=unique("Company"))
    untagged = create(api, "contacts", name="D", email=email(), company_id=company)
    create(api, "contacts", name="E", email=email(), company_id=company, tags=["x"])
    assert find(api, "contacts", f"company_id:{company} AND tag:null") == [untagged]


def test_a_contact_is_found_by_each_of_its_emails_however_they_are_written(api: httpx.Client) -> None:
    first, other = f"a+b{email()}", email()
    contact = create(api, "contacts", name="A", email=first, other_emails=[other])
    assert find(api, "contacts", f"email:'{first.upper()}'") == [contact]
    assert find(api, "contacts", f"email:'{other}'") == [contact]
    raw = api.get(f"/api/v2/search/contacts?query=\"email:'{first}'\"")  # the + arrives as a space
    assert [each["id"] for each in raw.json()["results"]] == [contact]


def test_a_contact_that_was_merged_away_is_found_as_the_one_that_stands_for_it(api: httpx.Client) -> None:
    lost = email()
    primary, secondary = (create(api, "contacts", name="A", email=each) for each in (email(), lost))
    merged = api.post(
        "/api/v2/contacts/merge", json={"primary_contact_id": primary, "secondary_contact_ids": [secondary]}
    )
    assert merged.status_code == 204, merged.text
    assert find(api, "contacts", f"email:'{lost}'") == [primary]


def test_agents_are_no_contacts(api: httpx.Client) -> None:
    assert find(api, "contacts", "email:'admin@example.com'") == []


def test_who_only_published_is_found(api: httpx.Client) -> None:
    mail = email()
    contact = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    assert find(api, "contacts", f"email:'{mail}'") == [contact]


class Work:
    """Tickets that are told apart by every field that is searched."""

    def __init__(self, api: httpx.Client) -> None:
        self.tag = unique("tag")
        me = api.get("/api/v2/agents/me").json()["id"]
        self.agent = me
        common = {"email": email(), "tags": [self.tag]}
        self.first = create(
            api, "tickets", subject="A", status=2, priority=1, type="Question", responder_id=me,
            due_by=f"{TODAY + timedelta(days=3)}T10:00:00Z", fr_due_by=f"{TODAY + timedelta(days=2)}T10:00:00Z",
            **common,
        )  # fmt: skip
        self.second = create(api, "tickets", subject="B", status=3, priority=4, **common)
        self.deleted = create(api, "tickets", subject="C", status=2, priority=4, **common)
        api.delete(f"/api/v2/tickets/{self.deleted}")


@pytest.fixture(scope="module")
def work(shared_server: Installation) -> Iterator[Work]:
    with shared_server.client() as api:
        yield Work(api)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("tag:'{tag}'", ["second", "first"]),
        ("tag:'{tag}' AND status:2", ["first"]),
        ("tag:'{tag}' AND (status:2 OR status:3)", ["second", "first"]),
        ("tag:'{tag}' AND priority:>4", ["second"]),
        ("tag:'{tag}' AND priority:>1", ["second", "first"]),
        ("tag:'{tag}' AND priority:<1", ["first"]),
        ("tag:'{tag}' AND priority:2", []),
        ("tag:'{tag}' AND agent_id:{agent}", ["first"]),
        ("tag:'{tag}' AND agent_id:null", ["second"]),
        ("tag:'{tag}' AND group_id:null", ["second", "first"]),
        ("tag:'{tag}' AND type:'Question'", ["first"]),
        ("tag:'{tag}' AND type:null", ["second"]),
        ("tag:'{tag}' AND due_by:>'{in_three_days}' AND due_by:<'{in_three_days}'", ["first"]),
        ("tag:'{tag}' AND fr_due_by:'{in_two_days}'", ["first"]),
        ("tag:'{tag}' AND created_at:'{today}' AND updated_at:'{today}'", ["second", "first"]),
        ("tag:'{tag}' AND ((status:2 AND priority:4) OR (status:3 AND priority:4))", ["second"]),
    ],
)
def test_tickets(api: httpx.Client, work: Work, query: str, found: list[str]) -> None:
    days = {
        "today": TODAY,
        "in_two_days": TODAY + timedelta(days=2),
        "in_three_days": TODAY + timedelta(days=3),
    }
    assert find(api, "tickets", query.format(**vars(work), **days)) == [getattr(work, name) for name in found]


def test_companies(api: httpx.Client) -> None:
    domain = f"{unique('d')}.example.com"
    first = create(api, "companies", name=unique("A"), domains=[domain])
    second = create(api, "companies", name=unique("B"))
    assert find(api, "companies", f"domain:'{domain.upper()}'") == [first]
    assert second in find(api, "companies", f"domain:null AND created_at:'{TODAY}'")
    assert second in find(api, "companies", f"created_at:>'{TODAY}' AND updated_at:<'{TODAY}'")


@pytest.mark.parametrize(
    ("kind", "choices", "value", "query"),
    [
        ("custom_text", [], "Pale Blue", "'pale blue'"),
        ("custom_dropdown", ["Red", "Blue"], "Red", "'red'"),
        ("custom_number", [], 42, "42"),
        ("custom_number", [], 42, ">42"),
        ("custom_number", [], -5, "<3"),
        ("custom_decimal", [], 2.5, ">2"),
        ("custom_date", [], "2026-02-28", ">'2026-02-28'"),
        ("custom_checkbox", [], True, "true"),
    ],
)
def test_custom_fields(api: httpx.Client, kind: str, choices: list[str], value: Any, query: str) -> None:
    body = {"label": unique("Field"), "type": kind} | ({"choices": choices} if choices else {})
    name = api.post("/api/v2/contact_fields", json=body).json()["name"]
    contact = create(api, "contacts", name="A", email=email(), custom_fields={name: value})
    tag = unique("tag")
    blank = create(api, "contacts", name="B", email=email(), tags=[tag])
    assert find(api, "contacts", f"{name}:{query}") == [contact]
    assert find(api, "contacts", f"{name}:null AND tag:'{tag}'") == [blank]


def test_pages(api: httpx.Client) -> None:
    tag = unique("tag")
    made = [create(api, "contacts", name=f"N{n}", email=email(), tags=[tag]) for n in range(65)]
    pages = [find(api, "contacts", f"tag:'{tag}'", page) for page in (1, 2, 3, 4, 10)]
    assert [len(page) for page in pages] == [30, 30, 5, 0, 0]
    assert [each for page in pages for each in page] == made[::-1]
    answer = api.get("/api/v2/search/contacts", params={"query": f"\"tag:'{tag}'\"", "page": "9"}).json()
    assert answer == {"total": 65, "results": []}


@pytest.mark.parametrize("number", ["0", "-1", "11", "x", "99999999999999999999"])
def test_pages_that_cannot_be(api: httpx.Client, number: str) -> None:
    answer = api.get("/api/v2/search/tickets", params={"query": '"status:2"', "page": number})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["page"]


@pytest.mark.parametrize(
    ("what", "query", "code"),
    [
        ("tickets", '"colour:2"', "invalid_field"),
        ("tickets", "\"email:'a@example.com'\"", "invalid_field"),
        ("contacts", '"status:2"', "invalid_field"),
        ("companies", '"cf_nothing:2"', "invalid_field"),
        ("tickets", "\"status:'2'\"", "invalid_value"),
        ("tickets", '"status:2', "invalid_value"),
        ("tickets", "status:2", "invalid_value"),
        ("tickets", f'"{"status:2 OR " * 60}status:2"', "invalid_value"),
    ],
)
def test_queries_at_fault(api: httpx.Client, what: str, query: str, code: str) -> None:
    answer = api.get(f"/api/v2/search/{what}", params={"query": query})
    assert answer.status_code == 400
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [("query", code)]


def test_no_query(api: httpx.Client) -> None:
    answer = api.get("/api/v2/search/tickets")
    assert answer.json()["errors"][0]["code"] == "missing_field"


def test_quotes_raw_and_escaped(api: httpx.Client, people: People) -> None:
    for query in (f"\"tag:'{people.tag}'\"", f"%22tag:%27{people.tag}%27%22"):
        found = api.get(f"/api/v2/search/contacts?query={query}&page=1").json()
        assert found["total"] == 2
