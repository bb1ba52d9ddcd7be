"""What an admin reads: refused requests and the audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from backstory.http.message import Request, Response, json_response
from backstory.http.query import QueryReader
from backstory.http.services import Services
from backstory.model.moment import format_moment
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE

LIST_PARAMETERS = ("before", "per_page")


async def list_rejected(request: Request, services: Services) -> Response:
    """Refused publish requests, newest first."""
    await services.rejected.flush()
    return await _list(request, services.store.records.rejections)


async def list_audit(request: Request, services: Services) -> Response:
    """The audit log, newest first."""
    return await _list(request, services.store.records.audit_page)


async def _list(
    request: Request, read: Callable[[int | None, int], Awaitable[Sequence[tuple[int, Any]]]]
) -> Response:
    query = QueryReader(request, LIST_PARAMETERS)
    per_page = query.number("per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    before = query.number("before", 2**63 - 1, 2**63 - 1)
    query.finish()
    rows = await read(before, per_page + 1)
    headers = {}
    if len(rows) > per_page:
        kept = [(name, value) for name, value in request.query() if name != "before"]
        url = request.url(request.path, [*kept, ("before", str(rows[per_page - 1][0]))])
        headers["Link"] = f'<{url}>; rel="next"'
    return json_response([_shown(number, item) for number, item in rows[:per_page]], headers=headers)


def _shown(number: int, item: Any) -> dict[str, Any]:
    return {"id": number, **msgspec.to_builtins(item), "at": format_moment(item.at)}
