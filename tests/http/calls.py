"""A good call of every route, with whatever it needs made before it: what tests of all routes go through."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from backstory.http.routes import ROUTES, Route
from tests.http.test_publish import email, publish, unique
from tests.support import publish_request


class Call(NamedTuple):
    """What is sent: the path, and the query, the JSON and the files of a form where there are any."""

    path: str
    query: dict[str, str] | None = None
    body: Any = None
    files: dict[str, Any] | None = None


def name_of(route: Route) -> str:
    """A route as tests name it, `/api/v2` left out."""
    return f"{route.method} {route.path.removeprefix('/api/v2')}"


def refused_path(route: Route) -> str:
    """A path of the route whose ids need not exist: who may not is told so before anything is looked for."""
    return re.sub(r"\{\w+\}", "1", route.path)


def good_call(route: Route, admin: httpx.Client) -> Call:
    """A call that succeeds. `admin` makes what it needs."""
    prepare = _PREPARED.get(name_of(route))
    return prepare(_Maker(admin, route.path)) if prepare else Call(route.path)


class _Maker:
    """Makes records, and calls of one route with their ids."""

    def __init__(self, admin: httpx.Client, template: str) -> None:
        self._admin = admin
        self._template = template

    def call(self, number: Any = None, body: Any = None, **query: str) -> Call:
        """A call of the route, with this id in its path."""
        return Call(re.sub(r"\{\w+\}", str(number), self._template), query or None, body)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """What a POST answers."""
        answer = self._admin.post(f"/api/v2{path}", json=body, **more)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    def activity(self) -> Any:
        """A published activity, as publishing answers it."""
        return publish(self._admin, publish_request(contact={"email": email()}))

    def contact(self, **fields: Any) -> int:
        """A new contact's id."""
        return int(self.post("/contacts", {"name": "A", "email": email(), **fields})["id"])

    def deleted_contact(self) -> int:
        """A deleted contact's id."""
        number = self.contact()
        assert self._admin.delete(f"/api/v2/contacts/{number}").status_code == 204
        return number

    def company(self) -> int:
        """A new company's id."""
        return int(self.post("/companies", {"name": unique("Company")})["id"])

    def ticket(self) -> int:
        """A new ticket's id."""
        return int(self.post("/tickets", TICKET())["id"])

    def deleted_ticket(self) -> int:
        """A deleted ticket's id."""
        number = self.ticket()
        assert self._admin.delete(f"/api/v2/tickets/{number}").status_code == 204
        return number

    def note(self) -> int:
        """A note's id."""
        return int(self.post(f"/tickets/{self.ticket()}/notes", {"body": "Odd"})["id"])

    def agent(self) -> int:
        """A new agent's id."""
        return int(self.post("/agents", {"email": email()})["id"])

    def group(self) -> int:
        """A new group's id."""
        return int(self.post("/groups", {"name": unique("Group")})["id"])

    def merge(self) -> int:
        """The number of a merge of two contacts."""
        primary = self.contact()
        body = {"primary_contact_id": primary, "secondary_contact_ids": [self.contact()]}
        assert self._admin.post("/api/v2/contacts/merge", json=body).status_code == 204
        return int(self._admin.get(f"/api/v2/contacts/{primary}/merges").json()[0]["id"])

    def suggestion(self) -> Call:
        """A call about two contacts whom a publication named both."""
        mail, twitter = email(), unique()
        one, other = self.contact(email=mail), self.contact(twitter_id=twitter)
        publish(self._admin, publish_request(contact={"email": mail, "twitter_id": twitter}))
        return Call(self._template.replace("{id}", str(one)).replace("{other_id}", str(other)))

    def csv(self) -> Call:
        """A call that imports a file."""
        rows = f"name,email\n{unique('Company')},{email()}\n" if "contacts" in self._template else "name\nA\n"
        return Call(self._template, files={"file": ("rows.csv", rows.encode(), "text/csv")})

    def attachment(self) -> str:
        """The signed path of a file."""
        files = {"attachments[]": ("a.txt", b"A")}
        answer = self._admin.post("/api/v2/tickets", data={"email": email()}, files=files)
        address = str(answer.json()["attachments"][0]["attachment_url"])
        return address.removeprefix(str(self._admin.base_url).rstrip("/"))


def TICKET() -> dict[str, Any]:  # noqa: N802 - a fresh one each time, read like a constant
    """A good ticket."""
    return {"email": email(), "subject": "Where is it?"}


