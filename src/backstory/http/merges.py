"""Merges of contacts: do, list, undo; suggestions: list, accept, dismiss."""

from __future__ import annotations

from typing import Any

from backstory.errors import Code, Fault
from backstory.http.activities import contact_id_of
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, number_in_path
from backstory.http.services import Services
from backstory.model.checks import Field, check_id, check_list, check_object
from backstory.model.contact_form import MERGE_FIELDS

MAX_SECONDARIES = 50

MERGE_REQUEST = check_object(
    {
        "primary_contact_id": Field(check_id, required=True),
        "secondary_contact_ids": Field(check_list(check_id, MAX_SECONDARIES), required=True),
        "contact": Field(check_object(MERGE_FIELDS)),
    }
)


async def merge_contacts(request: Request, services: Services) -> Response:
    """Merge contacts into one."""
    sent = read_form(request, MERGE_REQUEST, _name_some)
    chosen = {name: value for name, value in (sent.get("contact") or {}).items() if value is not None}
    await services.merges.merge(
        sent["primary_contact_id"],
        sent["secondary_contact_ids"],
        chosen,
        agent_id=request.caller.agent_id,
        entry=request.audit("contact.merge", "contact"),
    )
    return no_content()


def _name_some(values: dict[str, Any], faults: list[Fault]) -> None:
    if values.get("secondary_contact_ids") == []:
        faults.append(Fault("secondary_contact_ids", "It needs at least one contact.", Code.INVALID_VALUE))


async def list_merges(request: Request, services: Services) -> Response:
    """The merges that a contact had a part in, newest first."""
    contact_id = contact_id_of(request)
    query = QueryReader(request, PAGED)
    page = read_list_page(query)
    query.finish()
    found = await services.merges.page(contact_id, page.limit, page.offset)
    return list_response(request, page, [merge.answer() for merge in found])


async def undo_merge(request: Request, services: Services) -> Response:
    """Undo a merge."""
    merge_id = number_in_path(request, "merge", "merge_id")
    entry = request.audit("contact.merge_undo", "contact")
    await services.merges.undo(merge_id, agent_id=request.caller.agent_id, entry=entry)
    return no_content()


async def list_suggestions(request: Request, services: Services) -> Response:
    """Who may be the same person as a contact."""
    found = await services.merges.suggestions(contact_id_of(request))
    return json_response([suggestion.answer() for suggestion in found])


async def accept_suggestion(request: Request, services: Services) -> Response:
    """Merge a contact that was suggested."""
    await services.merges.accept(*_pair(request), **_acting(request, "contact.merge"))
    return no_content()


async def dismiss_suggestion(request: Request, services: Services) -> Response:
    """Say that a contact that was suggested is somebody else."""
    await services.merges.dismiss(*_pair(request), **_acting(request, "merge_suggestion.dismiss"))
    return no_content()


def _pair(request: Request) -> tuple[int, int]:
    return contact_id_of(request), number_in_path(request, "contact", "other_id")


def _acting(request: Request, action: str) -> dict[str, Any]:
    return {"agent_id": request.caller.agent_id, "entry": request.audit(action, "contact")}
