"""Publishing one activity (contract 1.1), against a running server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.http.wire import ACTIVITIES
from tests.support import SOURCE, Installation, publish_request

pytestmark = pytest.mark.every_engine


def unique(prefix: str = "x") -> str:
    return f"{prefix}-{uuid4().hex}"


def email() -> str:
    return f"{unique('p')}@example.com"


def publish(api: httpx.Client, request: dict[str, Any], **headers: str) -> Any:
    answer = api.post(ACTIVITIES, json=request, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def errors_of(api: httpx.Client, request: Any) -> dict[str, str]:
    answer = api.post(ACTIVITIES, json=request)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert set(body) == {"description", "errors"}
    assert body["description"] == "Validation failed"
    assert all(set(error) == {"field", "message", "code"} and error["message"] for error in body["errors"])
    return {error["field"]: error["code"] for error in body["errors"]}


def test_the_answer_has_the_documented_fields_and_no_others(api: httpx.Client) -> None:
    sent = unique("evt")
    published = publish(api, publish_request(id=sent, contact={"email": email()}))
    assert set(published) == {"id", "external_id", "contact_id", "matched_by", "duplicate"}
    assert UUID(published["id"]).version == 7
    assert published["external_id"] == sent
    assert isinstance(published["contact_id"], int)
    assert published["matched_by"] == "created"
    assert published["duplicate"] is False


def test_without_a_timestamp_it_happened_when_it_was_received(api: httpx.Client) -> None:
    published = publish(api, publish_request(contact={"email": email()}))
    activity = api.get(f"{ACTIVITIES}/{published['id']}").json()
    assert activity["timestamp"] == activity["received_at"]
    assert published["external_id"] is None


IDENTIFIERS: dict[str, Any] = {
    "unique_external_id": lambda: unique("ext"),
    "identities": lambda: [{"source": "stripe", "id": unique("cus")}],
    "email": email,
    "facebook_id": lambda: unique("fb"),
    "twitter_id": lambda: unique("tw"),
    "phone": lambda: f"+4479{uuid4().int % 10**8:08d}",
    "mobile": lambda: f"+4478{uuid4().int % 10**8:08d}",
}


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_each_identifier_creates_once_and_matches_afterwards(api: httpx.Client, kind: str) -> None:
    contact = {kind: IDENTIFIERS[kind]()}
    first = publish(api, publish_request(contact=contact))
    second = publish(api, publish_request(contact=contact))
    by_id = publish(api, publish_request(contact={"id": first["contact_id"]}))
    assert first["matched_by"] == "created"
    assert second["matched_by"] == kind
    assert by_id["matched_by"] == "id"
    assert first["contact_id"] == second["contact_id"] == by_id["contact_id"]


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_sixty_four_concurrent_firsts_give_one_contact(api: httpx.Client, kind: str) -> None:
    request = publish_request(contact={kind: IDENTIFIERS[kind]()})
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: publish(api, request), range(64)))
    assert len({answer["contact_id"] for answer in answers}) == 1
    assert len({answer["id"] for answer in answers}) == 64
    assert sum(answer["matched_by"] == "created" for answer in answers) == 1


def test_precedence_first_match_wins_and_conflicts_are_told(api: httpx.Client) -> None:
    external, mail, facebook = unique("ext"), email(), unique("fb")
    one = publish(api, publish_request(contact={"unique_external_id": external}))["contact_id"]
    two = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    three = publish(api, publish_request(contact={"facebook_id": facebook}))["contact_id"]

    both = publish(api, publish_request(contact={"email": mail, "unique_external_id": external}))
    assert both["contact_id"] == one
    assert both["matched_by"] == "unique_external_id"
    assert both["conflicts"] == [{"field": "contact.email", "contact_id": two}]
    # Nothing moved: the email still finds the one who had it.
    assert publish(api, publish_request(contact={"email": mail}))["contact_id"] == two

    all_three = publish(
        api, publish_request(contact={"id": three, "email": mail, "unique_external_id": external})
    )
    assert all_three["contact_id"] == three
    assert all_three["matched_by"] == "id"
    assert {tuple(conflict.values()) for conflict in all_three["conflicts"]} == {
        ("contact.unique_external_id", one),
        ("contact.email", two),
    }


def test_identities_match_in_order_and_conflicts_name_the_entry(api: httpx.Client) -> None:
    stripe, shop = {"source": "stripe", "id": unique()}, {"source": "shop", "id": unique()}
    one = publish(api, publish_request(contact={"identities": [stripe]}))["contact_id"]
    two = publish(api, publish_request(contact={"identities": [shop]}))["contact_id"]
    assert one != two
    answer = publish(api, publish_request(contact={"identities": [shop, stripe]}))
    assert answer["contact_id"] == two
    assert answer["matched_by"] == "identities"
    assert answer["conflicts"] == [{"field": "contact.identities.1", "contact_id": one}]


def test_identifiers_that_nobody_has_are_added(api: httpx.Client) -> None:
    first, second, external = email(), email(), unique("ext")
    contact_id = publish(api, publish_request(contact={"email": first}))["contact_id"]
    publish(api, publish_request(contact={"id": contact_id, "email": second, "unique_external_id": external}))
    contact = api.get(f"/api/v2/contacts/{contact_id}").json()
    assert contact["email"] == first
    assert contact["other_emails"] == [second]
    assert contact["unique_external_id"] == external
    for known in ({"email": second}, {"email": second.upper()}, {"unique_external_id": external}):
        assert publish(api, publish_request(contact=known))["contact_id"] == contact_id
    assert (
        publish(api, publish_request(contact={"unique_external_id": external.upper()}))["contact_id"]
        != contact_id
    )


def test_a_made_name_counts_as_no_name(api: httpx.Client) -> None:
    mail = email()

    def name() -> str:
        return str(api.get(f"/api/v2/contacts/{contact_id}").json()["name"])

    contact_id = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    assert name() == mail.partition("@")[0]
    publish(api, publish_request(contact={"email": mail, "name": "Rachel Green"}))
    assert name() == "Rachel Green"
    publish(api, publish_request(contact={"email": mail, "name": "Somebody Else"}))
    assert name() == "Rachel Green"


def test_a_shared_number_goes_to_one_phone_only_contact(api: httpx.Client) -> None:
    number = f"+4477{uuid4().int % 10**8:08d}"
    people = [
        api.post("/api/v2/contacts", json={"name": name, "phone": number}).json()["id"] for name in "AB"
    ]
    first = publish(api, publish_request(contact={"phone": number}))
    again = publish(api, publish_request(contact={"phone": f"{number[:3]} {number[3:7]} {number[7:]}"}))
    assert first["contact_id"] not in people
    assert again["contact_id"] == first["contact_id"]


def test_an_unknown_contact_id_is_an_invalid_value(api: httpx.Client) -> None:
    assert errors_of(api, publish_request(contact={"id": 10**15})) == {"contact.id": "invalid_value"}


# Replays.


def test_the_same_source_and_id_store_nothing_new(api: httpx.Client) -> None:
    request = publish_request(id=unique("evt"), contact={"email": email()})
    first, again = publish(api, request), publish(api, request)
    assert again == first | {"duplicate": True, "matched_by": "created"}
    other = publish(api, request | {"contact": {"email": email()}})
    assert other["id"] == first["id"]
    assert other["contact_id"] == first["contact_id"]
    assert "differs" not in other, "the contact does not belong to what is compared"
    changed = request | {"activity": request["activity"] | {"name": "Something else"}}
    assert publish(api, changed) == again | {"differs": True}
    timeline = api.get(f"/api/v2/contacts/{first['contact_id']}/activities").json()
    assert [each["name"] for each in timeline] == ["Transaction failed"]


def test_what_differs_is_the_meaning_not_the_writing(api: httpx.Client) -> None:
    request = publish_request(id=unique("evt"), context={"a": 1, "b": [1, 2]}, contact={"email": email()})
    publish(api, request)
    request["activity"] = dict(reversed(request["activity"].items()))
    request["activity"]["context"] = {"b": [1, 2], "a": 1}
    text = json.dumps(request, indent=4)
    answer = api.post(ACTIVITIES, content=text, headers={"Content-Type": "application/json"}).json()
    assert answer["duplicate"] is True
    assert "differs" not in answer
    request["activity"]["context"] = {"b": [2, 1], "a": 1}
    assert publish(api, request)["differs"] is True


def test_ids_are_unique_within_their_source_only(shared_server: Installation, api: httpx.Client) -> None:
    same = unique("evt")
    ids = {
        publish(api, publish_request(id=same, source={"name": source}, contact={"email": email()}))["id"]
        for source in ("shopify", "stripe", "Shopify")
    }
    assert len(ids) == 3


def test_concurrent_replays_store_once(api: httpx.Client) -> None:
    request = publish_request(id=unique("evt"), contact={"email": email()})
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: publish(api, request), range(48)))
    assert len({answer["id"] for answer in answers}) == 1
    assert sum(not answer["duplicate"] for answer in answers) == 1
    assert len(api.get(f"/api/v2/contacts/{answers[0]['contact_id']}/activities").json()) == 1


def test_an_idempotency_key_does_for_a_request_what_an_id_does_for_an_event(
    shared_server: Installation, api: httpx.Client
) -> None:
    key, request = unique("key"), publish_request(contact={"email": email()})
    first = publish(api, request, **{"Idempotency-Key": key})
    again = publish(api, request, **{"Idempotency-Key": key})
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert again["id"] == first["id"]
    assert again["external_id"] is None
    assert publish(api, request)["duplicate"] is False
    changed = request | {"activity": request["activity"] | {"name": "Other"}}
    assert publish(api, changed, **{"Idempotency-Key": key})["differs"] is True
    with shared_server.client(shared_server.agent_key) as other:  # scoped to the API key
        assert publish(other, request, **{"Idempotency-Key": key})["duplicate"] is False


def test_the_activity_id_wins_over_the_header(api: httpx.Client) -> None:
    key, contact = unique("key"), {"email": email()}
    first = publish(api, publish_request(id=unique("a"), contact=contact), **{"Idempotency-Key": key})
    second = publish(api, publish_request(id=unique("b"), contact=contact), **{"Idempotency-Key": key})
    assert second["duplicate"] is False
    assert second["id"] != first["id"]


def test_an_idempotency_key_has_a_length(api: httpx.Client) -> None:
    request = publish_request(contact={"email": email()})
    assert publish(api, request, **{"Idempotency-Key": "k" * 255})["duplicate"] is False
    answer = api.post(ACTIVITIES, json=request, headers={"Idempotency-Key": "k" * 256})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "invalid_value"


def test_a_replay_of_a_deleted_activity_stores_nothing(api: httpx.Client) -> None:
    request = publish_request(id=unique("evt"), contact={"email": email()})
    first = publish(api, request)
    assert api.delete(f"{ACTIVITIES}/{first['id']}").status_code == 204
    again = publish(api, request)
    assert again["duplicate"] is True
    assert again["id"] == first["id"]
    assert api.get(f"{ACTIVITIES}/{first['id']}").status_code == 404
    assert api.get(f"/api/v2/contacts/{first['contact_id']}/activities").json() == []


# Faults.


def test_every_fault_is_reported_at_once(api: httpx.Client) -> None:
    request = {
        "activity": {
            "name": " ",
            "timestamp": "yesterday",
            "description": 7,
            "actor": {"kind": "shopper", "id": 4},
            "source": {"name": "Backstory"},
            "object": {"type": "x" * 256},
            "context": [],
            "colour": "blue",
        },
        "contact": {"email": "nobody", "is_actor": "yes", "nickname": "R"},
        "extra": 1,
    }
    assert errors_of(api, request) == {
        "activity.name": "invalid_value",
        "activity.timestamp": "invalid_value",
        "activity.description": "datatype_mismatch",
        "activity.actor.type": "missing_field",
        "activity.actor.kind": "invalid_field",
        "activity.actor.id": "datatype_mismatch",
        "activity.source.name": "invalid_value",
        "activity.object.type": "invalid_value",
        "activity.context": "datatype_mismatch",
        "activity.colour": "invalid_field",
        "contact.email": "invalid_value",
        "contact.is_actor": "datatype_mismatch",
        "contact.nickname": "invalid_field",
        "extra": "invalid_field",
    }


def test_an_absent_object_is_one_fault(api: httpx.Client) -> None:
    assert errors_of(api, {}) == {"activity": "missing_field", "contact": "missing_field"}
    assert errors_of(api, {"activity": None, "contact": {}}) == {
        "activity": "missing_field",
        "contact": "missing_field",
    }
    no_actor = publish_request()
    del no_actor["activity"]["actor"]
    assert errors_of(api, no_actor) == {"activity.actor": "missing_field"}
    blank: dict[str, Any] = {"email": " ", "phone": "", "twitter_id": None, "identities": []}
    assert errors_of(api, publish_request(contact=blank)) == {"contact": "missing_field"}


@pytest.mark.parametrize("value", [0, -1, 2**63, 10**30])
def test_a_contact_id_that_cannot_be(api: httpx.Client, value: int) -> None:
    assert errors_of(api, publish_request(contact={"id": value})) == {"contact.id": "invalid_value"}


@pytest.mark.parametrize("value", ["7", 1.5, True, [1], {}])
def test_a_contact_id_of_another_type(api: httpx.Client, value: object) -> None:
    assert errors_of(api, publish_request(contact={"id": value})) == {"contact.id": "datatype_mismatch"}


def test_limits_are_inclusive(api: httpx.Client) -> None:
    deep: Any = {}
    for _ in range(31):
        deep = {"d": deep}
    contact = {"email": email()}
    good: dict[str, Any] = {
        "name": f"  {'n' * 255}  ",
        "description": "d" * 4096,
        "link": "l" * 2048,
        "id": unique("i").ljust(255, "i"),
        "context": deep,
    }
    published = publish(api, publish_request(contact=contact, **good))
    assert api.get(f"{ACTIVITIES}/{published['id']}").json()["name"] == "n" * 255
    bad: dict[str, Any] = {
        "name": "n" * 256,
        "description": "d" * 4097,
        "link": "l" * 2049,
        "id": "i" * 256,
        "context": {"d": deep},
    }
    assert errors_of(api, publish_request(contact=contact, **bad)) == {
        f"activity.{field}": "invalid_value" for field in bad
    }
    full = {"c": "x" * (256 * 1024 - 8)}
    assert len(json.dumps(full, separators=(",", ":"))) == 256 * 1024
    publish(api, publish_request(contact=contact, context=full))
    over = {"c": "x" * (256 * 1024 - 7)}
    assert errors_of(api, publish_request(contact=contact, context=over)) == {
        "activity.context": "invalid_value"
    }
    twenty = [{"source": "s", "id": unique()} for _ in range(20)]
    publish(api, publish_request(contact={"identities": twenty}))
    assert errors_of(api, publish_request(contact={"identities": [*twenty, {"source": "s", "id": "z"}]})) == {
        "contact.identities": "invalid_value"
    }


def test_blank_links_and_nulls_count_as_absent(api: httpx.Client) -> None:
    request = publish_request(
        contact={"email": email(), "phone": None, "facebook_id": ""},
        link="",
        description=None,
        timestamp=None,
        object=None,
        context=None,
        id=None,
    )
    activity = api.get(f"{ACTIVITIES}/{publish(api, request)['id']}").json()
    assert [activity[name] for name in ("link", "description", "object", "context", "external_id")] == [
        None
    ] * 5
    request = publish_request(object={"type": "cart", "link": ""}, contact={"email": email()})
    activity = api.get(f"{ACTIVITIES}/{publish(api, request)['id']}").json()
    assert activity["object"] == {"type": "cart", "id": None, "link": None, "name": None}


# What was sent comes back.

EXACT = (
    b'{"b": 1.10, "a": 12345678901234567890, "Order id":"\\u0000\\ud83d\\ude00", "big": 1e400, "small": -0.0,'
    b' "deep": {"z":[1,[2,[]],{}], "":""}, "rtl": "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", "e": 1E+2}'
)


def test_context_comes_back_as_its_text(api: httpx.Client) -> None:
    body = (
        b'{"activity": {"name": "\xf0\x9f\x9b\x92 \xe2\x80\xae", "actor": {"type": "shopper"},'
        b' "source": {"name": "shopify"}, "context": %s}, "contact": {"email": "%s"}}'
    ) % (EXACT, email().encode())
    answer = api.post(ACTIVITIES, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    text = api.get(f"{ACTIVITIES}/{answer.json()['id']}").content
    assert EXACT in text
    assert "\U0001f6d2 \u202e".encode() in text


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0001-01-01", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("2020-10-01T14:00", "2020-10-01T14:00:00Z"),
        ("2020-10-01T14:00:00+02:00", "2020-10-01T12:00:00Z"),
        ("2020-10-01T14:00:00-0230", "2020-10-01T16:30:00Z"),
        ("2020-10-01T14:00:00+02", "2020-10-01T12:00:00Z"),
        ("2020-10-01T14:00:00.1234567891", "2020-10-01T14:00:00.123456Z"),
        ("2020-10-01T14:00:00.5Z", "2020-10-01T14:00:00.500Z"),
    ],
)
def test_times_that_are_accepted(api: httpx.Client, sent: str, kept: str) -> None:
    published = publish(api, publish_request(timestamp=sent, contact={"email": email()}))
    assert api.get(f"{ACTIVITIES}/{published['id']}").json()["timestamp"] == kept


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "2016-12-31T23:59:60Z",
        "10000-01-01",
        "0000-01-01",
        "0001-01-01T00:00:00+14:00",
        "2020-02-30",
        "2020-10-01T24:00:00Z",
        "2020-10-01 14:00:00",
        "1601560800",
        "2020-10-01T14:00:00+99:00",
    ],
)
def test_times_that_are_refused(api: httpx.Client, sent: str) -> None:
    request = publish_request(timestamp=sent, contact={"email": email()})
    assert errors_of(api, request) == {"activity.timestamp": "invalid_value"}


def test_u0000_is_possible_only_in_context(api: httpx.Client) -> None:
    request = publish_request(
        name="a\0b", actor={"type": "x", "name": "\0"}, contact={"email": email(), "name": "\0"}
    )
    assert errors_of(api, request) == {
        "activity.name": "invalid_value",
        "activity.actor.name": "invalid_value",
        "contact.name": "invalid_value",
    }
    assert publish(api, publish_request(context={"\0": "\0"}, contact={"email": email()}))["id"]


def test_a_source_key_publishes_under_its_own_names_only(shared_server: Installation) -> None:
    with shared_server.client(shared_server.source_key) as client:
        assert publish(client, publish_request(contact={"email": email()}))["contact_id"]
        answer = client.post(ACTIVITIES, json=publish_request(source={"name": "stripe"}))
        assert answer.status_code == 403
        assert answer.json()["code"] == "access_denied"
        # Rights come before faults.
        wrong = publish_request(source={"name": "stripe"}, name="", contact={})
        assert client.post(ACTIVITIES, json=wrong).status_code == 403
        assert (
            client.post(ACTIVITIES, json=publish_request(source={"name": SOURCE}, name="")).status_code == 400
        )
