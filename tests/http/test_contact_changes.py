"""Contacts listed, completed, changed, deleted, restored (contract 5)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_contacts import KEYS, create, errors
from tests.http.test_publish import email, unique
from tests.http.wire import ACTIVITIES, start_tuned
from tests.support import Installation, publish_request

pytestmark = pytest.mark.every_engine(cluster=False)  # of the records alone

CONTACTS = "/api/v2/contacts"
LISTED_KEYS = [name for name in KEYS if name not in ("avatar", "other_emails", "tags")]


def made(api: httpx.Client, name: str = "Rachel Green", **fields: Any) -> Any:
    """A contact that was created, with an email where none was given."""
    answer = create(api, name=name, **({"email": email()} | fields))
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(api: httpx.Client, contact_id: int, **fields: Any) -> httpx.Response:
    return api.put(f"{CONTACTS}/{contact_id}", json=fields)


def changed(api: httpx.Client, contact_id: int, **fields: Any) -> Any:
    answer = change(api, contact_id, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(api: httpx.Client, **params: Any) -> list[Any]:
    answer = api.get(CONTACTS, params=params)
    assert answer.status_code == 200, answer.text
    items: list[Any] = answer.json()
    return items


def ids(items: list[Any]) -> list[int]:
    return [item["id"] for item in items]


def whose(api: httpx.Client, **contact: Any) -> int:
    """The contact that an activity with these identifiers goes to."""
    published = api.post(ACTIVITIES, json=publish_request(contact=contact)).json()
    return int(published["contact_id"])


# Lists.


def test_a_list_has_the_keys_of_the_contract(api: httpx.Client) -> None:
    contact = made(api, other_emails=[email()], tags=["vip"])
    (item,) = listed(api, email=contact["email"])
    assert list(item) == LISTED_KEYS
    assert item == {name: contact[name] for name in LISTED_KEYS}


def test_contacts_are_found_by_each_identifier(api: httpx.Client) -> None:
    number = "+44 7700 9" + unique()[-8:].translate(str.maketrans("abcdef", "123456"))[:5]
    fields: dict[str, Any] = {"email": email(), "other_emails": [email()], "unique_external_id": unique()}
    contact = made(api, mobile=number, **fields)
    bare = number.replace(" ", "")
    for params in (
        {"email": fields["email"].upper()},
        {"email": fields["other_emails"][0]},
        {"unique_external_id": fields["unique_external_id"]},
        {"mobile": bare},
        {"mobile": number, "email": fields["email"]},
    ):
        assert ids(listed(api, **params)) == [contact["id"]], params
    unescaped = api.get(f"{CONTACTS}?mobile={bare}")  # the + arrives as a space
    assert ids(unescaped.json()) == [contact["id"]]
    for nobody in ({"phone": bare}, {"email": email()}, {"mobile": "no digit"}):
        assert listed(api, **nobody) == []
    assert listed(api, email=fields["email"], unique_external_id="somebody else's") == []


def test_a_list_is_in_the_order_of_names_and_paged(server: Installation) -> None:
    with server.client() as api:
        names = ["Ärmel", "apfel", "Zoe", "Birne", "ADAM", "birne"]
        for name in names:
            made(api, name)
        expected = ["ADAM", "apfel", "Ärmel", "Birne", "birne", "Zoe"]
        seen = []
        answer = api.get(CONTACTS, params={"per_page": 4})
        while True:
            seen += [item["name"] for item in answer.json()]
            if "next" not in answer.links:
                break
            answer = api.get(answer.links["next"]["url"])
        assert seen == expected
        assert listed(api, page=3, per_page=4) == []


def test_a_long_list_goes_on_where_the_page_before_ended(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, helpdesk__contacts__FAR=2)
    with server.client() as api:
        names = [f"Name {number}" for number in range(9)]
        for name in names:
            made(api, name)
        seen = []
        answer = api.get(CONTACTS, params={"per_page": 2})
        made(api, "Aaron")  # before all: whoever counts from the top would see somebody twice from here on
        while "next" in answer.links:
            seen += [item["name"] for item in answer.json()]
            answer = api.get(answer.links["next"]["url"])
        assert seen + [item["name"] for item in answer.json()] == names
        assert [item["name"] for item in listed(api, page=5, per_page=1)] == ["Name 3"]  # counted


def test_states_and_changes_narrow_a_list(api: httpx.Client) -> None:
    word = unique("Narrow").replace("-", "")
    kept, gone = made(api, f"{word} kept"), made(api, f"{word} gone")
    api.delete(f"{CONTACTS}/{gone['id']}")
    assert ids(listed(api, email=kept["email"], state="unverified")) == [kept["id"]]
    assert listed(api, email=kept["email"], state="verified") == []
    assert listed(api, email=gone["email"]) == []
    assert ids(listed(api, email=gone["email"], state="deleted")) == [gone["id"]]
    for name in ("updated_since", "_updated_since"):
        assert ids(listed(api, email=kept["email"], **{name: "2020-01-01T00:00:00Z"})) == [kept["id"]]
        assert listed(api, email=kept["email"], **{name: "2999-01-01"}) == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"state": "awake"}, "state"),
        ({"company_id": "x"}, "company_id"),
        ({"updated_since": "soon"}, "updated_since"),
        ({"page": "0"}, "page"),
        ({"page": "x"}, "page"),
        ({"per_page": "101"}, "per_page"),
        ({"email": " "}, "email"),
    ],
)
def test_lists_at_fault(api: httpx.Client, params: dict[str, str], field: str) -> None:
    assert errors(api.get(CONTACTS, params=params), 400) == {field: "invalid_value"}


def test_an_unknown_parameter_is_refused(api: httpx.Client) -> None:
    assert errors(api.get(CONTACTS, params={"colour": "red"}), 400) == {"colour": "invalid_field"}


def test_names_are_completed_from_the_start_of_any_word(api: httpx.Client) -> None:
    word = unique("zq").replace("-", "")
    one, other = made(api, f"Rachel {word.upper()}one"), made(api, f"{word}other Élise")
    published = whose(api, email=email(), name=f"Published {word}third")

    def completed(term: str) -> list[Any]:
        return list(api.get(f"{CONTACTS}/autocomplete", params={"term": term}).json())

    assert completed(f"{word}one") == [{"id": one["id"], "name": one["name"]}]
    assert {each["id"] for each in completed(word)} == {one["id"], other["id"], published}
    assert [each["id"] for each in completed(f"eli {word}")] == [other["id"]]
    assert completed(f"x{word}") == []
    changed(api, one["id"], name="Somebody else")
    assert {each["id"] for each in completed(word)} == {other["id"], published}
    api.delete(f"{CONTACTS}/{other['id']}")
    assert {each["id"] for each in completed(word)} == {published}


def test_completion_needs_a_term(api: httpx.Client) -> None:
    assert errors(api.get(f"{CONTACTS}/autocomplete"), 400) == {"term": "missing_field"}


# Changes.


def test_every_field_can_be_written_and_taken_away(api: httpx.Client) -> None:
    contact = made(api)
    fields: dict[str, Any] = {
        "name": "Monica Geller",
        "email": email(),
        "phone": "+44 20 7946 0001",
        "mobile": "+44 20 7946 0002",
        "twitter_id": unique(),
        "facebook_id": unique(),
        "unique_external_id": unique(),
        "other_emails": [email(), email()],
        "address": "90 Bedford Street",
        "description": "Chef",
        "job_title": "Head chef",
        "language": "fr",
        "time_zone": "Paris",
        "view_all_tickets": True,
        "tags": ["one", "two"],
    }
    after = changed(api, contact["id"], **fields)
    assert {name: after[name] for name in fields} == fields
    assert list(after) == KEYS
    assert api.get(f"{CONTACTS}/{contact['id']}").json() == after
    cleared = changed(api, contact["id"], **{name: None for name in fields if name not in ("name", "email")})
    assert (cleared["other_emails"], cleared["tags"], cleared["language"]) == ([], [], "en")
    for name in ("phone", "twitter_id", "unique_external_id", "address", "time_zone"):
        assert cleared[name] is None
    assert cleared["view_all_tickets"] is False


def test_lists_are_replaced(api: httpx.Client) -> None:
    contact = made(api, other_emails=[email(), email()], tags=["a", "b"])
    kept, new = contact["other_emails"][0], email()
    after = changed(api, contact["id"], other_emails=[kept, new], tags=["b", "c"])
    assert (set(after["other_emails"]), after["tags"]) == ({kept, new}, ["b", "c"])
    assert whose(api, email=kept) == whose(api, email=new) == contact["id"]
    assert whose(api, email=contact["other_emails"][1]) != contact["id"]


def test_another_email_changes_places_with_the_first(api: httpx.Client) -> None:
    first, other = email(), email()
    contact = made(api, email=first, other_emails=[other])
    after = changed(api, contact["id"], email=other.upper())
    assert (after["email"], after["other_emails"]) == (other.upper(), [first])
    replaced = changed(api, contact["id"], email=email())
    assert replaced["other_emails"] == [first]
    assert whose(api, email=other) != contact["id"]


def test_a_new_identifier_finds_the_contact_and_the_old_one_does_not(api: httpx.Client) -> None:
    before = {"twitter_id": unique(), "unique_external_id": unique(), "phone": "+44 20 7946 3001"}
    contact = made(api, **before)
    after = {"twitter_id": unique(), "unique_external_id": unique(), "phone": "020 7946 3002"}
    changed(api, contact["id"], **after)
    for name, value in after.items():
        assert whose(api, **{name: value}) == contact["id"], name
        assert whose(api, **{name: before[name]}) != contact["id"], name


@pytest.mark.parametrize(
    "field", ["email", "twitter_id", "unique_external_id", "facebook_id", "other_emails"]
)
def test_a_change_to_what_another_has_names_the_holder(api: httpx.Client, field: str) -> None:
    taken = email()
    holder = made(api, **({"email": taken} if field == "other_emails" else {field: taken}))
    mine = made(api)
    refused = change(api, mine["id"], **{field: [taken] if field == "other_emails" else taken})
    assert errors(refused, 409) == {field: "duplicate_value"}
    assert refused.json()["errors"][0]["additional_info"] == {"user_id": holder["id"]}
    assert api.get(f"{CONTACTS}/{mine['id']}").json() == mine


def test_of_racing_changes_to_one_email_one_wins(api: httpx.Client) -> None:
    contacts = [made(api)["id"] for _ in range(8)]
    wanted = email()
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(lambda each: change(api, each, email=wanted).status_code, contacts))
    assert statuses == [200] + [409] * 7
    assert len(listed(api, email=wanted)) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": None}, {"name": "invalid_value"}),
        ({"name": " "}, {"name": "invalid_value"}),
        ({"email": None}, {"email": "missing_field"}),
        ({"email": "nobody", "phone": 7}, {"email": "invalid_value", "phone": "datatype_mismatch"}),
        ({"other_emails": ["nobody"]}, {"other_emails.0": "invalid_value"}),
        ({"other_emails": email()}, {"other_emails": "datatype_mismatch"}),
        ({"tags": [1]}, {"tags.0": "datatype_mismatch"}),
        ({"company_id": "7"}, {"company_id": "datatype_mismatch"}),
        ({"company_id": 2**62}, {"company_id": "invalid_value"}),
        ({"company_id": 2**63}, {"company_id": "invalid_value"}),
        (
            {"other_companies": [{"company_id": 2**62}]},
            {"other_companies.0.company_id": "invalid_value"},
        ),
        ({"other_companies": [{}]}, {"other_companies.0.company_id": "missing_field"}),
        ({"view_all_tickets": "true"}, {"view_all_tickets": "datatype_mismatch"}),
        ({"custom_fields": {"cf_none": 1}}, {"custom_fields.cf_none": "invalid_field"}),
        ({"colour": "red"}, {"colour": "invalid_field"}),
        ({"id": 1, "created_at": "2024-01-01"}, {"id": "readonly_field", "created_at": "readonly_field"}),
    ],
)
def test_changes_at_fault(api: httpx.Client, fields: dict[str, Any], expected: dict[str, str]) -> None:
    contact = made(api)
    assert errors(change(api, contact["id"], **fields), 400) == expected
    assert api.get(f"{CONTACTS}/{contact['id']}").json() == contact


def test_in_a_form_numbers_and_booleans_are_texts(api: httpx.Client) -> None:
    fields = {"name": (None, "Form"), "email": (None, email()), "view_all_tickets": (None, "true")}
    files: list[Any] = [*fields.items(), ("tags[]", (None, "a")), ("tags[]", (None, "b"))]
    answer = api.post(CONTACTS, files=files)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["view_all_tickets"], answer.json()["tags"]) == (True, ["a", "b"])


# Deletion.


def test_a_deleted_contact_is_kept_and_restored(api: httpx.Client) -> None:
    contact = made(api)
    path = f"{CONTACTS}/{contact['id']}"
    assert api.delete(path).status_code == 204
    assert api.delete(path).status_code == 204
    deleted = api.get(path).json()
    assert deleted["deleted"] is True
    assert list(deleted) == [*KEYS, "deleted"]
    assert change(api, contact["id"], name="New").status_code == 405
    assert whose(api, email=contact["email"]) == contact["id"]
    refused = create(api, name="B", email=contact["email"])
    assert refused.json()["errors"][0]["additional_info"] == {"user_id": contact["id"]}
    assert api.put(f"{path}/restore", headers={"Content-Type": "application/json"}).status_code == 204
    assert "deleted" not in api.get(path).json()
    assert len(api.get(f"{path}/activities").json()) == 1
    assert ids(listed(api, email=contact["email"])) == [contact["id"]]


def test_a_blocked_contact_cannot_be_changed_and_is_restored(
    shared_server: Installation, api: httpx.Client
) -> None:
    contact = made(api)
    shared_server.sql(f"UPDATE contacts SET blocked_at = 1 WHERE id = {contact['id']}")
    assert listed(api, email=contact["email"]) == []
    assert ids(listed(api, email=contact["email"], state="blocked")) == [contact["id"]]
    assert change(api, contact["id"], name="New").status_code == 405
    assert api.put(f"{CONTACTS}/{contact['id']}/restore").status_code == 204
    assert change(api, contact["id"], name="New").status_code == 200


def test_an_agent_is_not_changed_as_a_contact(api: httpx.Client) -> None:
    assert listed(api, email="admin@example.com") == []
    assert change(api, 1, name="New").status_code == 405
    assert api.delete(f"{CONTACTS}/1").status_code == 405


def test_an_invitation_is_noted(api: httpx.Client) -> None:
    contact, nameless = made(api), whose(api, twitter_id=unique())
    assert api.put(f"{CONTACTS}/{contact['id']}/send_invite").status_code == 204
    entry = api.get("/api/v2/audit-log", params={"per_page": 1}).json()[0]
    assert (entry["action"], entry["target"]) == ("contact.invite", f"contact:{contact['id']}")
    refused = api.put(f"{CONTACTS}/{nameless}/send_invite")
    assert errors(refused, 409) == {"email": "inconsistent_state"}


@pytest.mark.parametrize("call", ["GET ", "PUT ", "DELETE ", "PUT /restore", "PUT /send_invite"])
@pytest.mark.parametrize("number", ["999999999", "0", "abc", str(2**63)])
def test_nobody_has_these_numbers(api: httpx.Client, call: str, number: str) -> None:
    method, _, rest = call.partition(" ")
    body = {"json": {"name": "A"}} if call == "PUT " else {}
    answer = api.request(method, f"{CONTACTS}/{number}{rest}", **body)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_mandatory_custom_field_is_never_blank(server: Installation) -> None:
    with server.client() as api:
        field = {"label": "Loyalty", "type": "custom_text", "required_for_agents": True}
        assert api.post("/api/v2/contact_fields", json=field).status_code == 201
        blank = {"custom_fields": {"cf_loyalty": " "}}
        new = {"name": "Rachel", "email": email()}
        at_fault = {"custom_fields.cf_loyalty": "invalid_value"}
        assert errors(api.post(CONTACTS, json=new | blank), 400) == at_fault
        form = {**new, "custom_fields[cf_loyalty]": ""}
        parts = {name: (None, value) for name, value in form.items()}
        assert errors(api.post(CONTACTS, files=parts), 400) == at_fault
        contact = made(api, custom_fields={"cf_loyalty": "gold"})
        assert errors(change(api, contact["id"], **blank), 400) == at_fault
        assert changed(api, contact["id"], job_title="Chef")["custom_fields"] == {"cf_loyalty": "gold"}


def test_the_audit_log_names_fields_and_no_values(api: httpx.Client) -> None:
    contact = made(api)
    changed(api, contact["id"], name="Very Secret", tags=["secret"])
    entry = api.get("/api/v2/audit-log", params={"per_page": 1}).json()[0]
    assert (entry["action"], entry["target"]) == ("contact.update", f"contact:{contact['id']}")
    assert entry["details"] == {"fields": ["name", "tags"]}
