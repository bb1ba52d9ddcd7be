"""PyPI's `python-freshdesk` 1.3.9, unchanged, through every call of it that lies in the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from freshdesk.v2.api import API  # type: ignore[import-untyped]  # it has no types
from freshdesk.v2.errors import (  # type: ignore[import-untyped]  # it has no types
    FreshdeskAccessDenied,
    FreshdeskBadRequest,
    FreshdeskError,
    FreshdeskNotFound,
    FreshdeskUnauthorized,
)

from tests.http.test_publish import email, unique
from tests.support import Installation, publish_request

pytestmark = pytest.mark.every_engine


def connect(installation: Installation, key: str) -> Any:
    """The client, pointed at a server: it knows no other way."""
    client = API("acme.freshdesk.com", key)
    client._api_prefix = f"{installation.url}/api/v2/"
    return client


@pytest.fixture
def client(shared_server: Installation) -> Any:
    return connect(shared_server, shared_server.admin_key)


def new_ticket(client: Any, **fields: Any) -> Any:
    return client.tickets.create_ticket("Where is it?", email=fields.pop("email", email()), **fields)


def new_contact(client: Any, **fields: Any) -> Any:
    return client.contacts.create_contact(name="Rachel Green", email=fields.pop("email", email()), **fields)


def test_tickets(client: Any) -> None:
    ticket = new_ticket(client, description="<p>Lost</p>", tags=["a", "b"], cc_emails=[email()])
    assert (ticket.status, ticket.priority, ticket.source) == ("open", "low", "portal")
    assert client.tickets.get_ticket(ticket.id).description_text == "Lost"
    changed = client.tickets.update_ticket(ticket.id, status=3, priority=4)
    assert (changed.status, changed.priority) == ("pending", "urgent")
    whole = client.tickets.get_ticket(ticket.id, "stats", "conversations", "requester", "company")
    assert (whole.conversations, whole.requester["id"]) == ([], ticket.requester_id)
    client.tickets.delete_ticket(ticket.id)
    assert client.tickets.get_ticket(ticket.id).deleted is True
    assert ticket.id in [each.id for each in client.tickets.list_deleted_tickets()]
    with pytest.raises(FreshdeskError, match="405"):
        client.tickets.update_ticket(ticket.id, priority=1)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the client leaves its files open
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # and is told so where they end
def test_tickets_with_attachments(client: Any, tmp_path: Path) -> None:
    files = []
    for name in ("one.txt", "zwei ü.txt"):
        (tmp_path / name).write_bytes(b"A" * 70_000)
        files.append(str(tmp_path / name))
    field = client._post("ticket_fields", data=json.dumps({"label": unique("F"), "type": "custom_number"}))
    ticket = new_ticket(
        client, attachments=files, tags=["x", "y"], priority=2, custom_fields={field["name"]: 7}
    )
    assert [each["name"] for each in ticket.attachments] == ["one.txt", "zwei ü.txt"]
    assert (ticket.tags, ticket.priority, ticket.custom_fields[field["name"]]) == (["x", "y"], "medium", 7)


def test_lists_of_tickets_to_their_end(client: Any) -> None:
    mail = email()
    made = [new_ticket(client, email=mail).id for _ in range(3)]
    mine = client.tickets.list_tickets(filter_name=None, email=mail)
    assert [ticket.id for ticket in mine] == made[::-1]
    page = client.tickets.list_tickets(filter_name=None, email=mail, page=2, per_page=2)
    assert [ticket.id for ticket in page] == made[:1]
    since = client.tickets.list_tickets(filter_name=None, updated_since="2020-01-01T00:00:00Z", email=mail)
    assert len(since) == 3
    assert set(made) <= {ticket.id for ticket in client.tickets.list_new_and_my_open_tickets()}
    assert isinstance(client.tickets.list_watched_tickets(), list)


def test_a_hundred_and_more_are_paged_through(client: Any) -> None:
    company = client.companies.create_company(name=unique("Company"))
    made = {new_contact(client, company_id=company.id).id for _ in range(101)}
    assert {each.id for each in client.contacts.list_contacts(company_id=company.id)} == made
    found = client.contacts.filter_contacts(f"company_id:{company.id}")
    assert {each.id for each in found} == made


def test_comments(client: Any) -> None:
    ticket = new_ticket(client).id
    note = client.comments.create_note(ticket, "Odd", private=True)
    reply = client.comments.create_reply(ticket, "<p>Soon</p>", cc_emails=[email()])
    assert (note.source, reply.source, str(reply)) == ("note", "reply", "Soon")
    assert [each.id for each in client.comments.list_comments(ticket)] == [note.id, reply.id]
    assert client.time_entries.list_time_entries(ticket) == []


def test_contacts(client: Any) -> None:
    contact = new_contact(client, tags=["vip"])
    assert client.contacts.get_contact(contact.id).email == contact.email
    assert client.contacts.update_contact(contact.id, job_title="Chef").job_title == "Chef"
    for query in (
        {"email": contact.email},
        {"email": contact.email, "_updated_since": "2020-01-01T00:00:00Z"},
    ):
        assert [each.id for each in client.contacts.list_contacts(**query)] == [contact.id]
    client.contacts.soft_delete_contact(contact.id)
    assert client.contacts.get_contact(contact.id).deleted is True
    client.contacts.restore_contact(contact.id)
    assert not hasattr(client.contacts.get_contact(contact.id), "deleted")
    client.contacts.permanently_delete_contact(contact.id)
    with pytest.raises(FreshdeskNotFound):
        client.contacts.get_contact(contact.id)


def test_merging_contacts(client: Any) -> None:
    kept, merged = new_contact(client), new_contact(client)
    client._post(
        "contacts/merge",
        data=json.dumps({"primary_contact_id": kept.id, "secondary_contact_ids": [merged.id]}),
    )
    assert client.contacts.get_contact(merged.id).id == kept.id
    assert merged.email in client.contacts.get_contact(kept.id).other_emails


def test_agents(client: Any) -> None:
    contact = new_contact(client)
    agent = client.contacts.make_agent(contact.id, occasional=True)
    assert (agent.id, agent.ticket_scope, agent.occasional) == (contact.id, 2, True)
    assert str(client.agents.get_agent(agent.id)) == "Rachel Green"
    changed = client.agents.update_agent(agent.id, occasional=False, contact={"name": "Ray"})
    assert (changed.occasional, str(changed)) == (False, "Ray")
    assert agent.id in [each.id for each in client.agents.list_agents()]
    assert [each.id for each in client.agents.list_agents(email=contact.email)] == [agent.id]
    client.agents.delete_agent(agent.id)
    with pytest.raises(FreshdeskNotFound):
        client.agents.get_agent(agent.id)
    assert client.agents.currently_authenticated_agent().contact["email"] == "admin@example.com"


def test_groups_roles_and_fields(client: Any) -> None:
    name = unique("Group")
    made = client._post("groups", data=json.dumps({"name": name}))
    assert str(client.groups.get_group(made["id"])) == name
    assert name in [str(each) for each in client.groups.list_groups()]
    roles = client.roles.list_roles()
    assert client.roles.get_role(roles[0].id).name == roles[0].name
    (status,) = client.ticket_fields.list_ticket_fields(type="default_status")
    assert status.name == "status"
    assert len(client.ticket_fields.list_ticket_fields()) > 5


def test_companies(client: Any) -> None:
    name, domain = unique("Company"), f"{unique('d')}.example.com"
    company = client.companies.create_company(name=name, domains=[domain], description="Coffee")
    assert client.companies.get_company(company.id).name == name
    assert client.companies.update_company(company.id, note="Cups").note == "Cups"
    assert company.id in [each.id for each in client.companies.list_companies()]
    assert [each.id for each in client.companies.filter_companies(f"domain:'{domain}'")] == [company.id]
    client.companies.delete_company(company.id)
    with pytest.raises(FreshdeskNotFound):
        client.companies.get_company(company.id)


def test_searches_to_their_end(client: Any) -> None:
    tag = unique("tag")
    made = [new_ticket(client, tags=[tag]).id for _ in range(31)]
    assert [each.id for each in client.tickets.filter_tickets(f"tag:'{tag}' AND status:2")] == made[::-1]
    first = client.tickets.filter_tickets(f"tag:'{tag}'", page=2)
    assert [each.id for each in first] == made[:1]


def test_activities(client: Any) -> None:
    published = client._post(
        "contact-activities", data=json.dumps(publish_request(contact={"email": email()}))
    )
    assert published["matched_by"] == "created"
    assert len(client._get(f"contacts/{published['contact_id']}/activities")) == 1


BadCall = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.tickets.get_ticket(999_999_999), FreshdeskNotFound),
        (lambda client: client.contacts.get_contact(999_999_999), FreshdeskNotFound),
        (lambda client: client.tickets.create_ticket("Nobody"), FreshdeskBadRequest),
        (lambda client: new_ticket(client, status="2"), FreshdeskBadRequest),
        (lambda client: new_ticket(client, colour="red"), FreshdeskBadRequest),
        (lambda client: client.tickets.filter_tickets("colour:2"), FreshdeskBadRequest),
        (lambda client: client.contacts.list_contacts(per_page=101), FreshdeskBadRequest),
        (lambda client: client.companies.create_company(), FreshdeskBadRequest),
    ],
)
def test_errors_have_their_class(client: Any, call: BadCall, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(client)


def test_a_conflict_is_an_error_that_names_the_holder(client: Any) -> None:
    contact = new_contact(client)
    with pytest.raises(FreshdeskError, match=str(contact.id)):
        new_contact(client, email=contact.email)


@pytest.mark.parametrize(
    ("kind", "error"), [("wrong", FreshdeskUnauthorized), ("source", FreshdeskAccessDenied)]
)
def test_keys_that_may_not(shared_server: Installation, kind: str, error: type[Exception]) -> None:
    key = "bs_" + "0" * 48 if kind == "wrong" else shared_server.source_key
    with pytest.raises(error):
        connect(shared_server, key).agents.currently_authenticated_agent()
