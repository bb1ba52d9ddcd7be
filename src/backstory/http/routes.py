"""Every URL of the API, on one screen. The dispatcher, the API documentation and the rights test read this list.

The pages have a list of their own, `ui/routes.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from backstory.http import (
    activities,
    admin,
    agents,
    attachments,
    companies,
    contacts,
    conversations,
    csv_files,
    docs,
    fields,
    jobs,
    merges,
    search,
    service,
    tickets,
)
from backstory.http.body import BodyRule
from backstory.http.message import EVENT_STREAM_TYPE, FORM_TYPE, JSON_TYPE, NDJSON_TYPE, Request, Response
from backstory.http.services import Services
from backstory.model.access import Right

Handler = Callable[[Request, Services], Awaitable[Response]]


class Route(NamedTuple):
    """A verb and a path: who may, what it takes, what it answers, who handles it.

    A `page` is for people: they are known by a cookie instead of a key, and told of an error by a page.
    """

    method: str
    path: str
    right: Right
    handler: Handler
    body: BodyRule | None = None
    answers: tuple[str, ...] = (JSON_TYPE,)
    page: bool = False


ACTIVITY = BodyRule((JSON_TYPE,), 1024 * 1024)
BATCH = BodyRule((JSON_TYPE, NDJSON_TYPE), 10 * 1024 * 1024)
RECORD = BodyRule((JSON_TYPE,), 1024 * 1024)
OPTIONAL = BodyRule((JSON_TYPE,), 1024 * 1024, optional=True)
WITH_FILES = BodyRule((JSON_TYPE, FORM_TYPE), 1024 * 1024, files=20 * 1024 * 1024)
CSV_FILE = BodyRule((FORM_TYPE,), 1024 * 1024, files=20 * 1024 * 1024)
WITH_AVATAR = BodyRule((JSON_TYPE, FORM_TYPE), 1024 * 1024, files=5 * 1024 * 1024)
EVENTS, TEXT, HTML, CSS = (EVENT_STREAM_TYPE,), ("text/plain",), ("text/html",), ("text/css",)
ANYTHING = ("*/*",)

API = "/api/v2"
SUGGESTION = f"{API}/contacts/{{id}}/merge_suggestions/{{other_id}}"
METRICS = "/metrics"

ROUTES: tuple[Route, ...] = (
    Route("POST", f"{API}/contact-activities", Right.PUBLISH, activities.publish, ACTIVITY),
    Route("POST", f"{API}/contact-activities/batch", Right.PUBLISH, activities.publish_batch, BATCH),
    Route("GET", f"{API}/contact-activities", Right.READ, activities.find_activities),
    Route("GET", f"{API}/contact-activities/{{id}}", Right.READ, activities.get_activity),
    Route("DELETE", f"{API}/contact-activities/{{id}}", Right.ADMIN, activities.delete_activity),
    Route("GET", f"{API}/contacts/{{id}}/activities", Right.READ, activities.get_timeline),
    Route(
        "GET",
        f"{API}/contacts/{{id}}/activities/stream",
        Right.READ,
        activities.stream_activities,
        answers=EVENTS,
    ),
    Route("POST", f"{API}/contacts", Right.READ, contacts.create_contact, WITH_AVATAR),
    Route("GET", f"{API}/contacts", Right.READ, contacts.list_contacts),
    Route("GET", f"{API}/contacts/autocomplete", Right.READ, contacts.suggest_contacts),
    Route("GET", f"{API}/contacts/{{id}}", Right.READ, contacts.get_contact),
    Route("PUT", f"{API}/contacts/{{id}}", Right.READ, contacts.update_contact, WITH_AVATAR),
    Route("DELETE", f"{API}/contacts/{{id}}", Right.READ, contacts.delete_contact),
    Route("DELETE", f"{API}/contacts/{{id}}/hard_delete", Right.ADMIN, contacts.erase_contact),
    Route("PUT", f"{API}/contacts/{{id}}/restore", Right.READ, contacts.restore_contact),
    Route("PUT", f"{API}/contacts/{{id}}/send_invite", Right.READ, contacts.send_invite),
    Route("POST", f"{API}/contacts/merge", Right.READ, merges.merge_contacts, RECORD),
    Route("GET", f"{API}/contacts/{{id}}/merges", Right.READ, merges.list_merges),
    Route("POST", f"{API}/contacts/merges/{{merge_id}}/undo", Right.ADMIN, merges.undo_merge),
    Route("GET", f"{API}/contacts/{{id}}/merge_suggestions", Right.READ, merges.list_suggestions),
    Route("POST", f"{SUGGESTION}/accept", Right.READ, merges.accept_suggestion),
    Route("POST", f"{SUGGESTION}/dismiss", Right.READ, merges.dismiss_suggestion),
    Route("POST", f"{API}/contacts/import", Right.ADMIN, csv_files.import_contacts, CSV_FILE),
    Route("POST", f"{API}/contacts/export", Right.ADMIN, csv_files.export_contacts),
    Route("POST", f"{API}/companies/import", Right.ADMIN, csv_files.import_companies, CSV_FILE),
    Route("POST", f"{API}/companies/export", Right.ADMIN, csv_files.export_companies),
    Route("POST", f"{API}/companies", Right.READ, companies.create_company, RECORD),
    Route("GET", f"{API}/companies", Right.READ, companies.list_companies),
    Route("GET", f"{API}/companies/autocomplete", Right.READ, companies.suggest_companies),
    Route("GET", f"{API}/companies/{{id}}", Right.READ, companies.get_company),
    Route("PUT", f"{API}/companies/{{id}}", Right.READ, companies.update_company, RECORD),
    Route("DELETE", f"{API}/companies/{{id}}", Right.READ, companies.delete_company),
    Route("POST", f"{API}/tickets", Right.READ, tickets.create_ticket, WITH_FILES),
    Route("GET", f"{API}/tickets", Right.READ, tickets.list_tickets),
    Route("PUT", f"{API}/tickets/merge", Right.READ, tickets.merge_tickets, RECORD),
    Route("GET", f"{API}/tickets/{{id}}", Right.READ, tickets.get_ticket),
    Route("PUT", f"{API}/tickets/{{id}}", Right.READ, tickets.update_ticket, WITH_FILES),
    Route("DELETE", f"{API}/tickets/{{id}}", Right.READ, tickets.delete_ticket),
    Route("PUT", f"{API}/tickets/{{id}}/restore", Right.READ, tickets.restore_ticket),
    Route("GET", f"{API}/tickets/{{id}}/satisfaction_ratings", Right.READ, tickets.list_satisfaction_ratings),
    Route("GET", f"{API}/tickets/{{id}}/time_entries", Right.READ, tickets.list_time_entries),
    Route("GET", f"{API}/tickets/{{id}}/conversations", Right.READ, conversations.list_conversations),
    Route("POST", f"{API}/tickets/{{id}}/reply", Right.READ, conversations.create_reply, WITH_FILES),
    Route("POST", f"{API}/tickets/{{id}}/notes", Right.READ, conversations.create_note, WITH_FILES),
    Route("PUT", f"{API}/conversations/{{id}}", Right.READ, conversations.update_conversation, WITH_FILES),
    Route("DELETE", f"{API}/conversations/{{id}}", Right.READ, conversations.delete_conversation),
    Route("POST", f"{API}/tickets/bulk_update", Right.READ, tickets.update_tickets, RECORD),
    Route("POST", f"{API}/tickets/bulk_delete", Right.READ, tickets.delete_tickets, RECORD),
    Route("GET", f"{API}/jobs/{{id}}", Right.READ, jobs.get_job),
    Route("GET", attachments.PATH, Right.NONE, attachments.get_attachment, answers=ANYTHING),
    Route("POST", f"{API}/agents", Right.ADMIN, agents.create_agent, RECORD),
    Route("GET", f"{API}/agents", Right.ADMIN, agents.list_agents),
    Route("GET", f"{API}/agents/me", Right.READ, agents.get_own_agent),
    Route("GET", f"{API}/agents/autocomplete", Right.ADMIN, agents.suggest_agents),
    Route("GET", f"{API}/agents/{{id}}", Right.ADMIN, agents.get_agent),
    Route("PUT", f"{API}/agents/{{id}}", Right.ADMIN, agents.update_agent, RECORD),
    Route("DELETE", f"{API}/agents/{{id}}", Right.ADMIN, agents.delete_agent),
    Route("PUT", f"{API}/contacts/{{id}}/make_agent", Right.ADMIN, agents.make_agent, OPTIONAL),
    Route("POST", f"{API}/groups", Right.ADMIN, agents.create_group, RECORD),
    Route("GET", f"{API}/groups", Right.READ, agents.list_groups),
    Route("GET", f"{API}/groups/{{id}}", Right.READ, agents.get_group),
    Route("PUT", f"{API}/groups/{{id}}", Right.ADMIN, agents.update_group, RECORD),
    Route("DELETE", f"{API}/groups/{{id}}", Right.ADMIN, agents.delete_group),
    Route("GET", f"{API}/roles", Right.READ, agents.list_roles),
    Route("GET", f"{API}/roles/{{id}}", Right.READ, agents.get_role),
    Route("GET", f"{API}/ticket_fields", Right.ADMIN, fields.list_ticket_fields),
    Route("POST", f"{API}/ticket_fields", Right.ADMIN, fields.create_ticket_field, RECORD),
    Route("GET", f"{API}/contact_fields", Right.ADMIN, fields.list_contact_fields),
    Route("POST", f"{API}/contact_fields", Right.ADMIN, fields.create_contact_field, RECORD),
    Route("GET", f"{API}/company_fields", Right.ADMIN, fields.list_company_fields),
    Route("POST", f"{API}/company_fields", Right.ADMIN, fields.create_company_field, RECORD),
    Route("GET", f"{API}/search/contacts", Right.READ, search.search_contacts),
    Route("GET", f"{API}/search/tickets", Right.READ, search.search_tickets),
    Route("GET", f"{API}/search/companies", Right.READ, search.search_companies),
    Route("GET", f"{API}/rejected-requests", Right.ADMIN, admin.list_rejected),
    Route("GET", f"{API}/audit-log", Right.ADMIN, admin.list_audit),
    Route("GET", "/api/docs", Right.NONE, docs.read_page, answers=HTML),
    Route("GET", "/api/docs.css", Right.NONE, docs.read_style, answers=CSS),
    Route("GET", "/openapi.json", Right.NONE, docs.read_openapi),
    Route("GET", "/healthz", Right.NONE, service.healthz),
    Route("GET", "/readyz", Right.NONE, service.readyz),
    Route("GET", METRICS, Right.NONE, service.metrics, answers=TEXT),
)
