"""Attachments: their signed addresses, and the files behind them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from backstory.errors import AccessDenied
from backstory.http.message import Request, Response
from backstory.http.query import QueryReader, is_number
from backstory.http.services import Services
from backstory.model.attachment import Attachment
from backstory.model.moment import now

PATH = "/attachments/{id}"
SIGNED = ("expires", "signature")


def attachment_answer(request: Request, attachment: Attachment) -> dict[str, Any]:
    """An attachment with an absolute address that needs no key, for a while."""
    expires, signature = attachment.sign(now())
    path = PATH.replace("{id}", str(attachment.id))
    return attachment.answer(request.url(path, [("expires", str(expires)), ("signature", signature)]))


async def get_attachment(request: Request, services: Services) -> Response:
    """An attachment's bytes."""
    query = QueryReader(request, SIGNED)
    expires, signature = query.text("expires") or "", query.text("signature") or ""
    number = request.path_values["id"]
    found = None
    if is_number(number) and is_number(expires):
        found = await services.attachments.find(int(number))
    if found is None or not found.is_signed(int(expires), signature, now()):
        # The same for one that is not there: nobody learns which numbers there are.
        raise AccessDenied(
            "This address is not complete, or not in force any more: read the record again for a new one."
        )
    name = quote(found.name, safe="")
    return Response(
        await services.attachments.read(found),
        content_type=found.content_type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, max-age=3600",
        },
    )
