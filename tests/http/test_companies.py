"""Companies, and who belongs to them (contract 9)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.test_contact_changes import changed, listed, made, whose
from tests.http.test_contacts import MOMENT, errors
from tests.http.test_publish import unique
from tests.support import Installation

COMPANIES = "/api/v2/companies"
KEYS = (
    "id name description note domains health_score account_tier renewal_date industry custom_fields"
    " created_at updated_at"
).split()


def company(api: httpx.Client, **fields: Any) -> Any:
    answer = api.post(COMPANIES, json={"name": unique("Company")} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def domain() -> str:
    return f"{unique('d')}.example.com"


def test_a_company_has_exactly_the_documented_keys(api: httpx.Client) -> None:
    fields = {
        "name": unique("Central Perk"),
        "description": "Coffee",
        "note": "Big cups",
        "domains": [domain()],
        "health_score": "Happy",
        "account_tier": "Premium",
        "industry": "Food",
    }
    answer = api.post(COMPANIES, json=fields | {"renewal_date": "2027-01-31"})
    created = answer.json()
    assert (answer.status_code, list(created)) == (201, KEYS)
    assert {name: created[name] for name in fields} == fields
    assert created["renewal_date"] == "2027-01-31T00:00:00Z"
    assert MOMENT.fullmatch(created["created_at"])
    assert api.get(answer.headers["Location"]).json() == created


def test_what_is_sent_is_changed_and_null_takes_away(api: httpx.Client) -> None:
    created = company(api, note="Big cups", domains=[domain()])
    answer = api.put(f"{COMPANIES}/{created['id']}", json={"note": None, "industry": "Food"})
    assert answer.status_code == 200
    after = answer.json()
    assert (after["note"], after["industry"], after["domains"]) == (None, "Food", created["domains"])
    assert api.get(f"{COMPANIES}/{created['id']}").json() == after
    assert api.put(f"{COMPANIES}/{created['id']}", json={"domains": None}).json()["domains"] == []


def test_names_and_domains_are_unique(api: httpx.Client) -> None:
    first = company(api, domains=[domain()])
    second = company(api, name=f"{first['name']}!")
    refused = api.post(COMPANIES, json={"name": first["name"].upper()})
    assert errors(refused, 409) == {"name": "duplicate_value"}
    refused = api.post(COMPANIES, json={"name": unique(), "domains": [first["domains"][0].upper()]})
    assert errors(refused, 409) == {"domains": "duplicate_value"}
    path = f"{COMPANIES}/{second['id']}"
    assert errors(api.put(path, json={"name": first["name"]}), 409) == {"name": "duplicate_value"}
    assert errors(api.put(path, json={"domains": first["domains"]}), 409) == {"domains": "duplicate_value"}
    assert api.put(path, json={"name": second["name"]}).status_code == 200


def test_of_racing_companies_with_one_name_one_is_made(api: httpx.Client) -> None:
    name = unique()
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda _: api.post(COMPANIES, json={"name": name}).status_code, range(8)))
    assert statuses == [201] + [409] * 7


def test_companies_are_listed_by_name_and_paged(server: Installation) -> None:
    with server.client() as api:
        for name in ("zeta", "Alpha", "beta"):
            company(api, name=name)
        first = api.get(COMPANIES, params={"per_page": 2})
        rest = api.get(first.links["next"]["url"])
        assert [each["name"] for each in first.json() + rest.json()] == ["Alpha", "beta", "zeta"]
        assert "next" not in rest.links
        assert api.get(COMPANIES, params={"updated_since": "2999-01-01"}).json() == []
        assert len(api.get(COMPANIES, params={"_updated_since": "2020-01-01"}).json()) == 3


def test_names_are_completed(api: httpx.Client) -> None:
    word = unique("zc").replace("-", "")
    created = company(api, name=f"Central {word}Perk")
    expected = {"companies": [{"id": created["id"], "name": created["name"]}]}
    assert api.get(f"{COMPANIES}/autocomplete", params={"name": word.upper()}).json() == expected
    assert api.get(f"{COMPANIES}/autocomplete", params={"name": f"x{word}"}).json() == {"companies": []}
    assert errors(api.get(f"{COMPANIES}/autocomplete"), 400) == {"name": "missing_field"}


def test_an_email_finds_its_company(api: httpx.Client) -> None:
    at = domain()
    early = made(api, email=f"early@{at}")
    published_early = whose(api, email=f"published-early@{at}")
    owner = company(api, domains=[at.upper()])["id"]
    late = made(api, email=f"late@{at}")
    published = whose(api, email=f"Published@{at.upper()}")
    members = {early["id"], published_early, late["id"], published}
    assert {item["id"] for item in listed(api, company_id=owner)} == members
    assert late["company_id"] == owner
    other = company(api)["id"]
    assert made(api, email=f"other@{at}", company_id=other)["company_id"] == other
    moved = made(api)
    assert changed(api, moved["id"], email=f"moved@{at}")["company_id"] == owner
    assert changed(api, early["id"], company_id=None)["company_id"] is None


def test_contacts_and_other_companies_stay_when_a_company_goes(api: httpx.Client) -> None:
    gone, kept = company(api), company(api)
    contact = made(
        api,
        company_id=gone["id"],
        other_companies=[{"company_id": gone["id"], "view_all_tickets": True}, {"company_id": kept["id"]}],
    )
    assert contact["other_companies"] == [
        {"company_id": gone["id"], "view_all_tickets": True},
        {"company_id": kept["id"], "view_all_tickets": False},
    ]
    assert api.delete(f"{COMPANIES}/{gone['id']}").status_code == 204
    after = api.get(f"/api/v2/contacts/{contact['id']}").json()
    assert after["company_id"] is None
    assert after["other_companies"] == [{"company_id": kept["id"], "view_all_tickets": False}]
    assert api.get(f"{COMPANIES}/{gone['id']}").status_code == 404
    assert api.delete(f"{COMPANIES}/{gone['id']}").status_code == 404
    assert company(api, name=gone["name"])["id"] > gone["id"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"name": "missing_field"}),
        ({"name": " "}, {"name": "invalid_value"}),
        ({"name": 7, "note": 8}, {"name": "datatype_mismatch", "note": "datatype_mismatch"}),
        ({"name": "A", "domains": ["no domain"]}, {"domains.0": "invalid_value"}),
        ({"name": "A", "domains": "example.com"}, {"domains": "datatype_mismatch"}),
        ({"name": "A", "renewal_date": "soon"}, {"renewal_date": "invalid_value"}),
        ({"name": "A", "colour": 1}, {"colour": "invalid_field"}),
        ({"name": "A", "id": 1}, {"id": "readonly_field"}),
    ],
)
def test_companies_at_fault(api: httpx.Client, fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert errors(api.post(COMPANIES, json=fields), 400) == expected


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("number", ["999999999", "0", "abc", str(2**63)])
def test_no_company_has_these_numbers(api: httpx.Client, method: str, number: str) -> None:
    body = {"json": {"note": "A"}} if method == "PUT" else {}
    answer = api.request(method, f"{COMPANIES}/{number}", **body)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
