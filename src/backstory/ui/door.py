"""The door to the pages: who is signed in, forms that are really ours, errors as pages."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode, urlsplit

from backstory.errors import (
    AccessDenied,
    FieldErrors,
    InternalError,
    InvalidCredentials,
    MethodNotAllowed,
    RequestError,
)
from backstory.http.message import Request, Response
from backstory.http.routes import Route
from backstory.http.services import Services
from backstory.model.access import Right
from backstory.ui.forms import form_values
from backstory.ui.render import is_partial, redirect, show
from backstory.ui.routes import PAGES
from backstory.ui.visitor import COOKIE, HOME, SIGN_IN, TOKEN_FIELD, is_form_token

TOKEN_HEADER = b"x-csrf-token"
MAX_TOKEN = 100
_READABLE = [re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path)) for route in PAGES if route.method == "GET"]

TITLES = {
    400: "That did not work",
    401: "Please sign in",
    403: "You may not do this",
    404: "There is nothing here",
    405: "That is not possible here",
    409: "That does not fit",
    500: "Something went wrong here",
    503: "Not possible just now",
}


class PageDoor:
    """See `http.dispatch.Door`."""

    async def admit(self, request: Request, services: Services) -> None:
        """Read the visitor's cookie: a session's token, or one that only ties forms to their visitor."""
        token = request.cookie(COOKIE) or ""
        request.token = token if 20 <= len(token) <= MAX_TOKEN else ""
        if request.token:
            request.session = await services.sessions.session(request.token)

    def refuse_stranger(self, request: Request, route: Route) -> None:
        """See `Door.refuse_stranger`."""
        if route.right is not Right.NONE and request.session is None:
            raise InvalidCredentials

    def check_form(self, request: Request) -> None:
        """A form of ours carries a token that only its visitor's pages have."""
        site = request.header(b"sec-fetch-site")
        sent = request.header(TOKEN_HEADER) or form_values(request).get(TOKEN_FIELD, "")
        if site in ("cross-site", "same-site") or not is_form_token(request.token, sent):
            raise AccessDenied("This form has gone stale. Go back, reload the page and try again.")

    def error_page(self, request: Request, error: Exception) -> Response:
        """An error in plain words; whoever is not signed in is led to where that is done."""
        if isinstance(error, InvalidCredentials):
            return self._to_sign_in(request)
        if isinstance(error, MethodNotAllowed) and request.method == "GET":
            page = _page_at(request.path)
            if page != request.path:
                return redirect(_with_query(quote(page), request))
        if isinstance(error, FieldErrors):
            messages = [fault.message for fault in error.faults]
            return self._page(request, error.status, messages, {})
        if isinstance(error, RequestError) and not isinstance(error, InternalError):
            return self._page(request, error.status, [error.message], dict(error.headers))
        told = f"It has been logged as {request.id}. If it happens again, tell whoever runs Backstory here."
        return self._page(request, 500, [told], {})

    def _page(self, request: Request, status: int, messages: list[str], headers: dict[str, str]) -> Response:
        title = TITLES.get(status, TITLES[400])
        return show(
            request, "error.html", status=status, headers=headers, title=title, messages=messages, code=status
        )

    def _to_sign_in(self, request: Request) -> Response:
        back = _with_query(request.path, request) if request.method == "GET" else _page_of(request)
        target = SIGN_IN if back in ("", "/", HOME) else f"{SIGN_IN}?{urlencode({'to': back})}"
        if is_partial(request):  # a part of a page cannot be a sign-in form: the whole page goes there
            return Response(status=200, content_type="text/html", headers={"HX-Redirect": target})
        return redirect(target)


def _with_query(path: str, request: Request) -> str:
    query = request.query()
    return f"{path}?{urlencode(query)}" if query else path


def _page_at(path: str) -> str:
    """The page to read at an address; the one above it where forms alone are sent there.

    A form that comes back with its faults stands at such an address, with links and other forms around it.
    """
    while path and not any(each.fullmatch(path) for each in _READABLE):
        path = path.rpartition("/")[0]
    return path or "/"


def _page_of(request: Request) -> str:
    """The page of ours from which a form was sent; "" where that is not told."""
    try:
        told = urlsplit(request.header(b"referer") or "")
    except ValueError:  # no address at all
        return ""
    return _page_at(told.path) if told.netloc == request.header(b"host") else ""
