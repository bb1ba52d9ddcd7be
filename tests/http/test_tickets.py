"""Tickets through a running server: opened, read, listed, changed, deleted, merged, and every documented fault."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from backstory.http.described.tickets import TICKET_KEYS
from backstory.model.moment import now, parse_moment
from backstory.model.rich_text import MAX_ELEMENTS, MAX_HTML
from tests.support import Installation, wait_until

pytestmark = pytest.mark.every_engine

TICKETS = "/api/v2/tickets"
STATS = {
    *("closed_at", "resolved_at", "first_responded_at", "agent_responded_at", "requester_responded_at"),
    *("reopened_at", "pending_since", "status_updated_at"),
}
HOUR = 3600 * 1_000_000
_numbers = itertools.count(1)


def somebody() -> str:
    """An email that nobody has yet."""
    return f"requester{next(_numbers)}@tickets.example"


@pytest.fixture
def agent(shared_server: Installation) -> Iterator[httpx.Client]:
    with shared_server.client(shared_server.agent_key) as client:
        yield client


def opened(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post(TICKETS, json={"email": somebody(), "subject": "Where is it?"} | fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def changed(client: httpx.Client, ticket: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = client.put(f"{TICKETS}/{ticket['id']}", json=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def read(client: httpx.Client, ticket: dict[str, Any], include: str = "stats") -> dict[str, Any]:
    answer = client.get(f"{TICKETS}/{ticket['id']}", params={"include": include})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def faults(answer: httpx.Response, status: int = 400) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.json()["description"] == "Validation failed"
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


def events(client: httpx.Client, ticket: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """What the requester's timeline tells of a ticket, oldest first, once there is so much: a cluster has it later."""

    def told() -> list[dict[str, Any]]:
        shown = events_of(client, ticket["requester_id"])[::-1]
        return [each for each in shown if each["object"]["id"] == str(ticket["id"])]

    wait_until(lambda: len(told()) >= count, what=f"{count} events of the ticket")
    return told()


def listed(client: httpx.Client, **params: Any) -> list[int]:
    answer = client.get(TICKETS, params={"per_page": 100} | params)
    assert answer.status_code == 200, answer.text
    return [ticket["id"] for ticket in answer.json()]


# Opening.


def test_a_ticket_is_answered_with_its_defaults_and_its_exact_keys(api: httpx.Client) -> None:
    before = now()
    answer = api.post(f"{TICKETS}/", json={"email": somebody(), "subject": "Where is it?", "type": None})
    ticket = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == str(api.base_url).rstrip("/") + f"{TICKETS}/{ticket['id']}"
    assert list(ticket) == list(TICKET_KEYS)
    assert (ticket["status"], ticket["priority"], ticket["source"]) == (2, 1, 2)
    assert (ticket["description"], ticket["description_text"], ticket["type"]) == ("", "", None)
    assert (ticket["spam"], ticket["deleted"], ticket["urgent"], ticket["is_escalated"]) == (False,) * 4
    created = parse_moment(ticket["created_at"])
    assert before - 1_000_000 <= created <= now()
    assert parse_moment(ticket["fr_due_by"]) - created == 24 * HOUR
    assert parse_moment(ticket["due_by"]) - created == 120 * HOUR
    assert api.get(answer.headers["Location"]).json() == ticket


