"""The tickets' pages over HTTP: lists, a ticket, and every form on them, well filled in and not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import Installation
from tests.ui.pages import Outline, Visitor, signed_in


@pytest.fixture
def api(shared_server: Installation) -> Iterator[httpx.Client]:
    with shared_server.client() as client:
        yield client


def open_ticket(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"subject": "My payment failed", "description": "again", "email": "john@example.com"} | fields
    answer = api.post("/api/v2/tickets", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def ticket_of(api: httpx.Client, number: int, include: str = "conversations") -> dict[str, Any]:
    return dict(api.get(f"/api/v2/tickets/{number}", params={"include": include}).json())


def listed(visitor: Visitor, **params: str) -> list[int]:
    page = visitor.get("/tickets", params=params)
    assert page.status_code == 200
    return [int(number) for number in re.findall(r'class="record-link" href="/tickets/(\d+)"', page.text)]


# Lists.


def test_a_new_installation_says_what_to_do_first(server: Installation) -> None:
    with signed_in(server, "admin") as admin, signed_in(server) as agent:
        page = admin.get("/tickets").text
        assert "No tickets yet" in page
        assert "Issue a key" in page
        assert "Issue a key" not in agent.get("/tickets").text


def test_views_show_what_they_say(server: Installation) -> None:
    with server.client() as api, signed_in(server) as agent:
        me = api.get("/api/v2/agents/me", auth=(server.agent_key, "X"))
        number = me.json()["id"] if me.status_code == 200 else 2
        mine = open_ticket(api, responder_id=number)["id"]
        others = open_ticket(api, responder_id=1)["id"]
        nobodys = open_ticket(api)["id"]
        pending = open_ticket(api, status=3)["id"]
        solved = open_ticket(api, status=4, responder_id=1)["id"]
        spam, gone = open_ticket(api)["id"], open_ticket(api)["id"]
        agent.submit(f"/tickets/{spam}/place", page="/tickets", what="spam")
        agent.submit(f"/tickets/{gone}/place", page="/tickets", what="delete")
        agent.submit(f"/tickets/{others}/watch", page="/tickets", watching="yes")
        assert listed(agent) == [solved, pending, nobodys, others, mine]
        assert listed(agent, view="new_and_my_open") == [nobodys, mine]
        assert listed(agent, view="my_open") == [mine]
        assert listed(agent, view="unassigned") == [pending, nobodys]
        assert listed(agent, view="pending") == [pending]
        assert listed(agent, view="resolved") == [solved]
        assert listed(agent, view="watching") == [others]
        assert listed(agent, view="spam") == [spam]
        assert listed(agent, view="deleted") == [gone]
        assert listed(agent, view="nonsense", order="nonsense", page="nonsense") == listed(agent)
        assert listed(agent, order="status")[-1] == solved


def test_a_search_finds_by_subject_requester_email_and_number(api: httpx.Client, agent: Visitor) -> None:
    one = open_ticket(api, subject="Écran cassé", email="zoe@example.com", name="Zoë Quist")["id"]
    two = open_ticket(api, subject="Screen broken", email="max@example.com", name="Max Quist")["id"]
    assert listed(agent, q="ecran") == [one]
    assert listed(agent, q="quist") == [two, one]
    assert listed(agent, q="QUIST scr") == [two]
    assert listed(agent, q="Zoe@example.com") == [one]
    assert listed(agent, q="nothing of the kind") == []
    assert listed(agent, q="...") == []
    assert agent.get("/tickets", params={"q": f"#{one}"}).headers["Location"] == f"/tickets/{one}"
    api.put(f"/api/v2/tickets/{one}", json={"subject": "Another matter"})
    assert listed(agent, q="ecran") == []
    assert listed(agent, q="another zo") == [one]
    page = agent.get("/tickets", params={"q": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in page


def test_a_search_understands_the_language_of_queries(api: httpx.Client, agent: Visitor) -> None:
    urgent = open_ticket(api, subject="Re: tagged", tags=["asked-for"], priority=4)["id"]
    low = open_ticket(api, tags=["asked-for"])["id"]
    assert listed(agent, q="tag:'asked-for'") == [low, urgent]
    assert listed(agent, q="(tag:'asked-for' AND priority:>3)") == [urgent]
    assert listed(agent, q="re: tagged") == [urgent]
    assert listed(agent, q="tag:'asked-for'", page="11") == []
    page = agent.get("/tickets", params={"q": "priority:'high'"})
    assert page.status_code == 200
    assert "priority is compared with a whole number" in page.text


def test_a_long_list_has_pages(server: Installation) -> None:
    with server.client() as api, signed_in(server) as agent:
        numbers = [open_ticket(api)["id"] for _ in range(32)]
        assert listed(agent) == numbers[:1:-1]
        page = agent.get("/tickets").text
        assert 'rel="next" href="/tickets?page=2"' in page
        assert 'rel="prev"' not in page
        assert listed(agent, page="2") == [numbers[1], numbers[0]]
        assert "That was the last page" in agent.get("/tickets?page=9").text
        assert len(listed(agent, q="status:2")) == 30
        assert 'rel="next"' in agent.get("/tickets?q=status:2").text
        assert len(listed(agent, q="status:2", page="2")) == 2
        assert 'rel="next"' not in agent.get("/tickets?q=status:2&page=2").text


# A ticket.


def test_a_ticket_shows_what_was_said_and_nothing_that_harms(api: httpx.Client, agent: Visitor) -> None:
    hostile = (
        '<h1 onclick="x()">Big</h1><script>alert(1)</script><p style="position:fixed">text</p>'
        '<img src="https://spy.example/a.png" alt="a &gt; b"><img src="cid:1"><aside>beside</aside>'
        '<form action="/sign-out"><input name="csrf"></form>'
    )
    ticket = open_ticket(api, subject="<b>Sub</b>", description=hostile, tags=["vip"])
    page = agent.get(f"/tickets/{ticket['id']}").text
    letter = page.partition('<div class="letter" dir="auto">')[2].partition("</article>")[0]
    assert "<script" not in letter
    assert "style=" not in letter
    assert "onclick" not in letter
    assert "<img" not in letter
    assert "<h1" not in letter
    assert "<form" not in letter
    assert "a &gt; b" in letter
    assert "1 picture from elsewhere was" in letter
    assert 'href="https://spy.example/a.png"' in letter
    assert "&lt;b&gt;Sub&lt;/b&gt;" in page
    assert "This ticket was opened here" in page


def test_unknown_tickets_are_not_there(agent: Visitor) -> None:
    for number in ("999999", "x", "0", "9" * 30):
        answer = agent.get(f"/tickets/{number}")
        assert answer.status_code == 404
        assert "There is nothing here" in answer.text


def test_a_reply_is_added_and_says_that_it_was_not_sent(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api)["id"]
    path = f"/tickets/{number}"
    fields = {"body": "We are on it.\n\n1 < 2 & 3", "cc_emails": "boss@example.com, x@example.com"}
    answer = agent.submit(f"{path}/reply", page=path, **fields)
    assert answer.status_code == 303
    assert re.fullmatch(rf"{path}\?done=reply#c-\d+", answer.headers["Location"])
    (reply,) = ticket_of(api, number)["conversations"]
    assert reply["body_text"] == "We are on it.\n\n1 < 2 & 3"
    assert reply["cc_emails"] == ["boss@example.com", "x@example.com"]
    page = agent.get(answer.headers["Location"]).text
    assert "Not sent." in page
    assert "The reply was added." in page


def test_a_reply_can_resolve_the_ticket(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api)["id"]
    agent.submit(f"/tickets/{number}/reply", page="/tickets", body="Done.", then="resolve")
    assert ticket_of(api, number)["status"] == 4


def test_files_go_with_a_reply_and_come_back(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api)["id"]
    data = {"csrf": agent.token("/tickets"), "body": "See the file."}
    files = [
        ("attachments[]", ("bill <1>.txt", b"one", "text/plain")),
        ("attachments[]", ("b.txt", b"two", "text/plain")),
    ]
    answer = agent.post(f"/tickets/{number}/reply", data=data, files=files)
    assert answer.status_code == 303, answer.text
    page = agent.get(f"/tickets/{number}").text
    addresses = re.findall(r'<a href="([^"]*/attachments/[^"]*)" download>', page)
    assert [httpx.get(each.replace("&amp;", "&")).content for each in addresses] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("path", "fields", "field", "kept"),
    [
        ("reply", {"body": "  "}, "body", ""),
        ("reply", {"body": "I wrote <this>", "cc_emails": "no address"}, "cc_emails", "I wrote &lt;this&gt;"),
        ("reply", {"body": "a\0b"}, "body", "a"),
        ("notes", {"body": ""}, "note", ""),
        ("properties", {"status": "99", "tags": "kept tag"}, "status", "kept tag"),
        ("properties", {"responder_id": "999999", "type": "kept type"}, "responder_id", "kept type"),
        ("properties", {"tags": "x" * 400, "type": "kept type"}, "tags", "kept type"),
    ],
)
def test_a_faulty_form_changes_nothing_and_keeps_what_was_written(
    api: httpx.Client, agent: Visitor, path: str, fields: dict[str, str], field: str, kept: str
) -> None:
    ticket = open_ticket(api)
    answer = agent.submit(f"/tickets/{ticket['id']}/{path}", page="/tickets", **fields)
    assert answer.status_code == 400
    assert f'id="w-{field}"' in answer.text
    assert kept in answer.text
    after = ticket_of(api, ticket["id"])
    assert after["conversations"] == []
    assert after["updated_at"] == ticket["updated_at"]


def test_a_note_is_for_agents_alone(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api)["id"]
    agent.submit(f"/tickets/{number}/notes", page="/tickets", body="He sounds angry.")
    (note,) = ticket_of(api, number)["conversations"]
    assert note["private"] is True
    assert note["incoming"] is False
    assert "noted, for agents alone" in agent.get(f"/tickets/{number}").text


def test_a_draft_is_kept_for_whoever_wrote_it(api: httpx.Client, agent: Visitor, admin: Visitor) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    agent.submit(f"{path}/draft", page=path, kind="reply", body="Dear <John>")
    assert "Dear &lt;John&gt;" in agent.get(path).text
    assert "Dear &lt;John&gt;" not in admin.get(path).text
    agent.submit(f"{path}/reply", page=path, body="Dear John")
    assert "Dear &lt;John&gt;" not in agent.get(path).text
    agent.submit(f"{path}/draft", page=path, kind="note", body="a thought")
    agent.submit(f"{path}/draft", page=path, kind="note", body="a thought", then="discard")
    assert "a thought" not in agent.get(path).text


def test_properties_are_changed(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api, tags=["old"], type="Problem")["id"]
    fields = {"status": "3", "priority": "4", "responder_id": "1", "type": "", "tags": "vip, payments,vip"}
    answer = agent.submit(f"/tickets/{number}/properties", page="/tickets", **fields)
    assert answer.headers["Location"] == f"/tickets/{number}?done=properties"
    ticket = ticket_of(api, number)
    assert [ticket[name] for name in ("status", "priority", "responder_id", "type", "tags")] == [
        3,
        4,
        1,
        None,
        ["vip", "payments"],
    ]
    agent.submit(
        f"/tickets/{number}/properties", page="/tickets", **fields | {"responder_id": "", "tags": ""}
    )
    ticket = ticket_of(api, number)
    assert ticket["responder_id"] is None
    assert ticket["tags"] == []
    assert ticket["subject"] == "My payment failed"


def test_deleted_and_spam_tickets_are_read_and_taken_back(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api)["id"]
    path = f"/tickets/{number}"
    for there, back, told in (("delete", "restore", "is deleted"), ("spam", "no_spam", "marked as spam")):
        agent.submit(f"{path}/place", page=path, what=there)
        page = agent.get(path).text
        assert told in page
        assert "composer" not in page
        assert agent.submit(f"{path}/reply", page=path, body="x").status_code == 405
        agent.submit(f"{path}/place", page=path, what=back)
        assert "composer" in agent.get(path).text
    assert agent.submit(f"{path}/place", page=path, what="burn").status_code == 404


def test_tickets_are_merged(api: httpx.Client, agent: Visitor) -> None:
    one, two = open_ticket(api)["id"], open_ticket(api, subject="And again")["id"]
    path = f"/tickets/{one}"
    for wrong in ("", "abc", f"{one}", "999999", "9" * 19):  # the last is larger than any number of ours
        answer = agent.submit(f"{path}/merge", page=path, ticket_ids=wrong)
        assert answer.status_code == 400
        assert 'id="w-ticket_ids"' in answer.text
    answer = agent.submit(f"{path}/merge", page=path, ticket_ids=f"#{two}")
    assert answer.headers["Location"] == f"{path}?done=merge"
    assert "And again" in agent.get(path).text
    assert f'merged into <a href="{path}">#{one}</a>' in agent.get(f"/tickets/{two}").text


def test_a_ticket_is_opened_for_a_contact(api: httpx.Client, agent: Visitor) -> None:
    requester = open_ticket(api, email="ann.by.phone@example.com", name="Ann")["requester_id"]
    page = agent.get(f"/tickets/new?contact={requester}")
    assert "Ann" in page.text
    fields = {"requester_id": str(requester), "subject": "By phone", "body": "She called.\nTwice."}
    fields |= {"priority": "2", "source": "3", "responder_id": "", "tags": "call"}
    answer = agent.submit("/tickets/new", page="/tickets", **fields)
    number = int(re.findall(r"\d+", answer.headers["Location"])[0])
    ticket = ticket_of(api, number)
    assert ticket["requester_id"] == requester
    assert (ticket["source"], ticket["priority"], ticket["tags"]) == (3, 2, ["call"])
    assert ticket["description_text"] == "She called.\nTwice."


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"subject": " "}, "subject"),
        ({"body": ""}, "body"),
        ({"email": ""}, "email"),
        ({"email": "x"}, "email"),
    ],
)
def test_a_faulty_new_ticket_comes_back(agent: Visitor, fields: dict[str, str], field: str) -> None:
    good = {"email": "new@example.com", "subject": "Kept subject", "body": "Kept body"}
    answer = agent.submit("/tickets/new", page="/tickets", **good | fields)
    assert answer.status_code == 400
    assert f'id="w-{field}"' in answer.text
    assert "Kept" in answer.text


def test_there_is_no_ticket_for_a_contact_who_is_not_there(agent: Visitor) -> None:
    for number in ("999999", "x", "9" * 30):
        assert agent.get(f"/tickets/new?contact={number}").status_code == 404


@pytest.mark.parametrize("path", ["reply", "send", "notes", "draft", "properties", "watch", "place", "merge"])
def test_forms_of_a_ticket_need_their_token(api: httpx.Client, agent: Visitor, path: str) -> None:
    ticket = open_ticket(api)
    data = {"body": "x", "what": "delete", "status": "4", "ticket_ids": "1"}
    assert agent.post(f"/tickets/{ticket['id']}/{path}", data=data).status_code == 403
    files = {"attachments[]": ("a.txt", b"x")}
    if path in ("reply", "notes", "draft"):
        assert agent.post(f"/tickets/{ticket['id']}/{path}", data=data, files=files).status_code == 403
    assert ticket_of(api, ticket["id"])["updated_at"] == ticket["updated_at"]


def test_what_led_to_a_ticket_is_seen_however_much_came_after(api: httpx.Client, agent: Visitor) -> None:
    number = open_ticket(api, email="busy@example.com")["id"]
    path = f"/tickets/{number}"
    assert "Back to now" not in agent.get(path).text
    for index in range(5):
        agent.submit(f"{path}/notes", page=path, body=f"note {index}")
        agent.submit(f"{path}/properties", page=path, status=str(2 + index % 2))
    page = agent.get(path).text
    assert "This ticket was opened here" in page
    assert "Back to now" in page
    newest = re.search(r'href="([^"]+)" data-part>.{0,200}?Back to now', page)
    assert newest is not None
    now = Outline(agent.get(newest[1].replace("&amp;", "&")).text).text
    assert "Back to now" not in now
    assert "Note added" in now
