"""A visitor of the pages without a browser: cookies, forms, what stands in the HTML."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx

from tests.support import PASSWORD, Installation

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Visitor(httpx.Client):
    """Keeps cookies, follows nothing by itself, and fills in the token that forms carry."""

    def __init__(self, server: Installation, **headers: str) -> None:
        super().__init__(base_url=server.url, headers=BROWSER | headers, timeout=60)

    def token(self, path: str = "/sign-in") -> str:
        """The token in the forms of a page."""
        found = re.search(r'<meta name="csrf" content="([^"]*)">', self.get(path).text)
        assert found is not None
        return found[1]

    def submit(self, path: str, *, page: str = "/sign-in", **fields: str) -> httpx.Response:
        """Send a form with the token of a page."""
        return self.post(path, data={"csrf": self.token(page), **fields})

    def sign_in(self, role: str = "agent", **fields: str) -> httpx.Response:
        """Sign in as one of the installation's agents."""
        return self.submit("/sign-in", **{"email": f"{role}@example.com", "password": PASSWORD} | fields)


@contextlib.contextmanager
def signed_in(server: Installation, role: str = "agent") -> Iterator[Visitor]:
    """A visitor who is signed in."""
    with Visitor(server) as visitor:
        answer = visitor.sign_in(role)
        assert answer.status_code == 303, answer.text
        yield visitor


class Outline(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