def test_everything_that_can_be_written_comes_back(api: httpx.Client) -> None:
    agent_id = 1
    due, first = "2999-05-04T12:00:00Z", "2999-05-03T12:00:00Z"
    sent = {
        "subject": "  Broken  ",
        "description": "<div>It <b>broke</b>.<br>Help!</div>",
        "type": "Incident",
        "status": 3,
        "priority": 4,
        "source": 3,
        "responder_id": agent_id,
        "product_id": 7,
        "email_config_id": 8,
        "due_by": due,
        "fr_due_by": first,
        "cc_emails": ["b@example.com", "a@example.com", "b@example.com"],
        "tags": ["vip", "Öl", "vip"],
    }
    ticket = opened(api, **sent)
    assert ticket["subject"] == "Broken"
    assert ticket["description"] == sent["description"]
    assert ticket["description_text"] == "It broke.\nHelp!"
    assert ticket["cc_emails"] == ticket["ticket_cc_emails"] == ["b@example.com", "a@example.com"]
    assert ticket["tags"] == ["vip", "Öl"]
    same = ("type", "status", "priority", "source", "responder_id", "product_id", "due_by", "fr_due_by")
    assert {name: ticket[name] for name in same} == {name: sent[name] for name in same}
    assert ticket["urgent"] is True
    assert read(api, ticket)["stats"]["pending_since"] == ticket["created_at"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone", "+44 7700 900999"),
        ("twitter_id", "@ticketeer"),
        ("unique_external_id", "ticket-ext-1"),
        ("email", "by-email@tickets.example"),
    ],
)
def test_a_requester_is_made_once_and_found_again(api: httpx.Client, field: str, value: str) -> None:
    body = {field: value, "name": "Ticketeer", "subject": "One"}
    first, second = (api.post(TICKETS, json=body).json() for _ in range(2))
    assert first["requester_id"] == second["requester_id"]
    contact = api.get(f"/api/v2/contacts/{first['requester_id']}").json()
    assert (contact["name"], contact[field]) == ("Ticketeer", value)
    by_id = opened(api, email=None, requester_id=first["requester_id"])
    assert by_id["requester_id"] == first["requester_id"]


def test_a_requester_is_the_contact_whom_activities_have_made(api: httpx.Client) -> None:
    email = somebody()
    activity = {"name": "Paid", "actor": {"type": "shopper"}, "source": {"name": "shopify"}}
    contact = {"email": email, "facebook_id": f"fb-{email}"}
    published = api.post("/api/v2/contact-activities", json={"activity": activity, "contact": contact}).json()
    assert opened(api, email=email.upper())["requester_id"] == published["contact_id"]
    by_facebook = opened(api, email=None, facebook_id=f"fb-{email}")
    assert by_facebook["requester_id"] == published["contact_id"]


