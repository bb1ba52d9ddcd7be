"""Forms, as pages send them."""

from __future__ import annotations

from urllib.parse import parse_qsl

from backstory.http.body import BodyRule
from backstory.http.message import Request

FORM_TYPE = "application/x-www-form-urlencoded"
FORM = BodyRule((FORM_TYPE,), 1024 * 1024)


def form_values(request: Request) -> dict[str, str]:
    """The fields of a form as it was sent; the last of a repeated one counts."""
    if request.content_type != FORM_TYPE:
        return {}
    return dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
