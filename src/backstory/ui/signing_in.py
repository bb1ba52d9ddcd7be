"""Signing in and out, and how an agent wants things shown."""

from __future__ import annotations

from backstory.errors import Code, Fault, FieldErrors
from backstory.helpdesk.sessions import LIFETIME, SignedIn, TooManyTries
from backstory.http.message import Request, Response
from backstory.http.services import Services
from backstory.ui.forms import form_values
from backstory.ui.render import redirect, show
from backstory.ui.visitor import HOME, SIGN_IN, new_token, safe_address, set_cookie

PREFERENCES = {
    "theme": ("system", "light", "dark"),
    "shortcuts": ("on", "off"),
    "zone": ("mine", "contact", "utc"),
}
"""What an agent can choose, and the possible choices; the first is what it is without one."""


async def read_home(request: Request, services: Services) -> Response:
    """The first page is the tickets."""
    return redirect(HOME)


async def read_sign_in(request: Request, services: Services) -> Response:
    """The form to sign in with; on a new installation, what to do first."""
    target = safe_address(_asked_for(request))
    if request.session is not None:
        return redirect(target)
    headers = {}
    if not request.token:
        request.token = new_token()
        headers = set_cookie(request, request.token, LIFETIME // 1_000_000)
    return await _form(request, services, target=target, headers=headers)


def _asked_for(request: Request) -> str:
    return next((value for name, value in request.query() if name == "to"), "")


async def _form(
    request: Request,
    services: Services,
    *,
    target: str,
    email: str = "",
    fault: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    return show(
        request,
        "sign_in.html",
        status=status,
        headers=headers,
        target=target,
        email=email,
        fault=fault,
        is_new=not await services.sessions.has_agents(),
    )


async def sign_in(request: Request, services: Services) -> Response:
    """Begin a session."""
    form = form_values(request)
    email, target = form.get("email", ""), safe_address(form.get("to", ""))
    result = await services.sessions.sign_in(email, form.get("password", ""), request.address)
    if isinstance(result, SignedIn):
        if request.session is not None:
            await services.sessions.sign_out(request.token)
        return redirect(target, set_cookie(request, result.token, LIFETIME // 1_000_000))
    if isinstance(result, TooManyTries):
        fault = f"Too many sign-ins failed. Wait {_waiting(result.seconds)}, then try again."
        return await _form(
            request,
            services,
            target=target,
            email=email,
            fault=fault,
            status=429,
            headers={"Retry-After": str(result.seconds)},
        )
    fault = "There is no agent with this email and password."
    return await _form(request, services, target=target, email=email, fault=fault, status=401)


def _waiting(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} seconds" if seconds != 1 else "a second"
    minutes = -(-seconds // 60)
    return f"{minutes} minutes" if minutes != 1 else "a minute"


async def sign_out(request: Request, services: Services) -> Response:
    """End the session, here and wherever its cookie was copied to."""
    if request.token:
        await services.sessions.sign_out(request.token)
    return redirect(SIGN_IN, set_cookie(request, "", 0))


async def save_preferences(request: Request, services: Services) -> Response:
    """Keep a choice, and go back to where it was made."""
    form = form_values(request)
    changes = {name: form[name] for name in PREFERENCES if name in form}
    faults = [
        Fault(
            name,
            f"'{value[:40]}' is not possible; possible: {', '.join(PREFERENCES[name])}.",
            Code.INVALID_VALUE,
        )
        for name, value in changes.items()
        if value not in PREFERENCES[name]
    ]
    if faults:
        raise FieldErrors(faults)
    await services.sessions.prefer(request.token, changes)
    return redirect(safe_address(form.get("to", "")))
