"""The API documentation, generated from the code and served offline."""

from __future__ import annotations

from backstory.http.message import Request, Response, json_response
from backstory.http.services import Services


async def page(request: Request, services: Services) -> Response:
    """The documentation as a page."""
    return Response(b"", content_type="text/html; charset=utf-8")


async def openapi(request: Request, services: Services) -> Response:
    """The documentation as OpenAPI 3.1."""
    return json_response({})