_PREPARED: dict[str, Callable[[_Maker], Call]] = {
    "POST /contact-activities": lambda make: make.call(body=publish_request(contact={"email": email()})),
    "POST /contact-activities/batch": lambda make: make.call(body={"activities": []}),
    "GET /contact-activities/{id}": lambda make: make.call(make.activity()["id"]),
    "DELETE /contact-activities/{id}": lambda make: make.call(make.activity()["id"]),
    "GET /contacts/{id}/activities": lambda make: make.call(make.activity()["contact_id"]),
    "GET /contacts/{id}/activities/stream": lambda make: make.call(make.activity()["contact_id"]),
    "POST /contacts": lambda make: make.call(body={"name": "A", "email": email()}),
    "GET /contacts/autocomplete": lambda make: make.call(term="rachel"),
    "GET /contacts/{id}": lambda make: make.call(make.contact()),
    "PUT /contacts/{id}": lambda make: make.call(make.contact(), {"job_title": "Chef"}),
    "DELETE /contacts/{id}": lambda make: make.call(make.contact()),
    "DELETE /contacts/{id}/hard_delete": lambda make: make.call(make.contact(), force="true"),
    "PUT /contacts/{id}/restore": lambda make: make.call(make.deleted_contact()),
    "PUT /contacts/{id}/send_invite": lambda make: make.call(make.contact()),
    "POST /contacts/merge": lambda make: make.call(
        body={"primary_contact_id": make.contact(), "secondary_contact_ids": [make.contact()]}
    ),
    "GET /contacts/{id}/merges": lambda make: make.call(make.contact()),
    "POST /contacts/merges/{merge_id}/undo": lambda make: make.call(make.merge()),
    "GET /contacts/{id}/merge_suggestions": lambda make: make.call(make.contact()),
    "POST /contacts/{id}/merge_suggestions/{other_id}/accept": lambda make: make.suggestion(),
    "POST /contacts/{id}/merge_suggestions/{other_id}/dismiss": lambda make: make.suggestion(),
    "POST /contacts/import": lambda make: make.csv(),
    "POST /companies/import": lambda make: make.csv(),
    "POST /companies": lambda make: make.call(body={"name": unique("Company")}),
    "GET /companies/autocomplete": lambda make: make.call(name="central"),
    "GET /companies/{id}": lambda make: make.call(make.company()),
    "PUT /companies/{id}": lambda make: make.call(make.company(), {"note": "Big cups"}),
    "DELETE /companies/{id}": lambda make: make.call(make.company()),
    "POST /tickets": lambda make: make.call(body=TICKET()),
    "POST /tickets/bulk_update": lambda make: make.call(
        body={"bulk_action": {"ids": [make.ticket()], "properties": {"priority": 2}}}
    ),
    "POST /tickets/bulk_delete": lambda make: make.call(body={"bulk_action": {"ids": [make.ticket()]}}),
    "GET /jobs/{id}": lambda make: make.call(
        make.post("/tickets/bulk_delete", {"bulk_action": {"ids": [make.ticket()]}})["job_id"]
    ),
    "PUT /tickets/merge": lambda make: make.call(
        body={"primary_id": make.ticket(), "ticket_ids": [make.ticket()]}
    ),
    "GET /tickets/{id}": lambda make: make.call(make.ticket()),
    "PUT /tickets/{id}": lambda make: make.call(make.ticket(), {"priority": 2}),
    "DELETE /tickets/{id}": lambda make: make.call(make.ticket()),
    "PUT /tickets/{id}/restore": lambda make: make.call(make.deleted_ticket()),
    "GET /tickets/{id}/satisfaction_ratings": lambda make: make.call(make.ticket()),
    "GET /tickets/{id}/time_entries": lambda make: make.call(make.ticket()),
    "GET /tickets/{id}/conversations": lambda make: make.call(make.ticket()),
    "POST /tickets/{id}/reply": lambda make: make.call(make.ticket(), {"body": "Soon"}),
    "POST /tickets/{id}/notes": lambda make: make.call(make.ticket(), {"body": "Odd"}),
    "PUT /conversations/{id}": lambda make: make.call(make.note(), {"body": "Odder"}),
    "DELETE /conversations/{id}": lambda make: make.call(make.note()),
    "POST /agents": lambda make: make.call(body={"email": email()}),
    "GET /agents/autocomplete": lambda make: make.call(term="admin"),
    "GET /agents/{id}": lambda make: make.call(make.agent()),
    "PUT /agents/{id}": lambda make: make.call(make.agent(), {"occasional": True}),
    "DELETE /agents/{id}": lambda make: make.call(make.agent()),
    "PUT /contacts/{id}/make_agent": lambda make: make.call(make.contact()),
    "POST /groups": lambda make: make.call(body={"name": unique("Group")}),
    "GET /groups/{id}": lambda make: make.call(make.group()),
    "PUT /groups/{id}": lambda make: make.call(make.group(), {"description": "Knows"}),
    "DELETE /groups/{id}": lambda make: make.call(make.group()),
    "GET /roles/{id}": lambda make: make.call(1),
    **{
        f"POST /{what}_fields": lambda make: make.call(body={"label": unique("F"), "type": "custom_text"})
        for what in ("ticket", "contact", "company")
    },
    "GET /search/contacts": lambda make: make.call(query='"active:false"'),
    "GET /search/tickets": lambda make: make.call(query='"status:2"'),
    "GET /search/companies": lambda make: make.call(query='"domain:null"'),
    **{
        name_of(route): lambda make: Call(make.attachment())
        for route in ROUTES
        if "/attachments/" in route.path
    },
}
"""How a route is called well; one that is not here is called as it is."""