def test_requesters_that_race_are_one(api: httpx.Client) -> None:
    email = somebody()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post(TICKETS, json={"email": email}), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["requester_id"] for answer in answers}) == 1
    assert len({answer.json()["id"] for answer in answers}) == 8


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"requester_id": "missing_field"}),
        ({"email": "  "}, {"requester_id": "missing_field"}),
        ({"phone": "+44 7700 900998"}, {"name": "missing_field"}),
        ({"requester_id": 2**62}, {"requester_id": "invalid_value"}),
        ({"requester_id": "3"}, {"requester_id": "datatype_mismatch"}),
        ({"requester_id": 2**64}, {"requester_id": "invalid_value"}),
        ({"facebook_id": "nobody"}, {"facebook_id": "invalid_value"}),
        ({"email": "nobody"}, {"email": "invalid_value"}),
        ({"email": "a@b.c", "status": "2"}, {"status": "datatype_mismatch"}),
        ({"email": "a@b.c", "status": 1, "priority": 5}, {"status": "invalid_value", "priority": "invalid_value"}),
        ({"email": "a@b.c", "source": 4}, {"source": "invalid_value"}),
        ({"email": "a@b.c", "colour": "red"}, {"colour": "invalid_field"}),
        ({"email": "a@b.c", "spam": True}, {"spam": "readonly_field"}),
        ({"email": "a@b.c", "responder_id": 2**62}, {"responder_id": "invalid_value"}),
        ({"email": "a@b.c", "group_id": 2**62, "company_id": 2**62},
         {"group_id": "invalid_value", "company_id": "invalid_value"}),
        ({"email": "a@b.c", "due_by": "soon"}, {"due_by": "invalid_value"}),
        ({"email": "a@b.c", "due_by": "2001-01-01"}, {"due_by": "invalid_value", "fr_due_by": "invalid_value"}),
        ({"email": "a@b.c", "due_by": "1970-01-01"}, {"due_by": "invalid_value", "fr_due_by": "invalid_value"}),
        ({"email": "a@b.c", "due_by": "2998-01-01", "fr_due_by": "2999-01-01"}, {"fr_due_by": "invalid_value"}),
        ({"email": "a@b.c", "cc_emails": ["x"]}, {"cc_emails.0": "invalid_value"}),
        ({"email": "a@b.c", "cc_emails": "x@y.z"}, {"cc_emails": "datatype_mismatch"}),
        ({"email": "a@b.c", "tags": ["", "x" * 256]}, {"tags.0": "invalid_value", "tags.1": "invalid_value"}),
        ({"email": "a@b.c", "custom_fields": {"cf_none": 1}}, {"custom_fields.cf_none": "invalid_field"}),
        ({"email": "a@b.c", "attachments": ["x"]}, {"attachments.0": "datatype_mismatch"}),
        ({"email": "a@b.c", "description": "<" * (MAX_ELEMENTS + 1)}, {"description": "invalid_value"}),
        ({"email": "a@b.c", "description": "x" * (MAX_HTML + 1)}, {"description": "invalid_value"}),
        ({"email": "a@b.c", "subject": "x" * 256}, {"subject": "invalid_value"}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_new_ticket_is_said(
    api: httpx.Client, body: dict[str, Any], expected: dict[str, str]
) -> None:
    assert faults(api.post(TICKETS, json=body)) == expected


def test_a_contact_is_no_agent(api: httpx.Client) -> None:
    ticket = opened(api)
    answer = api.post(TICKETS, json={"email": somebody(), "responder_id": ticket["requester_id"]})
    assert faults(answer) == {"responder_id": "invalid_value"}


def test_a_refused_ticket_leaves_no_contact(api: httpx.Client) -> None:
    email = somebody()
    assert api.post(TICKETS, json={"email": email, "group_id": 2**62}).status_code == 400
    assert listed(api, email=email) == []
    first = opened(api, email=email, name="Late")
    assert api.get(f"/api/v2/contacts/{first['requester_id']}").json()["name"] == "Late"


def test_html_is_made_harmless(api: httpx.Client) -> None:
    hostile = (
        '<p onclick="steal()">Hi <script>alert(1)</script><style>p{}</style>'
        '<a href="javascript:alert(1)">one</a> <a href="https://shop.example/o/1">two</a>'
        '<img src="data:image/png;base64,AA"><img src="cid:logo"><img src="/me"><iframe src="https://x"></iframe>'
        '<form action="/x"><input name=a></form></p>'
    )
    text = str(opened(api, description=hostile)["description"])
    for gone in ("script", "alert", "onclick", "style", "data:", "iframe", "form", "input", "/me"):
        assert gone not in text
    assert 'href="https://shop.example/o/1"' in text
    assert 'src="cid:logo"' in text


def test_an_application_may_not(shared_server: Installation) -> None:
    with shared_server.client(shared_server.source_key) as client:
        assert client.post(TICKETS, json={"email": somebody()}).status_code == 403
        assert client.get(TICKETS).status_code == 403


# Reading.


def test_what_is_included(api: httpx.Client) -> None:
    ticket = opened(api, name="Phoebe")
    for number in range(12):
        assert api.post(f"{TICKETS}/{ticket['id']}/notes", json={"body": f"{number}"}).status_code == 201
    shown = read(api, ticket, "conversations,requester,company,stats")
    assert [each["body"] for each in shown["conversations"]] == [str(number) for number in range(10)]
    assert set(shown["stats"]) == STATS
    assert shown["company"] is None
    assert shown["requester"] == {
        "id": ticket["requester_id"], "name": "Phoebe", "email": api.get(
            f"/api/v2/contacts/{ticket['requester_id']}").json()["email"], "mobile": None, "phone": None,
    }  # fmt: skip
    assert set(read(api, ticket, "requester")) == {*TICKET_KEYS, "requester"}
    assert faults(api.get(f"{TICKETS}/{ticket['id']}?include=stats,nonsense")) == {"include": "invalid_value"}


@pytest.mark.parametrize("number", ["0", "-1", "x", "999999999", str(2**63), str(2**70)])
def test_there_is_no_such_ticket(api: httpx.Client, number: str) -> None:
    path = f"{TICKETS}/{number}"
    for answer in (
        api.get(path),
        api.get(path, params={"include": "nonsense"}),
        api.put(path, json={"status": "wrong"}),
        api.delete(path),
        api.put(f"{path}/restore"),
        api.get(f"{path}/conversations"),
        api.post(f"{path}/reply", json={"body": "x"}),
        api.post(f"{path}/notes", json={}),
        api.get(f"{path}/time_entries"),
        api.get(f"{path}/satisfaction_ratings"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.request.url


def test_what_syncs_read_is_empty(api: httpx.Client) -> None:
    ticket = opened(api)
    for name in ("time_entries", "satisfaction_ratings"):
        answer = api.get(f"{TICKETS}/{ticket['id']}/{name}", params={"page": 1})
        assert (answer.status_code, answer.json()) == (200, [])


# Lists.


def test_lists_leave_the_text_out_unless_it_is_wanted(api: httpx.Client) -> None:
    email = somebody()
    opened(api, email=email, description="<p>Hello</p>")
    (short,) = api.get(TICKETS, params={"email": email}).json()
    (whole,) = api.get(
        TICKETS, params={"email": email, "include": "description,requester,stats,company"}
    ).json()
    text = {"description", "description_text", "structured_description"}
    assert set(short) == set(TICKET_KEYS) - text
    assert set(whole) == {*TICKET_KEYS, "requester", "stats", "company"}
    assert whole["description_text"] == "Hello"


def test_pages_lead_to_the_end(api: httpx.Client) -> None:
    email = somebody()
    ids = [opened(api, email=email)["id"] for _ in range(5)][::-1]
    url, seen, pages = f"{TICKETS}?email={email}&per_page=2", [], 0
    while url:
        answer = api.get(url)
        seen += [ticket["id"] for ticket in answer.json()]
        pages += 1
        url = answer.links.get("next", {}).get("url", "")
    assert (seen, pages) == (ids, 3)
    assert api.get(TICKETS, params={"email": email, "page": 99}).json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"), ("page=-1", "page"), ("page=x", "page"), ("per_page=101", "per_page"),
        ("filter=all", "filter"), ("order_by=subject", "order_by"), ("order_type=up", "order_type"),
        ("updated_since=soon", "updated_since"), ("_updated_since=soon", "updated_since"),
        ("requester_id=x", "requester_id"), ("company_id=-1", "company_id"), ("include=conversations", "include"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused(api: httpx.Client, query: str, field: str) -> None:
    assert faults(api.get(f"{TICKETS}?{query}")) == {field: "invalid_value"}


def test_an_unknown_parameter_is_refused(api: httpx.Client) -> None:
    assert faults(api.get(f"{TICKETS}?colour=red")) == {"colour": "invalid_field"}


def test_a_list_is_narrowed_to_a_requester(api: httpx.Client) -> None:
    email = somebody()
    first, second = opened(api, email=email, unique_external_id=f"x-{email}"), opened(api, email=email)
    other = opened(api)
    both = [second["id"], first["id"]]
    assert listed(api, requester_id=first["requester_id"]) == both
    assert listed(api, email=email.upper()) == both
    assert listed(api, unique_external_id=f"x-{email}") == both
    assert listed(api, email=email, requester_id=other["requester_id"]) == []
    assert listed(api, email="nobody@nowhere.example") == []
    assert listed(api, company_id=999_999) == []


@pytest.mark.parametrize("order_by", ["created_at", "updated_at", "due_by", "status"])
def test_lists_are_ordered(api: httpx.Client, order_by: str) -> None:
    email = somebody()
    made = [opened(api, email=email, priority=priority, status=status) for priority, status in
            ((1, 5), (4, 2), (2, 4), (3, 2), (1, 3))]  # fmt: skip
    changed(api, made[1], subject="Changed")
    params: dict[str, Any] = {"email": email, "order_by": order_by, "per_page": 100}
    for given in ({}, {"updated_since": "2001-01-01"}):
        down = api.get(TICKETS, params=params | given).json()
        up = api.get(TICKETS, params=params | given | {"order_type": "asc"}).json()
        assert [each["id"] for each in down] == [each["id"] for each in up][::-1]
        values = [each[order_by] for each in up]
        assert values == sorted(values)
        assert {each["id"] for each in up} == {each["id"] for each in made}


def test_views(api: httpx.Client, agent: httpx.Client) -> None:
    email = somebody()
    new = opened(agent, email=email)["id"]
    me = 2
    mine = opened(agent, email=email, responder_id=me)["id"]
    done = opened(agent, email=email, responder_id=me, status=4)["id"]
    theirs = opened(agent, email=email, responder_id=1)["id"]
    gone = opened(agent, email=email)["id"]
    assert agent.delete(f"{TICKETS}/{gone}").status_code == 204
    assert listed(agent, email=email) == [theirs, done, mine, new]
    assert listed(agent, email=email, filter="new_and_my_open") == [mine, new]
    assert listed(api, email=email, filter="new_and_my_open") == [theirs, new]
    assert listed(agent, email=email, filter="deleted") == [gone]
    assert listed(agent, email=email, filter="spam") == []
    assert listed(agent, email=email, filter="watching") == []
    assert listed(agent, filter="new_and_my_open", order_by="due_by", order_type="asc")


def test_a_list_since_a_change_is_exact(api: httpx.Client) -> None:
    email = somebody()
    first, second = opened(api, email=email), opened(api, email=email)
    assert listed(api, email=email, updated_since="2999-01-01") == []
    both = [second["id"], first["id"]]
    assert listed(api, email=email, _updated_since=first["created_at"]) == both
    assert listed(api, email=email, updated_since=first["created_at"], order_by="updated_at") == both


# Changing.


def test_what_is_not_sent_stays(api: httpx.Client) -> None:
    ticket = opened(api, tags=["one", "two"], type="Question", description="<p>Old</p>", cc_emails=["a@b.c"])
    after = changed(api, ticket, priority=2, tags=["three"], description="<p>New<script>x</script></p>")
    expected = ticket | {
        "priority": 2,
        "tags": ["three"],
        "description": "<p>New</p>",
        "description_text": "New",
        **{name: after[name] for name in ("updated_at", "due_by", "fr_due_by")},
    }
    assert after == expected
    created = parse_moment(ticket["created_at"])
    assert parse_moment(after["due_by"]) - created == 72 * HOUR
    taken = changed(api, after, type=None, tags=[], cc_emails=None)
    assert (taken["type"], taken["tags"], taken["cc_emails"]) == (None, [], [])


def test_a_due_time_that_was_set_stays(api: httpx.Client) -> None:
    ticket = opened(api, due_by="2999-01-01")
    after = changed(api, ticket, priority=4)
    assert after["due_by"] == "2999-01-01T00:00:00Z"
    assert parse_moment(after["fr_due_by"]) - parse_moment(ticket["created_at"]) == HOUR
    assert (
        faults(api.put(f"{TICKETS}/{ticket['id']}", json={"due_by": "1970-01-01"}))["due_by"]
        == "invalid_value"
    )


def test_stats_follow_the_status(api: httpx.Client) -> None:
    ticket = opened(api)
    stats = read(api, ticket)["stats"]
    assert stats == dict.fromkeys(STATS) | {"status_updated_at": ticket["created_at"]}
    changed(api, ticket, status=3)
    assert read(api, ticket)["stats"]["pending_since"]
    changed(api, ticket, status=4)
    stats = read(api, ticket)["stats"]
    assert (stats["pending_since"], stats["closed_at"], bool(stats["resolved_at"])) == (None, None, True)
    resolved = stats["resolved_at"]
    changed(api, ticket, status=5)
    stats = read(api, ticket)["stats"]
    assert (stats["resolved_at"], bool(stats["closed_at"]), stats["reopened_at"]) == (resolved, True, None)
    changed(api, ticket, status=2)
    stats = read(api, ticket)["stats"]
    assert (stats["resolved_at"], stats["closed_at"], bool(stats["reopened_at"])) == (None, None, True)


def test_stats_follow_the_conversation(api: httpx.Client) -> None:
    ticket = opened(api)
    api.post(f"{TICKETS}/{ticket['id']}/notes", json={"body": "For us"})
    assert read(api, ticket)["stats"]["first_responded_at"] is None
    api.post(f"{TICKETS}/{ticket['id']}/reply", json={"body": "For you"})
    stats = read(api, ticket)["stats"]
    assert stats["first_responded_at"] == stats["agent_responded_at"]
    changed(api, ticket, status=4)
    note = {"body": "No!", "incoming": True, "private": False}
    api.post(f"{TICKETS}/{ticket['id']}/notes", json=note)
    after = read(api, ticket)
    assert after["status"] == 2
    assert after["stats"]["requester_responded_at"]
    assert after["stats"]["reopened_at"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status": None}, {"status": "invalid_value"}),
        ({"status": "4"}, {"status": "datatype_mismatch"}),
        ({"id": 1, "created_at": "2001-01-01"}, {"id": "readonly_field", "created_at": "readonly_field"}),
        ({"colour": 1}, {"colour": "invalid_field"}),
        ({"responder_id": 2**62}, {"responder_id": "invalid_value"}),
        ({"requester_id": 2**62}, {"requester_id": "invalid_value"}),
    ],
)
def test_a_wrong_change_changes_nothing(
    api: httpx.Client, body: dict[str, Any], expected: dict[str, str]
) -> None:
    ticket = opened(api)
    assert faults(api.put(f"{TICKETS}/{ticket['id']}", json=body | {"subject": "Changed"})) == expected
    assert read(api, ticket, "stats")["subject"] == ticket["subject"]


def test_a_requester_can_be_changed(api: httpx.Client) -> None:
    ticket, email = opened(api), somebody()
    after = changed(api, ticket, email=email, name="Joey")
    assert after["requester_id"] != ticket["requester_id"]
    assert listed(api, email=email) == [ticket["id"]]
    assert [each["name"] for each in events(api, ticket, 2)] == [
        "Ticket opened",
        "Ticket given to another contact",
    ]
    assert [each["name"] for each in events(api, after, 1)] == ["Ticket taken over"]


def test_concurrent_changes_are_all_kept(api: httpx.Client) -> None:
    ticket = opened(api)
    changes: list[dict[str, Any]] = [{"subject": "S"}, {"type": "T"}, {"priority": 3}, {"tags": ["x"]}]
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda each: changed(api, ticket, **each), changes))) == 4
    after = read(api, ticket)
    assert (after["subject"], after["type"], after["priority"], after["tags"]) == ("S", "T", 3, ["x"])


