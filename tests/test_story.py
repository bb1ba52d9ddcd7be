"""The whole story, in a real browser: a payment fails, its customer writes, an agent sees why and answers.

The agent finds the failure without scrolling, opens it with one click, and asks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.support import PASSWORD, Installation, publish_request
from tests.ui.browser.conftest import launched
from tests.ui.browser.story import EMAIL, NAME, QUESTION, SUBJECT, publish_story

pytestmark = pytest.mark.every_engine

SCREEN: ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture
def browser(server: Installation) -> Iterator[Browser]:
    """A browser that begins after the server and ends with the test."""
    with launched() as browser:
        yield browser


def visit(browser: Browser, server: Installation) -> Page:
    """Somebody at a screen of 1280×800, in UTC."""
    context = browser.new_context(base_url=server.url, viewport=SCREEN, locale="en-US", timezone_id="UTC")
    context.set_default_timeout(20_000)
    return context.new_page()


def sign_in(page: Page, email: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/tickets")


def test_an_agent_answers_without_asking_anything(server: Installation, browser: Browser) -> None:
    failed_at = (datetime.now(UTC) - timedelta(days=1)).replace(hour=14, minute=7, second=0, microsecond=0)
    with server.client() as api:
        story = publish_story(api, failed_at)

        # The customer writes, without an account.
        customer = visit(browser, server)
        customer.goto("/support/new")
        customer.get_by_label("Your name").fill(NAME)
        customer.get_by_label("Your email").fill(EMAIL)
        customer.get_by_label("Subject").fill(SUBJECT)
        customer.get_by_label("What happened").fill(QUESTION)
        customer.get_by_role("button", name="Send").click()
        thanks = customer.get_by_role("main")
        expect(thanks).to_contain_text(re.compile(r"ticket #\d+"))
        number = re.search(r"ticket #(\d+)", thanks.inner_text())
        assert number is not None

        # The agent signs in and opens the ticket: the first click.
        agent = visit(browser, server)
        sign_in(agent, "agent@example.com")
        agent.get_by_role("link", name=SUBJECT).click()
        agent.wait_for_url(f"**/tickets/{number[1]}")
        expect(agent.get_by_text(QUESTION).first).to_be_visible()
        failed = agent.locator(".timeline .row", has_text="Transaction failed").first
        expect(failed).to_be_in_viewport(ratio=1)
        for told in ("2:07 PM", "Transaction for order 84637930: the card was declined", "shopify"):
            expect(failed).to_contain_text(told)
        assert agent.evaluate("scrollY") == 0
        mark = agent.get_by_text("This ticket was opened here")
        expect(mark).to_be_in_viewport()
        above, below = mark.bounding_box(), failed.bounding_box()
        assert above is not None
        assert below is not None
        assert above["y"] < below["y"]

        # The second click: everything about the failure.
        failed.locator("summary").click()
        details = failed.locator(".more")
        for told in (
            "Gucci White Ace Sneakers",
            "Gucci Round Sleeve T-Shirt",
            "50 Dollars",
            "84637930",
            "12401",
        ):
            expect(details).to_contain_text(told)
        link = details.get_by_role("link", name=re.compile("myorderstatus")).first
        expect(link).to_have_attribute("href", "https://myorderstatus.example.com/84637930")
        assert agent.url.partition("?")[0].endswith(f"/tickets/{number[1]}")

        # A second agent looks on, while the shop goes on telling.
        second = visit(browser, server)
        sign_in(second, "admin@example.com")
        second.goto(f"/contacts/{story.contact_id}")
        publish(api, "Payment retried")
        second.get_by_role("button", name=re.compile("1 new")).or_(
            second.locator(".row", has_text="Payment retried")
        ).first.wait_for()

        # The answer.
        agent.keyboard.press("Escape")
        agent.keyboard.press("r")
        expect(agent.get_by_label("Reply")).to_be_focused()
        agent.keyboard.type("Your bank declined it, and nothing was charged.")
        agent.get_by_role("button", name="Send", exact=True).click()
        agent.wait_for_url("**done=reply**")
        expect(agent.locator(".message", has_text="Your bank declined it")).to_be_visible()
        answers = api.get(f"/api/v2/tickets/{number[1]}/conversations").json()
        assert [each["body_text"] for each in answers] == ["Your bank declined it, and nothing was charged."]
    for page in (customer, agent, second):
        page.context.close()


def publish(api: httpx.Client, name: str) -> None:
    answer = api.post("/api/v2/contact-activities", json=publish_request(name=name, contact={"email": EMAIL}))
    assert answer.status_code == 200, answer.text
