"""Contacts in their first form: POST and GET, with the exact key set of contract 5."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, unique
from tests.http.wire import ACTIVITIES
from tests.support import publish_request

pytestmark = pytest.mark.every_engine(cluster=False)  # of the records alone

KEYS = (
    "id active name first_name last_name email phone mobile twitter_id facebook_id unique_external_id address"
    " description job_title language time_zone company_id view_all_tickets other_companies other_emails"
    " social_handler contact_type tags custom_fields avatar csat_rating preferred_source created_at updated_at"
).split()
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def create(api: httpx.Client, **fields: Any) -> httpx.Response:
    return api.post("/api/v2/contacts", json=fields)


def errors(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.json()["description"] == "Validation failed"
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


def test_a_contact_has_exactly_the_documented_keys(api: httpx.Client) -> None:
    fields = {
        "name": "Rachel Karen Green",
        "email": email(),
        "phone": "+44 20 7946 0999",
        "mobile": "0171 555",
        "twitter_id": unique("tw"),
        "unique_external_id": unique("ext"),
        "address": "90 Bedford Street",
        "description": "Buyer",
        "job_title": "Fashion",
        "language": "fr",
        "time_zone": "Paris",
    }
    created = create(api, **fields)
    assert created.status_code == 201
    contact = created.json()
    assert list(contact) == KEYS
    assert {name: contact[name] for name in fields} == fields
    assert (contact["first_name"], contact["last_name"]) == ("Rachel", "Karen Green")
    assert MOMENT.fullmatch(contact["created_at"])
    assert MOMENT.fullmatch(contact["updated_at"])
    assert created.headers["Location"] == f"{api.base_url}/api/v2/contacts/{contact['id']}".replace(
        "//api", "/api"
    )
    assert api.get(created.headers["Location"]).json() == contact


def test_blank_fields_are_null_and_lists_empty(api: httpx.Client) -> None:
    contact = create(api, name=" A ", email=email(), phone="", address=None, job_title=" ").json()
    assert list(contact) == KEYS
    assert contact["name"] == "A"
    assert contact["language"] == "en"
    for name in (
        "phone",
        "mobile",
        "address",
        "job_title",
        "last_name",
        "company_id",
        "avatar",
        "csat_rating",
    ):
        assert contact[name] is None, name
    assert contact["tags"] == contact["other_emails"] == contact["other_companies"] == []
    assert set(contact["custom_fields"].values()) <= {None}, "other tests have made fields on this server"


def test_a_contact_that_a_publication_made_has_the_same_keys(api: httpx.Client) -> None:
    contact_id = api.post(ACTIVITIES, json=publish_request(contact={"email": email()})).json()["contact_id"]
    assert list(api.get(f"/api/v2/contacts/{contact_id}").json()) == KEYS


@pytest.mark.parametrize("field", ["email", "twitter_id", "unique_external_id"])
def test_unique_values_are_refused_with_their_holder(api: httpx.Client, field: str) -> None:
    value = email() if field == "email" else unique()
    holder = create(api, name="A", **{field: value}).json()["id"]
    again = create(api, name="B", **{field: value.upper() if field == "email" else value})
    assert errors(again, 409) == {field: "duplicate_value"}
    assert again.json()["errors"][0]["additional_info"] == {"user_id": holder}


def test_a_publications_identifiers_are_taken_too(api: httpx.Client) -> None:
    mail, other = email(), email()
    contact_id = api.post(ACTIVITIES, json=publish_request(contact={"email": mail})).json()["contact_id"]
    api.post(ACTIVITIES, json=publish_request(contact={"id": contact_id, "email": other}))
    for taken in (mail, other):
        refused = create(api, name="A", email=taken)
        assert errors(refused, 409) == {"email": "duplicate_value"}
        assert refused.json()["errors"][0]["additional_info"] == {"user_id": contact_id}


def test_a_contact_takes_the_activities_of_its_identifiers(api: httpx.Client) -> None:
    external = unique()
    contact_id = create(api, name="A", unique_external_id=external).json()["id"]
    published = api.post(ACTIVITIES, json=publish_request(contact={"unique_external_id": external})).json()
    assert (published["contact_id"], published["matched_by"]) == (contact_id, "unique_external_id")


def test_a_number_may_be_shared(api: httpx.Client) -> None:
    phone = "+44 20 7946 0111"
    assert create(api, name="A", phone=phone).json()["id"] != create(api, name="B", phone=phone).json()["id"]


def test_one_of_sixteen_racers_gets_the_email(api: httpx.Client) -> None:
    mail = email()
    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(lambda n: create(api, name=f"N{n}", email=mail).status_code, range(16)))
    assert statuses == [201] + [409] * 15


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"name": "missing_field", "email": "missing_field"}),
        ({"name": "A"}, {"email": "missing_field"}),
        ({"name": " ", "email": "a@example.com"}, {"name": "invalid_value"}),
        ({"name": 7, "email": 8}, {"name": "datatype_mismatch", "email": "datatype_mismatch"}),
        ({"name": "A", "email": "nobody"}, {"email": "invalid_value"}),
        ({"name": "A", "phone": "none"}, {"phone": "invalid_value"}),
        ({"name": "A" * 256, "email": "a@example.com"}, {"name": "invalid_value"}),
        ({"name": "A", "email": "a@example.com", "colour": 1}, {"colour": "invalid_field"}),
        ({"name": "A\0", "email": "a@example.com"}, {"name": "invalid_value"}),
    ],
)
def test_contacts_at_fault(api: httpx.Client, fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert errors(create(api, **fields), 400) == expected
