"""Conversations (contract 7): replies and notes."""

from __future__ import annotations

from typing import Any

from backstory.errors import FieldErrors, InvalidJson
from backstory.http.forms import read_form
from backstory.http.lists import PAGED, list_response, read_list_page
from backstory.http.message import Request, Response, json_response, no_content
from backstory.http.query import QueryReader, number_in_path
from backstory.http.services import Services
from backstory.http.tickets import CC_EMAILS, acting, check_html, conversation_answer, ticket_id_of
from backstory.model.checks import Check, Field, check_bool, check_email, check_files, check_id, check_object
from backstory.model.conversation import NewNote, NewReply

_BODY = Field(check_html(blank=False), required=True)
REPLY = check_object(
    {
        "body": _BODY,
        "cc_emails": CC_EMAILS,
        "bcc_emails": CC_EMAILS,
        "from_email": Field(check_email),
        "user_id": Field(check_id),
        "attachments": Field(check_files),
    }
)
NOTE = check_object(
    {
        "body": _BODY,
        "private": Field(check_bool),
        "incoming": Field(check_bool),
        "notify_emails": CC_EMAILS,
        "user_id": Field(check_id),
        "attachments": Field(check_files),
    }
)
CONVERSATION_CHANGE = check_object({"body": _BODY, "attachments": Field(check_files)})


async def list_conversations(request: Request, services: Services) -> Response:
    """What was said about a ticket, oldest first."""
    ticket_id = ticket_id_of(request)
    query = QueryReader(request, PAGED)
    page = read_list_page(query)
    found = await services.conversations.page(ticket_id, offset=page.offset, limit=page.limit)
    query.finish()
    return list_response(request, page, [conversation_answer(request, each) for each in found])


async def _read(request: Request, services: Services, check: Check, ticket_id: int) -> dict[str, Any]:
    """What was sent, but for nothing: 404 and 405 go before 400."""
    try:
        values = read_form(request, check)
    except (FieldErrors, InvalidJson):
        await services.tickets.require_changeable(ticket_id)
        raise
    return {name: value for name, value in values.items() if value is not None}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


async def create_reply(request: Request, services: Services) -> Response:
    """Answer a ticket's requester."""
    ticket_id = ticket_id_of(request)
    values = await _read(request, services, REPLY, ticket_id)
    uploads = values.pop("attachments", ())
    new = NewReply(**_tuples(values))
    reply = await services.conversations.reply(ticket_id, new, acting(request, "conversation.reply"), uploads)
    answer = conversation_answer(request, reply) | {"replied_to": list(reply.to_emails)}
    return json_response(answer, status=201, headers=_location(request, reply.id))


async def create_note(request: Request, services: Services) -> Response:
    """Note something on a ticket."""
    ticket_id = ticket_id_of(request)
    values = await _read(request, services, NOTE, ticket_id)
    uploads = values.pop("attachments", ())
    new = NewNote(**_tuples(values))
    note = await services.conversations.note(ticket_id, new, acting(request, "conversation.note"), uploads)
    answer = conversation_answer(request, note) | {"notified_to": list(note.to_emails)}
    return json_response(answer, status=201, headers=_location(request, note.id))


def _location(request: Request, conversation_id: int) -> dict[str, str]:
    """Where the conversation is: beside the tickets."""
    base = request.path.partition("/tickets/")[0]
    return {"Location": request.url(f"{base}/conversations/{conversation_id}")}


async def update_conversation(request: Request, services: Services) -> Response:
    """Change what a note says."""
    conversation_id = number_in_path(request, "conversation")
    try:
        values = read_form(request, CONVERSATION_CHANGE)
    except (FieldErrors, InvalidJson):
        await services.conversations.require_note(conversation_id)  # 404 and 405 go before 400
        raise
    uploads = values.get("attachments") or ()
    entry = acting(request, "conversation.update")
    note = await services.conversations.edit_note(conversation_id, values["body"], entry, uploads)
    return json_response(conversation_answer(request, note))


async def delete_conversation(request: Request, services: Services) -> Response:
    """Remove a reply or a note."""
    await services.conversations.delete(
        number_in_path(request, "conversation"), acting(request, "conversation.delete")
    )
    return no_content()
