"""The documentation of the API, as a page and as OpenAPI: made once at start (`manual.py`), served from memory."""

from __future__ import annotations

from backstory.http.message import Request, Response
from backstory.http.services import Services

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def read_page(request: Request, services: Services) -> Response:
    """The documentation as a page."""
    page = services.documentation.page(request.url(""))
    return Response(page, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


async def read_style(request: Request, services: Services) -> Response:
    """The page's style sheet."""
    return Response(
        services.documentation.style,
        content_type="text/css; charset=utf-8",
        headers={"Cache-Control": "no-cache"},
    )


async def read_openapi(request: Request, services: Services) -> Response:
    """The documentation as OpenAPI 3.1."""
    return Response(services.documentation.openapi)
