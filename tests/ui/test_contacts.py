"""The contacts' pages over HTTP: finding by anything, and every form, well filled in and not."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.support import Installation, publish_request
from tests.ui.pages import Outline, Visitor, signed_in


def create(api: httpx.Client, **fields: Any) -> int:
    answer = api.post("/api/v2/contacts", json=fields)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def publish(api: httpx.Client, **contact: Any) -> dict[str, Any]:
    answer = api.post("/api/v2/contact-activities", json=publish_request(contact=contact))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def contact_of(api: httpx.Client, number: int) -> dict[str, Any]:
    return dict(api.get(f"/api/v2/contacts/{number}").json())


def listed(visitor: Visitor, **params: str) -> list[int]:
    page = visitor.get("/contacts", params=params)
    assert page.status_code == 200
    return [int(number) for number in re.findall(r'class="record-link" href="/contacts/(\d+)"', page.text)]


def test_contacts_are_found_by_anything(server: Installation) -> None:
    with server.client() as api, signed_in(server) as agent:
        assert "No contacts yet" in agent.get("/contacts").text
        company = api.post("/api/v2/companies", json={"name": "Acme Shoes"}).json()["id"]
        zoe = create(
            api,
            name="Zoë Quist",
            email="zoe@example.com",
            other_emails=["zq@example.org"],
            phone="+1 555 0100",
            unique_external_id="CUS-7",
            twitter_id="zoeq",
        )
        max_ = create(api, name="Max Quist", email="max@example.com", company_id=company)
        elsewhere = publish(api, identities=[{"source": "stripe", "id": "cus_9"}])["contact_id"]
        assert listed(agent, q="zoe") == [zoe]
        assert listed(agent, q="QUIST") == [max_, zoe]
        assert listed(agent, q="quist ac") == [max_]
        for text in ("zoe@example.com", "ZQ@exam", "+15550100", "CUS-7", "zoeq"):
            assert listed(agent, q=text) == [zoe], text
        assert listed(agent, q="cus_9") == [elsewhere]
        assert listed(agent, q="email:'max@example.com'") == [max_]
        assert "At character" in agent.get("/contacts", params={"q": "email:max"}).text
        assert agent.get(f"/contacts/{zoe}/merge", params={"q": "email:max"}).status_code == 200
        assert listed(agent, q="%") == []
        assert listed(agent, q="_oe@example.com") == []
        assert "Nobody matches" in agent.get("/contacts", params={"q": "'\"<b>"}).text
        agent.submit(f"/contacts/{zoe}/place", page="/contacts", what="block")
        assert listed(agent, q="quist") == [max_]
        assert listed(agent, q="quist", state="blocked") == [zoe]
        assert listed(agent, state="blocked") == [zoe]
        agent.submit(f"/contacts/{zoe}/place", page="/contacts", what="restore")
        assert listed(agent, q="quist") == [max_, zoe]


def test_a_long_list_has_pages(server: Installation) -> None:
    with server.client() as api, signed_in(server) as agent:
        numbers = [
            create(api, name=f"Person {index:02}", email=f"p{index}@example.com") for index in range(32)
        ]
        assert listed(agent, q="person") == numbers[:30]
        page = agent.get("/contacts?q=person").text
        assert 'rel="next" href="/contacts?q=person&amp;page=2"' in page
        assert listed(agent, q="person", page="2") == numbers[30:]
        assert listed(agent, page="2") == numbers[30:]


def test_a_contact_shows_all_that_is_known(api: httpx.Client, agent: Visitor) -> None:
    number = create(
        api, name="Ann <i>", email="ann@example.com", other_emails=["a2@example.com"], tags=["vip"]
    )
    publish(api, email="ann@example.com", identities=[{"source": "stripe", "id": "cus_<b>"}])
    ticket = api.post("/api/v2/tickets", json={"subject": "Hello", "email": "a2@example.com"}).json()["id"]
    page = agent.get(f"/contacts/{number}").text
    text = Outline(page).text
    for known in ("Ann <i>", "ann@example.com", "a2@example.com", "cus_<b>", "vip", "Transaction failed"):
        assert known in text
    assert "<i>" not in page
    assert f'href="/tickets/{ticket}"' in page
    assert f'href="/tickets/new?contact={number}"' in page


def test_unknown_contacts_are_not_there(agent: Visitor) -> None:
    for number in ("999999", "x", "0", "9" * 30):
        for path in ("", "/edit", "/merge"):
            assert agent.get(f"/contacts/{number}{path}").status_code == 404


def test_a_contact_is_added_and_changed(api: httpx.Client, agent: Visitor) -> None:
    fields = {"name": "Bea", "email": "bea@example.com", "other_emails": "b1@example.com, b2@example.com"}
    answer = agent.submit("/contacts/new", page="/contacts/new", **fields, tags="vip", job_title="Buyer")
    number = int(re.findall(r"\d+", answer.headers["Location"])[0])
    contact = contact_of(api, number)
    assert contact["other_emails"] == ["b1@example.com", "b2@example.com"]
    assert contact["tags"] == ["vip"]
    form = agent.get(f"/contacts/{number}/edit").text
    assert 'value="b1@example.com, b2@example.com"' in form
    changed = fields | {"name": "Beatrix", "other_emails": "b1@example.com", "tags": "", "phone": "+15550123"}
    answer = agent.submit(f"/contacts/{number}/edit", page="/contacts", **changed, job_title="")
    assert answer.headers["Location"] == f"/contacts/{number}?done=saved"
    contact = contact_of(api, number)
    shown = [contact[name] for name in ("name", "other_emails", "tags", "phone", "job_title")]
    assert shown == ["Beatrix", ["b1@example.com"], [], "+15550123", None]


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": " "}, 400, "name"),
        ({"email": ""}, 400, "email"),
        ({"email": "no email"}, 400, "email"),
        ({"other_emails": "a@example.com, no email"}, 400, "other_emails"),
        ({"email": "taken@example.com"}, 409, "email"),
        ({"phone": "none"}, 400, "phone"),
        ({"company_id": "999999"}, 400, "company_id"),
    ],
)
def test_a_faulty_contact_comes_back(
    api: httpx.Client, agent: Visitor, fields: dict[str, str], status: int, field: str
) -> None:
    holder = publish(api, email="taken@example.com")["contact_id"]
    good = {"name": "Kept", "email": "kept@example.com", "job_title": "Kept title"}
    for path in ("/contacts/new", f"/contacts/{create_or_find(api)}/edit"):
        sent = good | fields | ({"phone": ""} if fields == {"email": ""} else {})
        answer = agent.submit(path, page="/contacts", **sent)
        assert answer.status_code == status, path
        assert f'id="w-{field}"' in answer.text
        assert "Kept title" in answer.text
        if status == 409:
            assert f"It is contact {holder}." in answer.text


def create_or_find(api: httpx.Client) -> int:
    found = api.get("/api/v2/contacts", params={"email": "edited@example.com"}).json()
    return int(found[0]["id"]) if found else create(api, name="Edited", email="edited@example.com")


def test_a_contact_is_deleted_blocked_and_brought_back(api: httpx.Client, agent: Visitor) -> None:
    number = create(api, name="Dee", email="dee@example.com")
    path = f"/contacts/{number}"
    for what in ("delete", "block"):
        answer = agent.submit(f"{path}/place", page="/contacts", what=what)
        assert answer.headers["Location"] == f"{path}?done={what}"
        page = agent.get(path).text
        assert f"{path}/edit" not in page
        assert agent.get(f"{path}/edit").status_code == 405
        agent.submit(f"{path}/place", page="/contacts", what="restore")
        assert f"{path}/edit" in agent.get(path).text
    assert agent.submit(f"{path}/place", page="/contacts", what="burn").status_code == 404


def test_a_contact_is_erased_by_an_admin_who_typed_its_name(
    api: httpx.Client, agent: Visitor, admin: Visitor
) -> None:
    number = create(api, name="Ida  Lund", email="ida@example.com")
    publish(api, email="ida@example.com")
    path = f"/contacts/{number}/erase"
    assert path not in agent.get(f"/contacts/{number}").text
    assert agent.get(path).status_code == 403
    assert agent.submit(path, page="/contacts", name="Ida Lund").status_code == 403
    assert "1 activity" in Outline(admin.get(path).text).text
    refused = admin.submit(path, page="/contacts", name="Ida")
    assert refused.status_code == 400
    assert 'id="w-name"' in refused.text
    assert contact_of(api, number)["id"] == number
    answer = admin.submit(path, page="/contacts", name="Ida Lund")
    assert answer.headers["Location"] == "/contacts?done=erased"
    assert "was erased" in admin.get("/contacts?done=erased").text
    assert admin.get(f"/contacts/{number}").status_code == 404


def test_contacts_are_merged_after_a_look_and_unmerged_by_an_admin(
    api: httpx.Client, agent: Visitor, admin: Visitor
) -> None:
    one = create(api, name="Flo Meyer", email="flo@example.com")
    two = create(api, name="Florence Meyer", email="florence@example.com", unique_external_id="F-1")
    publish(api, email="florence@example.com")
    found = agent.get(f"/contacts/{one}/merge?q=meyer").text
    assert f"/contacts/{one}/merge?other={two}" in found
    assert f"other={one}" not in found
    preview = Outline(agent.get(f"/contacts/{one}/merge?other={two}").text).text
    for told in ("Flo Meyer", "Florence Meyer", "F-1", "What follows", "Stays", "Joins"):
        assert told in preview
    assert contact_of(api, two)["id"] == two
    answer = agent.submit(f"/contacts/{one}/merge", page="/contacts", other=str(two))
    assert answer.headers["Location"] == f"/contacts/{one}?done=merge"
    assert agent.get(f"/contacts/{two}").headers["Location"] == f"/contacts/{one}"
    page = admin.get(f"/contacts/{one}").text
    assert "F-1" in page
    undo = re.search(rf'action="(/contacts/{one}/merges/\d+/undo)"', page)
    assert undo is not None
    assert "/undo" not in agent.get(f"/contacts/{one}").text
    assert agent.submit(undo[1], page="/contacts").status_code == 403
    assert admin.submit(undo[1], page="/contacts").headers["Location"] == f"/contacts/{one}?done=undo"
    assert contact_of(api, two)["name"] == "Florence Meyer"
    assert admin.submit(undo[1], page="/contacts").status_code == 409
    assert "Undone" in admin.get(f"/contacts/{one}").text


def test_a_merge_that_cannot_be_is_refused(api: httpx.Client, agent: Visitor) -> None:
    number = create(api, name="Gus", email="gus@example.com")
    gone = create(api, name="Gone", email="gone@example.com")
    api.delete(f"/api/v2/contacts/{gone}")
    for other, status in ((str(number), 409), (str(gone), 409), ("999999", 404), ("x", 404)):
        answer = agent.submit(f"/contacts/{number}/merge", page="/contacts", other=other)
        assert answer.status_code == status, other


def test_a_suggestion_is_looked_at_or_dismissed(api: httpx.Client, agent: Visitor) -> None:
    one = create(api, name="Hal", email="hal@example.com")
    two = create(api, name="Hal B", email="halb@example.com", unique_external_id="H-1")
    publish(api, email="hal@example.com", unique_external_id="H-1")
    page = agent.get(f"/contacts/{one}").text
    assert "The same person?" in page
    assert f"/contacts/{one}/merge?other={two}" in page
    agent.submit(f"/contacts/{one}/dismiss", page="/contacts", other=str(two))
    assert "The same person?" not in agent.get(f"/contacts/{one}").text
    assert agent.submit(f"/contacts/{one}/dismiss", page="/contacts", other="x").status_code == 404


@pytest.mark.parametrize("path", ["new", "{}/edit", "{}/place", "{}/merge", "{}/dismiss", "{}/activities"])
def test_forms_of_contacts_need_their_token(api: httpx.Client, agent: Visitor, path: str) -> None:
    number = create_or_find(api)
    data = {"name": "Forged", "email": "forged@example.com", "what": "delete", "other": "1"}
    assert agent.post(f"/contacts/{path.format(number)}", data=data).status_code == 403
    assert contact_of(api, number)["name"] == "Edited"
