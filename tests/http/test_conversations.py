"""Replies, notes and their files through a running server, and every documented fault."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from backstory.http.described.tickets import CONVERSATION_KEYS
from backstory.model.attachment import MAX_ATTACHMENTS
from tests.http.test_tickets import TICKETS, events, faults, opened, read
from tests.http.wire import start_tuned
from tests.support import Installation, wait_until

pytestmark = pytest.mark.every_engine(cluster=False)  # of the records alone

CONVERSATIONS = "/api/v2/conversations"
ATTACHMENT_KEYS = ("id name content_type size attachment_url thumb_url created_at updated_at").split()


@pytest.fixture
def agent(shared_server: Installation) -> Iterator[httpx.Client]:
    with shared_server.client(shared_server.agent_key) as client:
        yield client


def noted(client: httpx.Client, ticket: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = client.post(f"{TICKETS}/{ticket['id']}/notes", json={"body": "Odd"} | body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def replied(client: httpx.Client, ticket: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = client.post(f"{TICKETS}/{ticket['id']}/reply", json={"body": "Soon"} | body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def said(client: httpx.Client, ticket: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{TICKETS}/{ticket['id']}/conversations", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def test_a_note_is_private_unless_it_is_not(api: httpx.Client) -> None:
    ticket = opened(api)
    answer = api.post(
        f"{TICKETS}/{ticket['id']}/notes/", json={"body": "<p>For <b>us</b></p><script>x</script>"}
    )
    note = answer.json()
    assert answer.headers["Location"].endswith(f"{CONVERSATIONS}/{note['id']}")
    assert list(note) == [*CONVERSATION_KEYS, "notified_to"]
    assert (note["body"], note["body_text"]) == ("<p>For <b>us</b></p>", "For us")
    assert (note["private"], note["incoming"], note["source"], note["category"]) == (True, False, 2, 2)
    assert (note["user_id"], note["ticket_id"], note["notified_to"]) == (1, ticket["id"], [])
    assert (note["source_additional_info"], note["outgoing_failures"], note["email_failure_count"]) == (
        None,
    ) * 3
    public = noted(api, ticket, private=False)
    assert (public["private"], public["category"]) == (False, 4)
    assert [list(each) for each in said(api, ticket)] == [list(CONVERSATION_KEYS)] * 2


def test_a_reply_goes_to_the_requester(api: httpx.Client, agent: httpx.Client) -> None:
    ticket = opened(api)
    email = api.get(f"/api/v2/contacts/{ticket['requester_id']}").json()["email"]
    reply = replied(agent, ticket, cc_emails=["c@d.example"], bcc_emails=["b@d.example"], user_id=1)
    assert list(reply) == [*CONVERSATION_KEYS, "replied_to"]
    assert (reply["replied_to"], reply["to_emails"]) == ([email], [email])
    assert (reply["cc_emails"], reply["bcc_emails"]) == (["c@d.example"], ["b@d.example"])
    assert (reply["source"], reply["category"], reply["private"], reply["user_id"]) == (0, 3, False, 1)
    assert replied(agent, ticket)["user_id"] == 2
    assert read(api, ticket)["reply_cc_emails"] == ["c@d.example"]


def test_what_the_requester_says(api: httpx.Client) -> None:
    ticket = opened(api, status=3)
    note = noted(api, ticket, incoming=True, private=False, body="Still nothing")
    assert (note["incoming"], note["category"], note["user_id"]) == (True, 1, ticket["requester_id"])
    told = events(api, ticket, 3)[-2:]
    assert [each["name"] for each in told] == ["Customer replied", "Ticket status changed"]
    assert (told[0]["description"], told[0]["is_actor"]) == ("Still nothing", True)
    assert read(api, ticket)["status"] == 2
    quiet = noted(api, opened(api, status=3), incoming=True, user_id=1)
    assert (quiet["private"], quiet["user_id"]) == (True, 1)


def test_the_oldest_comes_first_page_by_page(api: httpx.Client) -> None:
    ticket = opened(api)
    ids = [noted(api, ticket)["id"] for _ in range(5)]
    answer = api.get(f"{TICKETS}/{ticket['id']}/conversations", params={"per_page": 2})
    seen = [each["id"] for each in answer.json()]
    while "next" in answer.links:
        answer = api.get(answer.links["next"]["url"])
        seen += [each["id"] for each in answer.json()]
    assert seen == ids
    assert said(api, ticket, page=9) == []
    assert faults(api.get(f"{TICKETS}/{ticket['id']}/conversations?per_page=101")) == {
        "per_page": "invalid_value"
    }


@pytest.mark.parametrize("kind", ["reply", "notes"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"body": "missing_field"}),
        ({"body": " "}, {"body": "invalid_value"}),
        ({"body": 1}, {"body": "datatype_mismatch"}),
        ({"body": "x", "colour": 1}, {"colour": "invalid_field"}),
        ({"body": "x", "user_id": 2**62}, {"user_id": "invalid_value"}),
        ({"body": "x", "user_id": "1"}, {"user_id": "datatype_mismatch"}),
    ],
)
def test_what_is_wrong_is_said(
    api: httpx.Client, kind: str, body: dict[str, Any], expected: dict[str, str]
) -> None:
    ticket = opened(api)
    assert faults(api.post(f"{TICKETS}/{ticket['id']}/{kind}", json=body)) == expected
    assert said(api, ticket) == []


def test_what_is_wrong_with_either_alone(api: httpx.Client) -> None:
    path = f"{TICKETS}/{opened(api)['id']}"
    for kind, body, expected in (
        (
            "reply",
            {"cc_emails": ["x"], "private": True},
            {"cc_emails.0": "invalid_value", "private": "invalid_field"},
        ),
        ("notes", {"private": "yes"}, {"private": "datatype_mismatch"}),
        ("notes", {"notify_emails": ["x"] * 51}, {"notify_emails": "invalid_value"}),
    ):
        found = faults(api.post(f"{path}/{kind}", json={"body": "x"} | body))
        assert {name: code for name, code in found.items() if name in expected} == expected
    contact = opened(api)["requester_id"]
    assert faults(api.post(f"{path}/reply", json={"body": "x", "user_id": contact})) == {
        "user_id": "invalid_value"
    }


def test_a_note_can_be_changed_and_a_reply_cannot(api: httpx.Client) -> None:
    ticket = opened(api)
    note, reply = noted(api, ticket), replied(api, ticket)
    answer = api.put(f"{CONVERSATIONS}/{note['id']}", json={"body": "<b>Odder</b>"})
    assert answer.status_code == 200
    changed = answer.json()
    assert list(changed) == list(CONVERSATION_KEYS)
    assert (changed["body"], changed["body_text"], changed["last_edited_user_id"]) == (
        "<b>Odder</b>",
        "Odder",
        1,
    )
    assert changed["last_edited_at"]
    for body in ({"body": "x"}, {"body": 1}):
        answer = api.put(f"{CONVERSATIONS}/{reply['id']}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert faults(api.put(f"{CONVERSATIONS}/{note['id']}", json={"private": False})) == {
        "body": "missing_field", "private": "invalid_field"
    }  # fmt: skip
    api.delete(f"{TICKETS}/{ticket['id']}")
    for body in ({"body": "x"}, {"body": 1}):
        assert api.put(f"{CONVERSATIONS}/{note['id']}", json=body).status_code == 405
    for each in (note, reply):
        answer = api.delete(f"{CONVERSATIONS}/{each['id']}")
        assert (answer.status_code, answer.headers["Allow"]) == (405, ""), (
            "removing it changes the ticket, too"
        )
    assert len(said(api, ticket)) == 2


def test_a_conversation_can_be_removed(api: httpx.Client) -> None:
    ticket = opened(api)
    note, reply = noted(api, ticket), replied(api, ticket)
    for each in (note, reply):
        assert api.delete(f"{CONVERSATIONS}/{each['id']}").status_code == 204
        assert api.delete(f"{CONVERSATIONS}/{each['id']}").status_code == 404
    assert said(api, ticket) == []


@pytest.mark.parametrize("number", ["0", "x", "999999999", str(2**63)])
def test_there_is_no_such_conversation(api: httpx.Client, number: str) -> None:
    for answer in (
        api.put(f"{CONVERSATIONS}/{number}", json={}),
        api.delete(f"{CONVERSATIONS}/{number}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# Files.


def with_files(client: httpx.Client, *files: tuple[str, bytes, str], **data: Any) -> httpx.Response:
    parts = [("attachments[]", file) for file in files]
    return client.post(TICKETS, data={"email": "files@tickets.example"} | data, files=parts)


def test_a_form_says_what_json_says(api: httpx.Client) -> None:
    answer = with_files(
        api,
        ("a.txt", b"A", "text/plain"),
        ("b.png", b"\x89PNG", "image/png"),
        **{
            "status": "3",
            "priority": "2",
            "subject": "Form",
            "cc_emails[]": ["a@b.c", "d@e.f"],
            "tags[]": "one",
        },
    )
    assert answer.status_code == 201, answer.text
    ticket = answer.json()
    assert (ticket["status"], ticket["priority"], ticket["subject"]) == (3, 2, "Form")
    assert (ticket["cc_emails"], ticket["tags"]) == (["a@b.c", "d@e.f"], ["one"])
    assert [each["name"] for each in ticket["attachments"]] == ["a.txt", "b.png"]
    assert [list(each) for each in ticket["attachments"]] == [ATTACHMENT_KEYS] * 2
    assert [each["size"] for each in ticket["attachments"]] == [1, 4]
    text, picture = ticket["attachments"]
    assert (text["thumb_url"], picture["thumb_url"]) == (None, picture["attachment_url"])


def test_a_file_comes_back_at_its_signed_address_alone(api: httpx.Client) -> None:
    content = os.urandom(300_000)
    file = with_files(api, ('../../Füße "1".html', content, "text/html; charset=x")).json()["attachments"][0]
    assert file["name"] == "Füße _1_.html"
    assert file["content_type"] == "text/html"
    address = file["attachment_url"]
    answer = httpx.get(address)
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''F%C3%BC%C3%9Fe")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    parts = urlsplit(address)
    expires, signature = (parse_qs(parts.query)[name][0] for name in ("expires", "signature"))
    assert int(expires) > time.time() + 24 * 3600
    bare = f"{parts.scheme}://{parts.netloc}{parts.path}"
    other = f"{bare[: -len(str(file['id']))]}{file['id'] - 1}"
    for wrong in (
        bare,
        f"{bare}?expires={expires}&signature={'0' * 64}",
        f"{bare}?expires={int(expires) + 3600}&signature={signature}",
        f"{bare}?expires=1&signature={signature}",
        f"{bare}?expires={expires}&signature=é",
        f"{other}?{parts.query}",
        f"{bare}x?{parts.query}",
    ):
        answer = httpx.get(wrong)
        assert (answer.status_code, answer.json()["code"]) == (403, "access_denied"), wrong


def test_files_of_conversations_and_changes(api: httpx.Client) -> None:
    ticket = opened(api)
    path = f"{TICKETS}/{ticket['id']}"
    file = [("attachments[]", ("a.txt", b"A", "text/plain"))]
    made = [api.post(f"{path}/{kind}", data={"body": "Look"}, files=file) for kind in ("reply", "notes")]
    assert [answer.status_code for answer in made] == [201, 201]
    assert [[each["name"] for each in answer.json()["attachments"]] for answer in made] == [["a.txt"]] * 2
    note = made[1].json()
    answer = api.put(f"{CONVERSATIONS}/{note['id']}", data={"body": "More"}, files=file)
    assert len(answer.json()["attachments"]) == 2
    answer = api.put(path, data={"priority": "4"}, files=file)
    assert (answer.json()["priority"], len(answer.json()["attachments"])) == (4, 1)
    assert len(read(api, ticket)["attachments"]) == 1


def test_too_large_files_are_refused(api: httpx.Client) -> None:
    answer = with_files(api, ("a.bin", bytes(MAX_ATTACHMENTS + 1), "application/octet-stream"))
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


def test_files_of_a_refused_request_do_not_stay(server: Installation) -> None:
    folder = server.directory / "attachments"
    assert folder.stat().st_mode & 0o777 == 0o700
    with server.client() as client:
        answer = with_files(client, ("a.txt", b"A", "text/plain"), group_id="99")
        assert faults(answer) == {"group_id": "invalid_value"}
        assert files_in(folder) == []
        assert with_files(client, ("a.txt", b"A", "text/plain")).status_code == 201
    (kept,) = files_in(folder)
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (b"A", 0o600)
    assert kept.name.startswith(kept.parent.name)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_orphans_are_removed_and_nothing_else(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    setting = {"BACKSTORY_ATTACHMENTS": str(folder)}
    installation.start(**setting)
    with installation.client() as client:
        named = with_files(client, ("a.txt", b"A", "text/plain")).json()["attachments"][0]
    installation.stop()
    (kept,) = files_in(folder)
    orphan, young = folder / "ab" / ("ab" + "0" * 30), folder / "cd" / ("cd" + "0" * 30)
    foreign = folder / "ab" / "notes.txt"
    for path in (orphan, young, foreign):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    before = time.time() - 48 * 3600
    for path in (kept, orphan, foreign):
        os.utime(path, (before, before))
    start_tuned(installation, tmp_path, setting, helpdesk__files__LOOK_SECONDS=0.05)
    wait_until(lambda: not orphan.exists(), what="the orphan's removal")
    assert (kept.exists(), young.exists(), foreign.exists()) == (True, True, True)
    address = urlsplit(named["attachment_url"])
    assert httpx.get(f"{installation.url}{address.path}?{address.query}").content == b"A"
    kept.unlink()
    answer = httpx.get(f"{installation.url}{address.path}?{address.query}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_folder_that_cannot_be_made_is_named_at_start(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AssertionError, match="attachments' folder"):
        installation.start(BACKSTORY_ATTACHMENTS=str(tmp_path / "file" / "below"))
