"""A real browser: Debian's Chromium, headless. Where it is not installed these tests skip; with CI=true they fail.

Not pytest-playwright's own fixtures: they keep Playwright's event loop running to the end of the session, and tests
that run one of their own cannot start after that. These end with the file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers.programs import missing
from tests.support import Installation
from tests.ui.pages import signed_in

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    " --disable-sync"
).split()

Open = Callable[..., Page]
"""Open a page of an agent who is signed in; keyword arguments are those of a browser context."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a file."""
    with launched() as browser:
        yield browser


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser. While it runs no other event loop can begin in this thread."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        missing("Chromium is not installed (on Debian: apt install chromium)")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, shared_server: Installation) -> Iterator[Open]:
    """Opens pages, each in a browser of its own; what a page complains of fails the test."""
    complaints: list[str] = []
    contexts = []

    def open_as(role: str | None = "agent", path: str = "/tickets", **options: object) -> Page:
        usual = {
            "base_url": shared_server.url,
            "locale": "en-US",
            "timezone_id": "UTC",
            "viewport": {"width": 1280, "height": 800},
        }
        context = chromium.new_context(**(usual | options))  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(20_000)
        cookies = [{"name": "zone", "value": "UTC", "url": shared_server.url}]
        if role is not None:
            with signed_in(shared_server, role) as visitor:
                token = visitor.cookies["backstory"]
            cookies.append({"name": "backstory", "value": token, "url": shared_server.url})
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", lambda message: _note(complaints, message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert complaints == []


def _note(complaints: list[str], kind: str, text: str) -> None:
    # Chromium says so of every answer that is an error; the tests look at those themselves.
    if kind in ("error", "warning") and "Failed to load resource" not in text:
        complaints.append(text)