# Deleting.


def test_a_deleted_ticket_stays_readable_and_comes_back(api: httpx.Client) -> None:
    ticket = opened(api)
    path = f"{TICKETS}/{ticket['id']}"
    for _ in range(2):
        assert api.delete(path, headers={"Content-Type": "application/json"}).status_code == 204
    assert read(api, ticket)["deleted"] is True
    for answer in (
        api.put(path, json={"priority": 2}),
        api.put(path, json={"priority": "wrong"}),
        api.post(f"{path}/reply", json={"body": "x"}),
        api.post(f"{path}/notes", json={"body": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert api.put(f"{path}/restore", headers={"Content-Type": "application/json"}).status_code == 204
    assert read(api, ticket)["deleted"] is False
    names = [each["name"] for each in events(api, ticket, 3)]
    assert names == ["Ticket opened", "Ticket deleted", "Ticket restored"]


# The timeline.


def test_what_happens_is_told_on_the_timeline(api: httpx.Client) -> None:
    ticket = opened(api, name="Chandler", description="<p>Could it <i>be</i> later?</p>", priority=4)
    path = f"{TICKETS}/{ticket['id']}"
    changed(api, ticket, responder_id=1)
    api.post(f"{path}/notes", json={"body": "SECRET words"})
    api.post(f"{path}/notes", json={"body": "Public words", "private": False})
    api.post(f"{path}/reply", json={"body": "It comes tomorrow."})
    changed(api, ticket, status=3)
    changed(api, ticket, status=4, responder_id=2)
    changed(api, ticket, status=2, subject="Quiet changes are not told")
    told = events(api, ticket, 9)
    assert [each["name"] for each in told] == [
        "Ticket opened", "Ticket assigned", "Note added", "Note added", "Agent replied",
        "Ticket status changed", "Ticket assigned", "Ticket resolved", "Ticket reopened",
    ]  # fmt: skip
    assert told[0]["actor"] == {"type": "contact", "id": str(ticket["requester_id"]), "name": "Chandler"}
    assert told[0]["object"] == {
        "type": "ticket", "id": str(ticket["id"]), "link": None, "name": "Where is it?"
    }  # fmt: skip
    assert told[0]["context"] == {"Status": "Open", "Priority": "Urgent", "Channel": "Portal"}
    assert (told[0]["description"], told[0]["is_actor"]) == ("Could it be later?", True)
    assert told[1]["context"] == {"Agent": "nobody → Admin"}
    assert (told[1]["actor"]["type"], told[1]["actor"]["name"], told[1]["is_actor"]) == (
        "agent",
        "Admin",
        False,
    )
    assert [each["description"] for each in told[2:5]] == [None, "Public words", "It comes tomorrow."]
    assert "SECRET" not in json.dumps(told)
    assert told[5]["context"] == {"Status": "Open → Pending"}
    assert told[6]["context"] == {"Agent": "Admin → Agent"}
    assert told[7]["context"] == {"Status": "Pending → Resolved"}
    assert told[8]["context"] == {"Status": "Resolved → Open"}


def test_an_outbound_email_is_the_agents_doing(api: httpx.Client) -> None:
    (told,) = events(api, opened(api, source=10), 1)
    assert (told["actor"]["name"], told["is_actor"]) == ("Admin", False)


def test_changes_are_audited(api: httpx.Client) -> None:
    ticket = opened(api)
    changed(api, ticket, priority=2)
    api.delete(f"{TICKETS}/{ticket['id']}")
    actions = [each["action"] for each in api.get("/api/v2/audit-log", params={"per_page": 3}).json()]
    assert actions == ["ticket.delete", "ticket.update", "ticket.create"]


# Merging.


def merge(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.put(f"{TICKETS}/merge", json=body)


def test_tickets_are_merged(api: httpx.Client) -> None:
    primary = opened(api, cc_emails=["old@example.com"])
    other = opened(
        api, subject="Twice & more", description="<p>The same again</p>", cc_emails=["new@example.com"]
    )
    api.post(f"{TICKETS}/{other['id']}/reply", json={"body": "We look into it"})
    answer = merge(api, primary_id=primary["id"], ticket_ids=[other["id"]], convert_recepients_to_cc=True)
    assert (answer.status_code, answer.content) == (204, b"")
    said = api.get(f"{TICKETS}/{primary['id']}/conversations").json()
    assert [each["private"] for each in said] == [False, True]
    assert said[0]["body"] == "We look into it"
    assert "Twice & more" in said[1]["body_text"]
    assert "The same again" in said[1]["body_text"]
    (left,) = api.get(f"{TICKETS}/{other['id']}/conversations").json()
    assert f"#{primary['id']}" in left["body"]
    assert read(api, other)["status"] == 5
    requester = api.get(f"/api/v2/contacts/{other['requester_id']}").json()["email"]
    assert read(api, primary)["cc_emails"] == ["old@example.com", requester, "new@example.com"]
    assert events(api, other, 3)[-1]["context"] == {
        "Merged into": f"#{primary['id']}",
        "Status": "Open → Closed",
    }
    assert events(api, primary, 2)[-1]["context"] == {"Merged in": f"#{other['id']}"}


def test_own_notes_about_a_merge(api: httpx.Client) -> None:
    primary, other = opened(api), opened(api)
    answer = merge(
        api,
        primary_id=primary["id"],
        ticket_ids=[other["id"]],
        note_in_primary={"body": "It is the same", "private": False},
        note_in_secondary={"body": "Go there"},
    )
    assert answer.status_code == 204
    (note,) = api.get(f"{TICKETS}/{primary['id']}/conversations").json()
    assert (note["body"], note["private"]) == ("It is the same", False)
    (note,) = api.get(f"{TICKETS}/{other['id']}/conversations").json()
    assert (note["body"], note["private"]) == ("Go there", True)


def test_a_merge_that_cannot_be_changes_nothing(api: httpx.Client) -> None:
    primary, other, gone, away = opened(api), opened(api), opened(api), opened(api)
    api.delete(f"{TICKETS}/{gone['id']}")
    merge(api, primary_id=other["id"], ticket_ids=[away["id"]])
    ids = [primary["id"], other["id"], gone["id"], away["id"], 2**62]
    answer = merge(api, primary_id=primary["id"], ticket_ids=ids)
    assert faults(answer) == {f"ticket_ids.{index}": "invalid_value" for index in (0, 2, 3, 4)}
    assert read(api, other)["status"] == 2
    for body, expected in (
        ({"primary_id": 2**62, "ticket_ids": [other["id"]]}, {"primary_id": "invalid_value"}),
        ({"primary_id": gone["id"], "ticket_ids": [other["id"]]}, {"primary_id": "invalid_value"}),
        ({}, {"primary_id": "missing_field", "ticket_ids": "missing_field"}),
        ({"primary_id": primary["id"], "ticket_ids": []}, {"ticket_ids": "invalid_value"}),
        ({"primary_id": "1", "ticket_ids": 2}, {"primary_id": "datatype_mismatch", "ticket_ids": "datatype_mismatch"}),
        ({"primary_id": primary["id"], "ticket_ids": [other["id"]], "note_in_primary": {}},
         {"note_in_primary.body": "missing_field"}),
    ):  # fmt: skip
        assert faults(merge(api, **body)) == expected


def test_merges_in_a_circle_leave_one(api: httpx.Client) -> None:
    tickets = [opened(api)["id"] for _ in range(3)]
    circle = [(tickets[index], tickets[(index + 1) % 3]) for index in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda pair: merge(api, primary_id=pair[0], ticket_ids=[pair[1]]), circle))
    assert min(answer.status_code for answer in answers) == 204
    open_ones = [each for each in tickets if api.get(f"{TICKETS}/{each}").json()["status"] == 2]
    assert len(open_ones) == 3 - [answer.status_code for answer in answers].count(204)
    assert open_ones


# Merged contacts.


def test_tickets_follow_a_merge_of_contacts_and_come_back(api: httpx.Client) -> None:
    kept, away = opened(api), opened(api)
    email = api.get(f"/api/v2/contacts/{away['requester_id']}").json()["email"]
    primary = kept["requester_id"]
    body = {"primary_contact_id": primary, "secondary_contact_ids": [away["requester_id"]]}
    assert api.post("/api/v2/contacts/merge", json=body).status_code == 204
    later = opened(api, email=email)
    assert later["requester_id"] == primary
    mine = [later["id"], away["id"], kept["id"]]
    assert listed(api, requester_id=primary) == listed(api, email=email) == mine
    assert listed(api, requester_id=away["requester_id"]) == mine
    assert read(api, away, "requester")["requester"]["id"] == primary
    changed(api, away, status=4)
    events(api, {"id": later["id"], "requester_id": primary}, 1)
    assert {each["object"]["id"] for each in events_of(api, primary)} == {str(each) for each in mine}
    (merge_done,) = api.get(f"/api/v2/contacts/{primary}/merges").json()
    assert api.post(f"/api/v2/contacts/merges/{merge_done['id']}/undo").status_code == 204
    assert listed(api, requester_id=primary) == [kept["id"]]
    assert listed(api, email=email) == [later["id"], away["id"]]
    assert read(api, later)["requester_id"] == away["requester_id"]
    assert {each["object"]["id"] for each in events_of(api, primary)} == {str(kept["id"])}
    assert "Ticket resolved" in [each["name"] for each in events(api, away, 2)]


def events_of(client: httpx.Client, contact_id: int) -> list[dict[str, Any]]:
    params: dict[str, Any] = {"source": "backstory", "per_page": 100}
    return list(client.get(f"/api/v2/contacts/{contact_id}/activities", params=params).json())
