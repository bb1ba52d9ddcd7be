"""Lists that are paged by number (contract 4.4): `page` from 1, `per_page`, and a Link to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from backstory.http.message import Request, Response, json_response
from backstory.http.query import QueryReader
from backstory.model.page import DEFAULT_PER_PAGE, MAX_PER_PAGE

PAGED = ("page", "per_page")
"""The parameters of every such list."""

_FARTHEST = 2**62


class ListPage(NamedTuple):
    """Which page was asked for. `limit` is one more than it shows: what tells whether there is a next one."""

    number: int
    per_page: int

    @property
    def offset(self) -> int:
        """How many come before it. A page that nothing could fill is a page past the end."""
        return min((self.number - 1) * self.per_page, _FARTHEST)

    @property
    def limit(self) -> int:
        """How many to look for."""
        return self.per_page + 1


def read_list_page(query: QueryReader) -> ListPage:
    """The page that was asked for; what is wrong with it is among the query's faults."""
    number = query.number("page", 1, 2**63 - 1)
    return ListPage(number, query.number("per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE))


def list_response(request: Request, page: ListPage, found: Sequence[Any]) -> Response:
    """A page of what was found, at most `page.limit`, as it is answered."""
    headers = {}
    if len(found) > page.per_page:
        kept = [(name, value) for name, value in request.query() if name != "page"]
        url = request.url(request.path, [*kept, ("page", str(page.number + 1))])
        headers["Link"] = f'<{url}>; rel="next"'
    return json_response(found[: page.per_page], headers=headers)
