"""The contacts' pages."""

from __future__ import annotations

from backstory.errors import Code, Fault, FieldErrors
from backstory.helpdesk.by_hand import check_logged, log_activity
from backstory.http.activities import contact_id_of
from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.model.json_text import shorten
from backstory.ui.clock import clock_of
from backstory.ui.forms import form_values
from backstory.ui.render import redirect, show
from backstory.ui.timeline import read_timeline
from backstory.ui.visitor import safe_address


async def read_contact(request: Request, services: Services) -> Response:
    """A contact with their timeline."""
    contact = await services.timeline.contact(contact_id_of(request))
    timeline = await read_timeline(request, services, contact)
    return show(request, "contact.html", contact=contact, timeline=timeline)


async def log_by_hand(request: Request, services: Services) -> Response:
    """Record an activity by hand."""
    contact = await services.timeline.contact(contact_id_of(request))
    assert request.session is not None, "the route asks for an agent"
    form = form_values(request)
    logged = check_logged(form, _read_time(request, form.get("at", "")))
    await log_activity(services.store.records, contact, request.session, logged)
    services.hub.notify_commit()
    return redirect(safe_address(form.get("to") or f"/contacts/{contact.id}"))


def _read_time(request: Request, text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return clock_of(request).read_local(text)
    except (ValueError, OverflowError):
        message = f"{shorten(text)} is not a date and time."
        raise FieldErrors([Fault("at", message, Code.INVALID_VALUE)]) from None
