"""The support form: a customer without an account opens a ticket; programs and floods do not."""

from __future__ import annotations

import itertools
import re

import httpx
import pytest

from backstory.helpdesk.allowance import MAX_REMEMBERED, Allowance
from backstory.ui.support import TICKETS
from tests.support import Installation
from tests.ui.pages import Visitor

GOOD = {
    "name": "John Miller",
    "email": "john.miller@example.com",
    "subject": "My payment failed",
    "message": "Twice.\n\n<b>Why?</b>",
}
_addresses = (f"192.0.2.{number}" for number in itertools.count(1))


@pytest.fixture
def customer(shared_server: Installation):
    """Somebody who writes from an address of their own."""
    with Visitor(shared_server, **{"X-Forwarded-For": next(_addresses)}) as visitor:
        yield visitor


def send(customer: Visitor, **fields: str) -> httpx.Response:
    return customer.submit("/support/new", page="/support/new", **GOOD | fields)


def test_a_customer_opens_a_ticket(customer: Visitor, api: httpx.Client) -> None:
    answer = send(customer, order="84637930")
    found = re.fullmatch(r"/support/thanks\?ticket=(\d+)", answer.headers["Location"])
    assert found is not None
    assert f"ticket #{found[1]}" in customer.get(answer.headers["Location"]).text
    ticket = api.get(f"/api/v2/tickets/{found[1]}", params={"include": "requester"}).json()
    assert ticket["source"] == 2
    assert ticket["status"] == 2
    assert ticket["subject"] == "My payment failed"
    assert ticket["description_text"] == "Twice.\n\n<b>Why?</b>\n\nOrder number: 84637930"
    assert ticket["requester"]["email"] == "john.miller@example.com"
    assert ticket["requester"]["name"] == "John Miller"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": " "}, "name"),
        ({"email": ""}, "email"),
        ({"email": "no email"}, "email"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 300}, "subject"),
        ({"message": " \n"}, "message"),
        ({"message": "a\0b"}, "message"),
        ({"order": "x" * 200}, "order"),
    ],
)
def test_a_faulty_form_comes_back_with_what_was_written(
    customer: Visitor, fields: dict[str, str], field: str
) -> None:
    answer = send(customer, **fields)
    assert answer.status_code == 400
    assert re.findall(r'id="w-(\w+)"', answer.text) == [field]
    kept = "John Miller" if field != "name" else "john.miller@example.com"
    assert f'value="{kept}"' in answer.text


def test_everything_that_is_missing_is_told_at_once(customer: Visitor) -> None:
    answer = customer.submit("/support/new", page="/support/new")
    assert re.findall(r'id="w-(\w+)"', answer.text) == ["name", "email", "subject", "message"]


def test_programs_fill_in_what_people_do_not_see(customer: Visitor, api: httpx.Client) -> None:
    answer = send(customer, email="robot@example.com", website="https://spam.example")
    assert answer.headers["Location"] == "/support/thanks"
    assert api.get("/api/v2/contacts", params={"email": "robot@example.com"}).json() == []


def test_a_form_that_was_not_ours_opens_nothing(customer: Visitor) -> None:
    assert customer.post("/support/new", data=GOOD).status_code == 403
    customer.get("/support/new")
    assert customer.post("/support/new", data=GOOD | {"csrf": "x"}).status_code == 403


def test_a_flood_from_one_address_waits(customer: Visitor, shared_server: Installation) -> None:
    for number in range(TICKETS):
        assert send(customer, subject=f"Number {number}").status_code == 303
    answer = send(customer, message="What I wrote")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert "What I wrote" in answer.text
    with Visitor(shared_server, **{"X-Forwarded-For": next(_addresses)}) as other:
        assert send(other).status_code == 303


def test_it_can_be_switched_off(installation: Installation) -> None:
    installation.start(BACKSTORY_SUPPORT_FORM="off")
    with Visitor(installation) as visitor:
        assert visitor.get("/support/new").status_code == 404
        assert visitor.get("/support/thanks").status_code == 404
        assert visitor.submit("/support/new", **GOOD).status_code == 404


def test_the_page_shows_nothing_of_the_workspace(customer: Visitor) -> None:
    for path in ("/support/new", "/support/thanks?ticket=1", "/support/thanks?ticket=<script>"):
        page = customer.get(path).text
        assert 'href="/tickets"' not in page
        assert "<script>" not in page


def test_an_allowance_forgets() -> None:
    allowance = Allowance(2, 600)
    assert [allowance.take("a") for _ in range(2)] == [0, 0]
    assert 599 <= allowance.take("a") <= 600
    assert allowance.take("b") == 0
    for number in range(MAX_REMEMBERED):
        allowance.take(f"other {number}")
    assert allowance.take("a") == 0
    assert Allowance(1, 0).take("a") == 0
