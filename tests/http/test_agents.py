"""Agents, groups, roles and fields over HTTP (contract 8)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.support import Installation, publish_request, wait_until

AGENTS, GROUPS = "/api/v2/agents", "/api/v2/groups"
KEYS = (
    "available occasional id ticket_scope signature group_ids role_ids skill_ids available_since type focus_mode"
    " last_active_at deactivated freshcaller_agent created_at updated_at contact"
).split()
CONTACT_KEYS = (
    "active email job_title language mobile name phone time_zone created_at updated_at last_login_at".split()
)


def made(api: httpx.Client, **fields: Any) -> Any:
    answer = api.post(AGENTS, json={"email": email(), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def errors(answer: httpx.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


def test_an_agent_has_exactly_the_documented_keys(api: httpx.Client) -> None:
    mail = email()
    answer = api.post(f"{AGENTS}/", json={"email": mail, "ticket_scope": 2})
    agent = answer.json()
    assert (answer.status_code, list(agent), list(agent["contact"])) == (201, KEYS, CONTACT_KEYS)
    assert agent["contact"]["name"] == mail.partition("@")[0]
    assert (agent["ticket_scope"], agent["type"], agent["role_ids"]) == (2, "support_agent", [2])
    assert answer.headers["Location"].endswith(f"{AGENTS}/{agent['id']}")
    assert api.get(answer.headers["Location"]).json() == agent
    assert [each["id"] for each in api.get(AGENTS, params={"email": mail.upper()}).json()] == [agent["id"]]


FIXED = {"type": "support_agent", "agent_type": 1, "skill_ids": []}


def test_what_can_have_one_value_may_be_sent(api: httpx.Client) -> None:
    """Programs send these with an agent (Freshdesk documents them); an answer can be sent back in part."""
    agent = made(api, **FIXED)
    assert api.put(f"{AGENTS}/{agent['id']}", json=FIXED).json()["type"] == "support_agent"
    contact = api.post("/api/v2/contacts", json={"name": "A", "email": email()}).json()["id"]
    assert api.put(f"/api/v2/contacts/{contact}/make_agent", json=FIXED).status_code == 200
    others = {"type": "field_agent", "agent_type": 2, "skill_ids": [1]}
    assert errors(api.post(AGENTS, json={"email": email(), **others}), 400) == dict.fromkeys(
        others, "invalid_value"
    )


def test_an_agent_is_a_contact_who_is_not_listed(api: httpx.Client) -> None:
    mail = email()
    agent = made(api, email=mail)
    assert api.get("/api/v2/contacts", params={"email": mail}).json() == []
    published = publish(api, publish_request(contact={"email": mail}))
    assert published["contact_id"] == agent["id"]


def test_every_agent_knows_who_they_are(shared_server: Installation) -> None:
    with shared_server.client(shared_server.agent_key) as client:
        me = client.get(f"{AGENTS}/me")
        assert (me.status_code, me.json()["contact"]["email"]) == (200, "agent@example.com")
        assert client.get(f"{AGENTS}/{me.json()['id']}").status_code == 403


def test_lists(api: httpx.Client) -> None:
    phone = "+44 20 7946 0654"
    agent = made(api, occasional=True, phone=phone, mobile="+44 7700 900654", name=f"Zed {unique()}")
    for query in ({"phone": "+442079460654"}, {"mobile": "+447700900654"}):
        assert [each["id"] for each in api.get(AGENTS, params=query).json()] == [agent["id"]]
    occasional = api.get(AGENTS, params={"state": "occasional", "per_page": 100}).json()
    assert agent["id"] in [each["id"] for each in occasional]
    assert all(each["occasional"] for each in occasional)
    assert not any(each["occasional"] for each in api.get(AGENTS, params={"state": "fulltime"}).json())
    assert errors(api.get(AGENTS, params={"state": "asleep"}), 400) == {"state": "invalid_value"}
    first = api.get(AGENTS, params={"per_page": 1})
    assert 'rel="next"' in first.headers["Link"]
    suggested = api.get(f"{AGENTS}/autocomplete", params={"term": "ZED"}).json()
    assert {"id": agent["id"], "name": agent["contact"]["name"]} in suggested


def test_changes(api: httpx.Client) -> None:
    agent = made(api)
    group = api.post(GROUPS, json={"name": unique("Group")}).json()["id"]
    changed = api.put(
        f"{AGENTS}/{agent['id']}",
        json={
            "occasional": True,
            "signature": "<p>Bye</p>",
            "group_ids": [group],
            "role_ids": [1],
            "contact": {"job_title": "Singer", "name": "Phoebe Buffay"},
        },
    ).json()
    assert (changed["occasional"], changed["signature"], changed["group_ids"]) == (
        True,
        "<p>Bye</p>",
        [group],
    )
    assert changed["role_ids"] == [1]
    assert (changed["contact"]["job_title"], changed["contact"]["name"]) == ("Singer", "Phoebe Buffay")
    assert api.get(f"{AGENTS}/{agent['id']}").json() == changed
    assert api.put(f"{AGENTS}/{agent['id']}", json={"phone": "+44 20 7946 0777"}).json()["contact"]["phone"]
    assert api.put(f"{AGENTS}/{agent['id']}", json={"group_ids": []}).json()["group_ids"] == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ticket_scope": "2"}, {"ticket_scope": "datatype_mismatch"}),
        ({"ticket_scope": 9}, {"ticket_scope": "invalid_value"}),
        ({"role_ids": [9]}, {"role_ids.0": "invalid_value"}),
        ({"role_ids": []}, {"role_ids": "invalid_value"}),
        ({"group_ids": [2**62]}, {"group_ids": "invalid_value"}),
        ({"email": "nobody"}, {"email": "invalid_value"}),
        ({"email": None}, {"email": "invalid_value"}),
        ({"deactivated": True, "colour": 1}, {"deactivated": "readonly_field", "colour": "invalid_field"}),
        ({"contact": {"active": True}}, {"contact.active": "readonly_field"}),
    ],
)
def test_changes_at_fault(api: httpx.Client, change: dict[str, Any], expected: dict[str, str]) -> None:
    assert errors(api.put(f"{AGENTS}/{made(api)['id']}", json=change), 400) == expected


def test_emails_are_unique_among_agents_and_contacts(api: httpx.Client) -> None:
    taken = email()
    contact = api.post("/api/v2/contacts", json={"name": "A", "email": taken}).json()["id"]
    refused = api.post(AGENTS, json={"email": taken.upper()})
    assert errors(refused, 409) == {"email": "duplicate_value"}
    assert refused.json()["errors"][0]["additional_info"] == {"user_id": contact}
    assert errors(api.put(f"{AGENTS}/{made(api)['id']}", json={"email": taken}), 409) == {
        "email": "duplicate_value"
    }
    assert errors(api.post(AGENTS, json={}), 400) == {"email": "missing_field"}


def test_null_counts_as_absent_in_a_new_agent(api: httpx.Client) -> None:
    nothing = dict.fromkeys(("name", "ticket_scope", "occasional", "group_ids", "role_ids", "signature"))
    answer = api.post(AGENTS, json={"email": email(), **nothing})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["ticket_scope"], answer.json()["occasional"]) == (1, False)


def test_a_contact_is_made_an_agent_and_keeps_number_and_timeline(api: httpx.Client) -> None:
    mail = email()
    contact = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    answer = api.put(f"/api/v2/contacts/{contact}/make_agent", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["agent"]["id"]) == (contact, contact)
    assert list(answer.json()["agent"]) == KEYS
    assert len(api.get(f"/api/v2/contacts/{contact}/activities").json()) == 1
    again = api.put(f"/api/v2/contacts/{contact}/make_agent", json={"occasional": True})
    assert errors(again, 409) == {"id": "inconsistent_state"}
    nameless = api.post("/api/v2/contacts", json={"name": "A", "phone": "+44 20 7946 0888"}).json()["id"]
    assert errors(api.put(f"/api/v2/contacts/{nameless}/make_agent"), 409) == {"email": "inconsistent_state"}
    assert api.put("/api/v2/contacts/99999999/make_agent").status_code == 404


def test_the_contact_that_is_made_an_agent_is_answered_whole(api: httpx.Client) -> None:
    label = unique("shoe size")
    name = api.post("/api/v2/contact_fields", json={"label": label, "type": "custom_number"}).json()["name"]
    picture = {"avatar": ("rachel.png", b"\x89PNG\r\n\x1a\n", "image/png")}
    made = api.post("/api/v2/contacts", data={"name": "Rachel", "email": email()}, files=picture).json()
    answer = api.put(f"/api/v2/contacts/{made['id']}/make_agent").json()
    assert answer["custom_fields"][name] is None
    assert answer["avatar"]["id"] == made["avatar"]["id"]


def test_a_deleted_contact_is_not_made_an_agent(api: httpx.Client) -> None:
    path = (
        f"/api/v2/contacts/{api.post('/api/v2/contacts', json={'name': 'A', 'email': email()}).json()['id']}"
    )
    assert api.delete(path).status_code == 204
    assert api.put(f"{path}/make_agent").status_code == 405
    assert api.put(f"{path}/restore").status_code == 204
    assert api.put(f"{path}/make_agent").status_code == 200


def test_a_removed_agent_is_a_contact_again_and_has_nothing_left(shared_server: Installation) -> None:
    with shared_server.client() as api:
        mail = email()
        agent = made(api, email=mail)["id"]
        group = api.post(GROUPS, json={"name": unique("Group"), "agent_ids": [agent]}).json()["id"]
        ticket = api.post("/api/v2/tickets", json={"email": email(), "responder_id": agent}).json()["id"]
        key = shared_server.cli("keys", "create", "--agent", mail).stdout.strip()
        with shared_server.client(key) as theirs:
            assert theirs.get(f"{AGENTS}/me").status_code == 200
            assert api.delete(f"{AGENTS}/{agent}").status_code == 204
            wait_until(
                lambda: theirs.get(f"{AGENTS}/me").status_code == 401, seconds=1, what="the end of the key"
            )
        assert api.get(f"{AGENTS}/{agent}").status_code == 404
        assert api.get(f"/api/v2/contacts/{agent}").json()["email"] == mail
        assert api.get(f"/api/v2/tickets/{ticket}").json()["responder_id"] is None
        assert api.get(f"{GROUPS}/{group}").json()["agent_ids"] == []
        assert api.delete(f"{AGENTS}/{agent}").status_code == 404
        other = email()
        api.put(f"/api/v2/contacts/{agent}", json={"email": other})
        assert made(api, email=mail)["id"] != agent, "the email is free for somebody else"
        again = api.put(f"/api/v2/contacts/{agent}/make_agent")
        assert again.json()["agent"]["contact"]["email"] == other
        assert (again.status_code, again.json()["agent"]["deactivated"]) == (200, False)


def test_somebody_stays_who_is_an_admin(server: Installation) -> None:
    with server.client() as api:
        me = api.get(f"{AGENTS}/me").json()["id"]
        assert errors(api.delete(f"{AGENTS}/{me}"), 409) == {"id": "inconsistent_state"}
        assert errors(api.put(f"{AGENTS}/{me}", json={"role_ids": [2]}), 409) == {
            "role_ids": "inconsistent_state"
        }


@pytest.mark.parametrize("number", ["0", "-1", "x", "9223372036854775808", "99999999"])
def test_numbers_that_nobody_has(api: httpx.Client, number: str) -> None:
    for what in ("agents", "groups", "roles"):
        assert api.get(f"/api/v2/{what}/{number}").status_code == 404, what
    assert api.put(f"{AGENTS}/{number}", json={"colour": 1}).status_code == 404


def test_groups(api: httpx.Client) -> None:
    name, agent = unique("Group"), made(api)["id"]
    created = api.post(GROUPS, json={"name": name, "agent_ids": [agent]})
    group = created.json()
    assert (created.status_code, group["agent_ids"]) == (201, [agent])
    assert api.get(f"{GROUPS}/{group['id']}").json() == group
    assert group["id"] in [each["id"] for each in api.get(GROUPS, params={"per_page": 100}).json()]
    assert errors(api.post(GROUPS, json={"name": name}), 409) == {"name": "duplicate_value"}
    assert errors(api.post(GROUPS, json={"name": unique(), "agent_ids": [2**62]}), 400) == {
        "agent_ids": "invalid_value"
    }
    changed = api.put(f"{GROUPS}/{group['id']}", json={"description": "Knows", "agent_ids": []}).json()
    assert (changed["description"], changed["agent_ids"], changed["name"]) == ("Knows", [], name)
    ticket = api.post("/api/v2/tickets", json={"email": email(), "group_id": group["id"]}).json()["id"]
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 204
    assert api.get(f"/api/v2/tickets/{ticket}").json()["group_id"] is None


def test_roles(api: httpx.Client) -> None:
    roles = api.get("/api/v2/roles").json()
    assert [role["id"] for role in roles] == [1, 2]
    assert api.get("/api/v2/roles/1").json() == roles[0]


@pytest.mark.parametrize("what", ["ticket_fields", "contact_fields", "company_fields"])
def test_fields(api: httpx.Client, what: str) -> None:
    label = unique("Shoe size ")
    created = api.post(
        f"/api/v2/{what}",
        json={"label": label, "type": "custom_dropdown", "choices": ["small", {"value": "large"}]},
    )
    assert created.status_code == 201, created.text
    field = created.json()
    for_customers = {
        "label_for_customers": "Your size",
        "customers_can_edit": True,
        "editable_in_signup": False,
        "required_for_customers": False,
        "displayed_for_customers": True,
    }
    other = {"label": f"Site {label}", "type": "custom_url", **for_customers}
    assert api.post(f"/api/v2/{what}", json=other | {"customers_can_edit": "yes"}).status_code == 400
    assert api.post(f"/api/v2/{what}", json=other).status_code == 201
    assert re.fullmatch(r"cf_shoe_size_\w+", field["name"])
    assert (field["choices"], field["default"]) == (["small", "large"], False)
    listed = api.get(f"/api/v2/{what}").json()
    assert field in listed
    assert all(each["created_at"] and each["updated_at"] for each in listed)
    assert errors(api.post(f"/api/v2/{what}", json={"label": label, "type": "custom_text"}), 409) == {
        "label": "duplicate_value"
    }
    assert errors(api.post(f"/api/v2/{what}", json={"label": "A", "type": "text"}), 400) == {
        "type": "invalid_value"
    }


def test_ticket_fields_of_a_type(api: httpx.Client) -> None:
    (status,) = api.get("/api/v2/ticket_fields", params={"type": "default_status"}).json()
    assert status["choices"]["2"] == ["Open", "Open"]


def test_one_of_several_who_create_the_same_agent_at_once_wins(api: httpx.Client) -> None:
    mail = email()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.post(AGENTS, json={"email": mail}), range(8)))
    (winner,) = (answer.json()["id"] for answer in answers if answer.status_code == 201)
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(refused) == 7
    assert {answer.json()["errors"][0]["additional_info"]["user_id"] for answer in refused} == {winner}
