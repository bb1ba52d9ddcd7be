"""Every page, on one screen. They are served beside the API, whose list is `http/routes.py`."""

from __future__ import annotations

from backstory.http.body import BodyRule
from backstory.http.routes import EVENTS, Handler, Route
from backstory.model.access import Right
from backstory.ui import activities, admin, assets, contacts, live, signing_in, support, tickets
from backstory.ui.forms import FORM, FORM_WITH_FILES

STATIC_TYPES = ("text/css", "text/javascript", "image/svg+xml")


def page(
    method: str,
    path: str,
    right: Right,
    handler: Handler,
    body: BodyRule | None = None,
    answers: tuple[str, ...] = ("text/html",),
) -> Route:
    """A page, or what a form on one is sent to."""
    return Route(method, path, right, handler, body, answers=answers, page=True)


PAGES: tuple[Route, ...] = (
    page("GET", "/", Right.NONE, signing_in.read_home),
    page("GET", "/sign-in", Right.NONE, signing_in.read_sign_in),
    page("POST", "/sign-in", Right.NONE, signing_in.sign_in, FORM),
    page("POST", "/sign-out", Right.NONE, signing_in.sign_out, FORM),
    page("POST", "/preferences", Right.READ, signing_in.save_preferences, FORM),
    page("GET", "/tickets", Right.READ, tickets.list_tickets),
    page("GET", "/contacts", Right.READ, contacts.list_contacts),
    page("GET", "/contacts/new", Right.READ, contacts.read_new),
    page("POST", "/contacts/new", Right.READ, contacts.add_contact, FORM),
    page("GET", "/contacts/{id}", Right.READ, contacts.read_contact),
    page("GET", "/contacts/{id}/edit", Right.READ, contacts.read_edit),
    page("POST", "/contacts/{id}/edit", Right.READ, contacts.save_contact, FORM),
    page("POST", "/contacts/{id}/place", Right.READ, contacts.change_place, FORM),
    page("GET", "/contacts/{id}/merge", Right.READ, contacts.read_merge),
    page("POST", "/contacts/{id}/merge", Right.READ, contacts.merge, FORM),
    page("POST", "/contacts/{id}/merges/{merge_id}/undo", Right.ADMIN, contacts.undo_merge, FORM),
    page("GET", "/contacts/{id}/erase", Right.ADMIN, contacts.read_erase),
    page("POST", "/contacts/{id}/erase", Right.ADMIN, contacts.erase, FORM),
    page("POST", "/contacts/{id}/dismiss", Right.READ, contacts.dismiss_suggestion, FORM),
    page("POST", "/contacts/{id}/activities", Right.READ, contacts.log_by_hand, FORM),
    page("GET", "/contacts/{id}/timeline/stream", Right.READ, live.stream_timeline, answers=EVENTS),
    page("GET", "/activities", Right.READ, activities.find),
    page("GET", "/activities/{id}", Right.READ, activities.read_page),
    page("GET", "/activities/{id}/details", Right.READ, activities.read_part),
    page("POST", "/activities/{id}/pin", Right.READ, activities.pin, FORM),
    page("POST", "/activities/{id}/unpin", Right.READ, activities.unpin, FORM),
    page("POST", "/activities/{id}/delete", Right.ADMIN, activities.delete, FORM),
    page("GET", "/tickets/new", Right.READ, tickets.read_new),
    page("POST", "/tickets/new", Right.READ, tickets.open_ticket, FORM_WITH_FILES),
    page("GET", "/tickets/{id}", Right.READ, tickets.read_ticket),
    page("POST", "/tickets/{id}/reply", Right.READ, tickets.reply, FORM_WITH_FILES),
    page("POST", "/tickets/{id}/send", Right.READ, tickets.send_again, FORM),
    page("POST", "/tickets/{id}/notes", Right.READ, tickets.add_note, FORM_WITH_FILES),
    page("POST", "/tickets/{id}/draft", Right.READ, tickets.save_draft, FORM_WITH_FILES),
    page("POST", "/tickets/{id}/properties", Right.READ, tickets.change_properties, FORM),
    page("POST", "/tickets/{id}/watch", Right.READ, tickets.watch, FORM),
    page("POST", "/tickets/{id}/place", Right.READ, tickets.change_place, FORM),
    page("POST", "/tickets/{id}/merge", Right.READ, tickets.merge, FORM),
    page("GET", "/support/new", Right.NONE, support.read_form),
    page("POST", "/support/new", Right.NONE, support.open_ticket, FORM),
    page("GET", "/support/thanks", Right.NONE, support.read_thanks),
    page("GET", "/admin", Right.ADMIN, admin.read_home),
    page("GET", "/admin/agents", Right.ADMIN, admin.list_agents),
    page("POST", "/admin/agents", Right.ADMIN, admin.add_agent, FORM),
    page("GET", "/admin/agents/{id}", Right.ADMIN, admin.read_agent),
    page("POST", "/admin/agents/{id}", Right.ADMIN, admin.change_agent, FORM),
    page("GET", "/admin/keys", Right.ADMIN, admin.list_keys),
    page("POST", "/admin/keys", Right.ADMIN, admin.issue_key, FORM),
    page("POST", "/admin/keys/{id}/revoke", Right.ADMIN, admin.revoke_key, FORM),
    page("GET", "/admin/sources", Right.ADMIN, admin.list_sources),
    page("POST", "/admin/sources", Right.ADMIN, admin.save_source, FORM),
    page("GET", "/admin/rejected", Right.ADMIN, admin.list_rejected),
    page("GET", "/admin/audit", Right.ADMIN, admin.list_audit),
    Route("GET", "/static/{name}", Right.NONE, assets.read_asset, answers=STATIC_TYPES),
)
