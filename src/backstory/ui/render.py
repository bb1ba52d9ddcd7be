"""Making pages from templates: everything is escaped, and nothing runs or is styled from within a page."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from backstory.helpdesk.by_hand import KINDS
from backstory.http.message import Request, Response
from backstory.ui.assets import asset_url, takes_gzip
from backstory.ui.clock import clock_of, duration
from backstory.ui.icons import Sprite
from backstory.ui.rows import source_name
from backstory.ui.visitor import form_token

HTML = "text/html; charset=utf-8"
WORTH_ZIPPING = 1_000

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept-Encoding, HX-Request",
}

_environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["asset_url"] = asset_url
_environment.globals["duration"] = duration
_environment.globals["logged_kinds"] = [(kind, kind.capitalize()) for kind in KINDS]
_environment.filters["kind"] = lambda view: type(view).__name__
_environment.filters["source_name"] = source_name


def show(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """A page, or the part of it that was asked for."""
    text = render(request, template, **values)
    return html_response(request, text, status=status, headers=headers)


def render(request: Request, template: str, **values: Any) -> str:
    """A template's text. Each has the visitor's session, the sprite of icons, and the token for forms."""
    sprite = Sprite()
    preferences = request.session.preferences if request.session else {}
    clock = clock_of(request)
    shared = {
        "icon": sprite.use,
        "sprite": sprite,
        "session": request.session,
        "path": request.path,
        "theme": preferences.get("theme", "system"),
        "shortcuts": preferences.get("shortcuts", "on"),
        "csrf": form_token(request.token),
        "clock": clock,
        "when": clock.when,
    }
    return _environment.get_template(template).render({**shared, **values})


def html_response(
    request: Request, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """HTML with the headers that every page has."""
    body = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode()  # HTML has no U+0000
    all_headers = {**PAGE_HEADERS, **(headers or {})}
    if len(body) >= WORTH_ZIPPING and takes_gzip(request):
        body = gzip.compress(body, 5, mtime=0)
        all_headers["Content-Encoding"] = "gzip"
    return Response(body, status=status, content_type=HTML, headers=all_headers)


def redirect(address: str, headers: Mapping[str, str] | None = None) -> Response:
    """On to another page (303: read it, whatever this was)."""
    return Response(
        status=303, content_type=HTML, headers={**PAGE_HEADERS, "Location": address, **(headers or {})}
    )


def is_partial(request: Request) -> bool:
    """Whether a script of the page asks, and not the browser for a whole page."""
    return request.header(b"hx-request") == "true"
