"""Takes the pictures of docs/screens/: each page and state, light and dark. `scripts/screenshots` runs it."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.support import Installation
from tests.ui.browser.conftest import FLAGS, PROGRAMS
from tests.ui.browser.story import EMAIL, QUESTION, SUBJECT, Story, publish_story
from tests.ui.pages import signed_in
from tests.ui.test_timeline import HOSTILE, hostile_context

Prepare = Callable[[Page], None]
SIZE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 720}


def open_failed(page: Page) -> None:
    """The failed transaction, opened in its place."""
    row = page.locator(".days .row", has_text="Transaction failed").first
    row.locator("summary").first.click()
    row.locator(".acts").wait_for()


def open_filter(page: Page) -> None:
    page.locator(".tl-head summary", has_text="Filter").click()


def open_log(page: Page) -> None:
    page.locator(".tl-head summary", has_text="Log").click()


def open_keys(page: Page) -> None:
    page.keyboard.press("?")


def write_note(page: Page) -> None:
    page.keyboard.press("n")
    page.keyboard.type("He called twice this morning.")


def nothing(page: Page) -> None:
    return


def open_tickets(api: httpx.Client) -> int:
    """Some tickets; the number of the story's."""
    others = [
        ("ursula@example.com", "Where is my parcel?", 3, 2),
        ("tomás@example.com", "Invoice for October", 2, 1),
        ("amal@example.com", "Wrong size, how do I return it?", 4, 2),
        ("yuki@example.com", "The discount code does not work", 2, 3),
    ]
    for email, subject, status, priority in others:
        ticket = {"email": email.replace("á", "a"), "subject": subject, "description": subject}
        api.post("/api/v2/tickets", json=ticket | {"status": status, "priority": priority})
    theirs: dict[str, Any] = {
        "email": EMAIL,
        "subject": SUBJECT,
        "description": QUESTION,
        "status": 2,
        "priority": 3,
    }
    answer = api.post("/api/v2/tickets", json=theirs)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def publish_hostile(api: httpx.Client) -> int:
    """A contact whose every text is hostile."""
    contact: dict[str, Any] = {"email": "hostile@example.com", "is_actor": False}
    contact_id = 0
    for text in HOSTILE:
        short = text[:250]
        activity = {
            "name": short,
            "description": text[:4000],
            "source": {"name": "shopify"},
            "actor": {"type": "x", "name": short},
            "object": {"type": "order", "id": short},
            "context": hostile_context(text),
        }
        answer = api.post("/api/v2/contact-activities", json={"activity": activity, "contact": contact})
        assert answer.status_code == 200, answer.text
        contact_id = int(answer.json()["contact_id"])
    return contact_id


def screens(story: Story, ticket: int, empty: int, hostile: int) -> dict[str, tuple[str, Prepare]]:
    """Every picture: its address, and what is done there before it is taken."""
    contact = f"/contacts/{story.contact_id}"
    return {
        "tickets": ("/tickets", nothing),
        "ticket": (f"/tickets/{ticket}", open_failed),
        "ticket-new": (f"/tickets/new?contact={story.contact_id}", nothing),
        "contacts": ("/contacts", nothing),
        "contact": (contact, open_failed),
        "contact-filter": (contact, open_filter),
        "contact-log": (contact, open_log),
        "contact-narrowed": (f"{contact}?source=shopify&q=order", nothing),
        "contact-nothing-matches": (f"{contact}?q=nothing", nothing),
        "contact-empty": (f"/contacts/{empty}", nothing),
        "contact-edit": (f"{contact}/edit", nothing),
        "contact-merge": (f"{contact}/merge?other={empty}", nothing),
        "contact-erase": (f"/contacts/{empty}/erase", nothing),
        "contact-hostile": (f"/contacts/{hostile}", nothing),
        "shortcuts": (contact, open_keys),
        "activity": (f"/activities/{story.failed_id}", nothing),
        "activities": ("/activities?name=Transaction+failed", nothing),
        "admin-agents": ("/admin/agents", nothing),
        "admin-agent": ("/admin/agents/2", nothing),
        "admin-keys": ("/admin/keys", nothing),
        "admin-sources": ("/admin/sources", nothing),
        "admin-rejected": ("/admin/rejected", nothing),
        "tickets-nothing-matches": ("/tickets?q=nothing-has-this", nothing),
        "ticket-note": (f"/tickets/{ticket}", write_note),
        "not-found": ("/nothing-here", nothing),
    }


def take(server: Installation, folder: Path, only: list[str]) -> None:
    """Play the story and take the pictures."""
    with server.client() as api:
        story = publish_story(api, datetime.now(UTC) - timedelta(minutes=50))
        ticket, hostile = open_tickets(api), publish_hostile(api)
        new = {"name": "Nora New", "email": "nora@example.com"}
        empty = int(api.post("/api/v2/contacts", json=new).json()["id"])
        api.post("/api/v2/contact-activities", json={"activity": {"name": 7}, "contact": {}})
    with signed_in(server, "admin") as visitor:
        token = visitor.cookies["backstory"]
    cookies = [{"name": "zone", "value": "UTC", "url": server.url}]
    theirs = [*cookies, {"name": "backstory", "value": token, "url": server.url}]
    wanted = screens(story, ticket, empty, hostile)
    program = next(found for name in PROGRAMS if (found := shutil.which(name)))
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            for suffix, size, of in (
                ("", SIZE, list(wanted)),
                ("-phone", PHONE, ["ticket", "contact", "activity", "tickets"]),
            ):
                context = browser.new_context(
                    base_url=server.url, viewport=size, color_scheme=scheme, locale="en-US", timezone_id="UTC"
                )
                context.add_cookies(theirs)  # type: ignore[arg-type]
                page = context.new_page()
                for name in of:
                    if only and name not in only:
                        continue
                    path, prepare = wanted[name]
                    answer = page.goto(path)
                    if answer is not None and answer.status == 404 and name != "not-found":
                        print(f"{name}: there is no {path}")  # noqa: T201  a tool tells what it does
                        continue
                    prepare(page)
                    page.wait_for_load_state("load")
                    page.screenshot(path=folder / f"{name}{suffix}-{scheme}.png")
                context.close()
            context = browser.new_context(base_url=server.url, viewport=SIZE, color_scheme=scheme)
            context.add_cookies(cookies)  # type: ignore[arg-type]
            page = context.new_page()
            for name, path in (
                ("sign-in", "/sign-in"),
                ("support", "/support/new"),
                ("support-thanks", "/support/thanks?ticket=6"),
            ):
                if not only or name in only:
                    page.goto(path)
                    page.screenshot(path=folder / f"{name}-{scheme}.png")
            context.close()
        browser.close()


def main() -> None:
    """Take all, or those that are named."""
    parser = argparse.ArgumentParser(prog="screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=Path("docs/screens"), help="the folder (docs/screens)")
    parser.add_argument("only", nargs="*", metavar="NAME", help="these alone, such as ticket")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        server = Installation(Path(directory)).start()
        try:
            take(server, options.into, options.only)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
