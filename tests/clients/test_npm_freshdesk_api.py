"""npm's `freshdesk-api` 3.1.0, unchanged, through every call of it that lies in the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node_client import NodeClient, need_node
from tests.http.test_publish import email, unique
from tests.support import Installation

pytestmark = pytest.mark.every_engine


@pytest.fixture(scope="module")
def node(shared_server: Installation) -> Iterator[NodeClient]:
    need_node()
    client = NodeClient(shared_server.url, shared_server.admin_key)
    yield client
    client.close()


def new_ticket(node: NodeClient, **fields: Any) -> Any:
    ticket = {"email": email(), "subject": "Where is it?", "description": "Lost", "status": 2, "priority": 1}
    return node.good("createTicket", ticket | fields)


def new_contact(node: NodeClient, **fields: Any) -> Any:
    return node.good("createContact", {"name": "Rachel Green", "email": email()} | fields)


def test_tickets(node: NodeClient) -> None:
    ticket = new_ticket(node, tags=["a", "b"], cc_emails=[email()])
    assert node.good("getTicket", ticket["id"]) == ticket
    assert node.good("updateTicket", ticket["id"], {"priority": 4, "status": 3})["priority"] == 4
    assert node("deleteTicket", ticket["id"]).data is None
    assert node.good("getTicket", ticket["id"])["deleted"] is True
    assert node("updateTicket", ticket["id"], {"priority": 1}).error["status"] == 405
    assert node("restoreTicket", ticket["id"]).error is None
    assert node.good("getTicket", ticket["id"])["deleted"] is False


def test_tickets_with_attachments(node: NodeClient, tmp_path: Path) -> None:
    file = tmp_path / "picture.txt"
    file.write_bytes(b"A" * 100_000)
    ticket = new_ticket(node, attachments=[{"file": str(file)}], tags=["x", "y"])
    (attachment,) = ticket["attachments"]
    assert (attachment["name"], attachment["size"], ticket["tags"]) == ("picture.txt", 100_000, ["x", "y"])
    assert (ticket["status"], ticket["priority"]) == (2, 1)
    reply = node.good("createReply", ticket["id"], {"body": "Here", "attachments": [{"file": str(file)}]})
    assert [each["size"] for each in reply["attachments"]] == [100_000]


def test_pages_of_tickets(node: NodeClient) -> None:
    mail = email()
    made = [new_ticket(node, email=mail)["id"] for _ in range(3)]
    first = node("listAllTickets", {"email": mail, "per_page": 2, "page": 1})
    second = node("listAllTickets", {"email": mail, "per_page": 2, "page": 2})
    assert (first.extra["pageIsLast"], second.extra["pageIsLast"]) == (False, True)
    assert [ticket["id"] for ticket in first.data + second.data] == made[::-1]
    assert first.extra["requestId"]


def test_conversations(node: NodeClient) -> None:
    ticket = new_ticket(node)["id"]
    reply = node.good("createReply", ticket, {"body": "<p>Soon</p>"})
    note = node.good("createNote", ticket, {"body": "Odd", "private": True})
    assert node.good("updateConversation", note["id"], {"body": "Odder"})["body_text"] == "Odder"
    assert [each["id"] for each in node.good("listAllConversations", ticket)] == [reply["id"], note["id"]]
    assert node("deleteConversation", note["id"]).error is None
    assert [each["id"] for each in node.good("listAllConversations", ticket)] == [reply["id"]]
    assert node.good("listAllTicketTimeEntries", ticket) == []


def test_contacts(node: NodeClient) -> None:
    contact = new_contact(node, tags=["vip"])
    assert node.good("getContact", contact["id"]) == contact
    assert node.good("updateContact", contact["id"], {"job_title": "Chef"})["job_title"] == "Chef"
    listed = node.good("listAllContacts", {"email": contact["email"]})
    assert [each["id"] for each in listed] == [contact["id"]]
    assert node("deleteContact", contact["id"]).error is None
    assert node.good("getContact", contact["id"])["deleted"] is True
    assert node.good("listAllContactFields")[0]["name"] == "name"


def test_agents_and_roles(node: NodeClient) -> None:
    contact = new_contact(node)
    assert node.good("makeAgent", contact["id"])["agent"]["id"] == contact["id"]
    assert node.good("getAgent", contact["id"])["contact"]["email"] == contact["email"]
    assert node.good("updateAgent", contact["id"], {"occasional": True})["occasional"] is True
    assert [each["id"] for each in node.good("listAllAgents", {"email": contact["email"]})] == [contact["id"]]
    assert node("deleteAgent", contact["id"]).error is None
    assert node.good("currentAgent")["contact"]["email"] == "admin@example.com"
    roles = node.good("listAllRoles")
    assert node.good("getRole", roles[0]["id"]) == roles[0]


def test_companies(node: NodeClient) -> None:
    name = unique("Central Perk ")
    company = node.good("createCompany", {"name": name, "domains": [f"{unique('d')}.example.com"]})
    assert node.good("getCompany", company["id"]) == company
    assert {"id": company["id"], "name": name} in node.good("searchCompany", {"name": "central"})["companies"]
    assert node.good("updateCompany", company["id"], {"note": "Cups"})["note"] == "Cups"
    assert isinstance(node.good("listAllCompanies", {"page": 1}), list)
    assert node.good("listAllCompanyFields")[0]["name"] == "name"
    assert node("deleteCompany", company["id"]).error is None
    assert node("getCompany", company["id"]).error["status"] == 404


def test_searches(node: NodeClient) -> None:
    tag, domain = unique("tag"), f"{unique('d')}.example.com"
    ticket, contact = new_ticket(node, tags=[tag])["id"], new_contact(node, tags=[tag])["id"]
    company = node.good("createCompany", {"name": unique("Company"), "domains": [domain]})["id"]
    query = f"tag:'{tag}' AND (priority:1 OR priority:2)"
    found = node.good("filterTickets", query, 1)
    assert (found["total"], [each["id"] for each in found["results"]]) == (1, [ticket])
    found = node.good("filterContacts", f"tag:'{tag}' AND created_at:>'2020-01-01'")
    assert (found["total"], [each["id"] for each in found["results"]]) == (1, [contact])
    found = node.good("filterCompanies", f"domain:'{domain}'")
    assert (found["total"], [each["id"] for each in found["results"]]) == (1, [company])


def test_fields_of_tickets(node: NodeClient) -> None:
    (status,) = node.good("listAllTicketFields", {"type": "default_status"})
    assert status["name"] == "status"


@pytest.mark.parametrize(
    ("call", "args", "status"),
    [
        ("getTicket", [999_999_999], 404),
        ("createTicket", [{"subject": "Nobody"}], 400),
        ("createTicket", [{"email": "a@example.com", "status": "2"}], 400),
        ("filterTickets", ["colour:2", 1], 400),
        ("listAllContacts", [{"per_page": 101}], 400),
    ],
)
def test_errors_reach_the_client(node: NodeClient, call: str, args: list[Any], status: int) -> None:
    error = node(call, *args).error
    assert (error["name"], error["status"]) == ("FreshdeskError", status)
    if status == 400:
        assert error["message"] == "Validation failed"
        assert error["data"]["errors"]


def test_conflicts_reach_the_client(node: NodeClient) -> None:
    contact = new_contact(node)
    error = node("createContact", {"name": "Again", "email": contact["email"]}).error
    assert error["status"] == 409
    assert error["data"]["errors"][0]["additional_info"]["user_id"] == contact["id"]


@pytest.mark.parametrize(("kind", "status"), [("wrong", 401), ("source", 403)])
def test_keys_that_may_not(shared_server: Installation, kind: str, status: int) -> None:
    need_node()
    key = "bs_" + "0" * 48 if kind == "wrong" else shared_server.source_key
    client = NodeClient(shared_server.url, key)
    try:
        assert client("currentAgent").error["status"] == status
    finally:
        client.close()
