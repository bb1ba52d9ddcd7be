"""The customer's side: a plain form that opens a ticket, for anybody, without signing in."""

from __future__ import annotations

from collections.abc import Mapping

from backstory.errors import Code, Fault, FieldErrors, NotFound
from backstory.helpdesk.acting import Acting
from backstory.helpdesk.allowance import Allowance
from backstory.helpdesk.sessions import LIFETIME
from backstory.http.message import Request, Response
from backstory.http.query import is_number
from backstory.http.services import Services
from backstory.http.tickets import NEW_TICKET, as_new, take_requester
from backstory.model.access import AuditEntry
from backstory.model.moment import now
from backstory.model.rich_text import text_to_html
from backstory.model.ticket import NewTicket, TicketSource
from backstory.ui.forms import Form, form_values, read_values, with_faults
from backstory.ui.render import redirect, show
from backstory.ui.visitor import new_token, set_cookie

TICKETS, SECONDS = 5, 600.0
"""So many tickets are opened from one address in so long; whoever has more to say waits, or writes a mail."""

NOBODY = 0
"""A visitor is no agent."""

REQUIRED = {
    "name": "Please tell us your name.",
    "email": "Please tell us where we can answer you.",
    "subject": "Please say in a few words what it is about.",
    "message": "Please tell us what happened.",
}
MAX_ORDER = 100
TRAP = "website"
"""A field that people do not see: whoever fills it in is a program."""

_allowance = Allowance(TICKETS, SECONDS)


def _refuse_where_off(services: Services) -> None:
    if not services.settings.support_form:
        raise NotFound("There is nothing at this address.")


async def read_form(request: Request, services: Services) -> Response:
    """The form."""
    _refuse_where_off(services)
    headers = {}
    if not request.token:
        request.token = new_token()
        headers = set_cookie(request, request.token, LIFETIME // 1_000_000)
    return _page(request, Form(), headers=headers)


def _page(
    request: Request, form: Form, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    values = {"form": form, "trap": TRAP, "session": None}
    return show(request, "support.html", status=status, headers=headers, **values)


async def open_ticket(request: Request, services: Services) -> Response:
    """Open a ticket for whoever wrote."""
    _refuse_where_off(services)
    values = form_values(request)
    if values.get(TRAP):
        return redirect("/support/thanks")
    try:
        return await _open(request, services, _read(values), values)
    except FieldErrors as error:
        form = with_faults(values, error, {"description": "message"})
        return _page(request, form, status=400)


async def _open(request: Request, services: Services, new: NewTicket, values: Mapping[str, str]) -> Response:
    if wait := _allowance.take(request.address):
        message = f"That were many in a short time. Please wait {-(-wait // 60)} minutes and send it again."
        return _page(request, Form(values, {"": message}), status=429, headers={"Retry-After": str(wait)})
    entry = AuditEntry(now(), "visitor", "ticket.create", "ticket", f"page {request.address}")
    ticket = await services.tickets.create(new, Acting(NOBODY, entry))
    return redirect(f"/support/thanks?ticket={ticket.id}")


def _read(values: Mapping[str, str]) -> NewTicket:
    """What was filled in, checked.

    Raises:
        FieldErrors: with everything that is wrong.
    """
    faults = [
        Fault(name, message, Code.MISSING_FIELD)
        for name, message in REQUIRED.items()
        if not values.get(name, "").strip()
    ]
    order = values.get("order", "").strip()
    if len(order) > MAX_ORDER:
        message = f"An order number has at most {MAX_ORDER} characters."
        faults.append(Fault("order", message, Code.INVALID_VALUE))
    if faults:
        raise FieldErrors(faults)
    text = values["message"].strip()
    if order:
        text = f"{text}\n\nOrder number: {order}"
    checked = read_values(
        {
            "name": values["name"],
            "email": values["email"],
            "subject": values["subject"],
            "description": text_to_html(text),
            "source": str(TicketSource.PORTAL.value),
        },
        NEW_TICKET,
    )
    return NewTicket(requester=take_requester(checked), **as_new(checked))


async def read_thanks(request: Request, services: Services) -> Response:
    """What is said once a ticket was opened."""
    _refuse_where_off(services)
    number = dict(request.query()).get("ticket", "")
    return show(request, "support_thanks.html", ticket=number if is_number(number) else "", session=None)
