"""The tickets' pages."""

from __future__ import annotations

from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.ui.render import show


async def list_tickets(request: Request, services: Services) -> Response:
    """The tickets."""
    return show(request, "tickets.html")
