"""The workspace in a real browser: each page and state for everybody, keys for everything, forms without scripts."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.support import PASSWORD, publish_request
from tests.ui.browser.conftest import Open
from tests.ui.browser.test_timeline import PHONE, WIDE, check_axe
from tests.ui.test_timeline import HOSTILE

LETTER = (
    "<h1>Hello</h1><p>My payment failed, <b>again</b>.</p><blockquote>On Monday: try again</blockquote>"
    '<ul><li>one</li></ul><p><img src="https://spy.example/a.png"> <a href="https://shop.example/1">order</a></p>'
    "<table width=9000><tr><td>a table</td></tr></table><pre>" + "x" * 500 + "</pre>"
)
NARROW = {"width": 1000, "height": 700}


def open_ticket(api: httpx.Client, **fields: Any) -> dict[str, Any]:
    email = f"{uuid4().hex[:8]}@example.com"
    body = {"subject": "My payment failed", "description": LETTER, "email": email, "name": "John Miller"}
    answer = api.post("/api/v2/tickets", json=body | fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def a_talk(api: httpx.Client) -> dict[str, Any]:
    """A ticket with everything that can be said about one."""
    ticket = open_ticket(api, tags=["vip", "payments"], priority=4)
    for private, incoming in ((True, False), (False, True)):
        note = {"body": f"Said {private}", "private": private, "incoming": incoming}
        assert api.post(f"/api/v2/tickets/{ticket['id']}/notes", json=note).status_code == 201
    reply = {"body": "We are on it.", "cc_emails": ["boss@example.com"]}
    files = {"attachments[]": ("bill.txt", b"x", "text/plain")}
    answer = api.post(
        f"/api/v2/tickets/{ticket['id']}/reply",
        data={"body": reply["body"], "cc_emails[]": "boss@example.com"},
        files=files,
    )
    assert answer.status_code == 201, answer.text
    return ticket


def two_alike(api: httpx.Client) -> tuple[int, int]:
    """Two contacts who may be one, and are suggested as such."""
    mark = uuid4().hex[:8]
    one = {"name": "Ann Lee", "email": f"{mark}@example.com", "phone": "+442079460123", "tags": ["vip"]}
    two = {"name": "Anne Lee", "email": f"{mark}2@example.com", "unique_external_id": mark}
    ids = [int(api.post("/api/v2/contacts", json=each).json()["id"]) for each in (one, two)]
    both = {"email": one["email"], "unique_external_id": mark}
    api.post("/api/v2/contact-activities", json=publish_request(contact=both))
    return ids[0], ids[1]


def look(page: Page, path: str = "") -> None:
    """The page is for everybody, and as wide as its window."""
    if path:
        page.goto(path)
    check_axe(page)
    size = page.viewport_size
    assert size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], page.url


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [("light", WIDE), ("dark", WIDE), ("light", PHONE)],
    ids=["light", "dark", "phone"],
)
def test_every_page_is_for_everybody(
    api: httpx.Client, open_page: Open, scheme: str, viewport: dict[str, int]
) -> None:
    ticket = a_talk(api)
    one, two = two_alike(api)
    rejected = {"activity": {"name": 7, "source": {"name": "shopify"}}, "contact": {}}
    api.post("/api/v2/contact-activities", json=rejected)
    page = open_page("admin", "/tickets", color_scheme=scheme, viewport=viewport)
    for path in (
        "/tickets",
        "/tickets?q=nothing-has-this",
        "/tickets?view=spam",
        "/tickets?page=99",
        "/tickets/new",
        f"/tickets/new?contact={one}",
        f"/tickets/{ticket['id']}",
        f"/tickets/{ticket['id']}?done=reply",
        "/contacts",
        "/contacts?q=lee",
        "/contacts?q=nothing-has-this",
        "/contacts?state=blocked",
        "/contacts/new",
        f"/contacts/{one}",
        f"/contacts/{one}/edit",
        f"/contacts/{one}/merge?q=lee",
        f"/contacts/{one}/merge?other={two}",
        f"/contacts/{two}/erase",
        "/admin/agents",
        "/admin/agents/2",
        "/admin/keys",
        "/admin/sources",
        "/admin/rejected",
        "/admin/audit",
        "/support/new",
        "/support/thanks?ticket=12",
    ):
        look(page, path)
    page.goto("/admin/rejected")
    page.locator(".cards summary").first.click()
    look(page)
    page.goto(f"/tickets/{ticket['id']}")
    page.locator(".ticket-head .menu summary").click()
    look(page)
    page.locator(".pictures summary").first.click()
    page.locator("#write-note > summary").click()
    page.mouse.move(0, 0)
    look(page)


FAULTY = {
    "/tickets/new": {"Requester’s email": "x@example.com", "Subject": " ", "What it is about": " "},
    "/contacts/new": {"Name": "Nobody"},
    "/admin/agents": {"Name": " ", "Email": "x@example.com", "Password": "long enough"},
    "/admin/keys": {"Source names of the application": " "},
    "/support/new": {"Your name": " ", "Your email": "x@example.com", "Subject": " ", "What happened": " "},
}


@pytest.mark.parametrize("path", FAULTY)
def test_what_is_wrong_with_a_form_is_told_to_everybody(open_page: Open, path: str) -> None:
    page = open_page("admin", path, color_scheme="dark", viewport=PHONE)
    form = page.locator(f'form[action="{path}"]')
    for label, text in FAULTY[path].items():
        form.get_by_label(label).fill(text)
    form.get_by_role("button").last.click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("[aria-invalid=true]").first).to_be_visible()
    look(page)
    page.get_by_role("alert").get_by_role("link").first.click()
    expect(page.locator("[aria-invalid=true]").first).to_be_focused()


@pytest.mark.parametrize("width", [360, 390, 700, 900, 1150])
def test_pages_fit_windows_of_any_width(api: httpx.Client, open_page: Open, width: int) -> None:
    ticket = a_talk(api)
    for name in ("shopify", "stripe", "aircall", "a-long-name-of-a-source"):
        contact = {"id": ticket["requester_id"]}
        body = publish_request(contact=contact, source={"name": name}, object={"type": "order", "id": name})
        api.post("/api/v2/contact-activities", json=body)
    company = api.post("/api/v2/companies", json={"name": f"{'W' * 40} {width}"}).json()["id"]
    person = {
        "name": f"Aaa {width}",
        "email": f"w{width}@example.com",
        "tags": ["W" * 32],
        "company_id": company,
    }
    assert api.post("/api/v2/contacts", json=person).status_code == 201
    page = open_page("admin", "/tickets", viewport={"width": width, "height": 700})
    for path in (
        "/tickets",
        f"/tickets/{ticket['id']}",
        "/contacts",
        f"/contacts/{ticket['requester_id']}",
        "/admin/keys",
        "/admin/sources",
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_there_is_room_to_say_what_is_sought(open_page: Open) -> None:
    page = open_page("admin", viewport=WIDE)
    for path in ("/tickets", "/contacts"):
        page.goto(path)
        box = page.locator("#q").bounding_box()
        assert box is not None
        assert box["width"] > WIDE["width"] / 2, path


def test_hostile_letters_break_nothing(api: httpx.Client, open_page: Open) -> None:
    page = open_page("agent")
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    for text in HOSTILE:
        letter = f"<h1>{text[:5000]}</h1><p>{text[:5000]}</p>{text[:5000]}"
        ticket = open_ticket(api, subject=text[:250].replace("\0", ""), description=letter, tags=[text[:30]])
        api.post(f"/api/v2/tickets/{ticket['id']}/notes", json={"body": text[:5000]})
        page.goto(f"/tickets/{ticket['id']}")
        assert page.locator(".letter :is(img, script, iframe, form, input, style)").count() == 0
        for viewport in (WIDE, NARROW, PHONE):
            page.set_viewport_size(viewport)  # type: ignore[arg-type]
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_what_is_written_from_right_to_left_is_read_so(api: httpx.Client, open_page: Open) -> None:
    text, email = "لم يصل طلبي!", f"{uuid4().hex[:8]}@example.com"
    ticket = open_ticket(api, subject=text, description=f"<ul><li>{text}</li></ul>", tags=[text], email=email)
    context = {text: text, "items": [{"a": text}, {"a": text}]}
    activity = {"name": text, "description": text, "context": context}
    published = publish_request(contact={"email": email}, **activity)
    assert api.post("/api/v2/contact-activities", json=published).status_code == 200
    page = open_page(path=f"/tickets?q={email}")
    for where in (page.locator(".record-link"), page.locator(".record .tag")):
        assert is_right_to_left(where.get_by_text(text))
    page.goto(f"/tickets/{ticket['id']}")
    row = page.locator(".days .row").filter(has=page.locator("b", has_text=text))
    row.locator("summary").first.click()
    expect(row.locator(".acts")).to_be_visible()
    for place in ("h1", ".letter", ".ticket-head .tag", ".row b", ".row .desc", ".e > dt", ".e .v", "td .v"):
        assert is_right_to_left(page.locator(place).get_by_text(text).first), place
    page.goto(f"/contacts/{ticket['requester_id']}")
    assert is_right_to_left(page.locator(".plain").get_by_text(text))


def is_right_to_left(where: Locator) -> bool:
    """Whether a text that ends with a mark of no direction of its own has that at its left."""
    return bool(
        where.evaluate(
            """(element) => {
                const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
                const text = walker.nextNode();
                const left = (index) => {
                    const range = document.createRange();
                    range.setStart(text, index);
                    range.setEnd(text, index + 1);
                    return range.getBoundingClientRect().left;
                };
                return left(text.data.trimEnd().length - 1) < left(0);
            }"""
        )
    )


# Keys.


def test_everything_can_be_done_with_keys(api: httpx.Client, open_page: Open) -> None:
    word = f"w{uuid4().hex[:8]}"
    numbers = [open_ticket(api, subject=f"{word} {number}")["id"] for number in range(3)]
    page = open_page(path="/tickets")
    page.keyboard.press("/")
    page.keyboard.type(word)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**q={word}**")
    expect(page.locator(".record-link")).to_have_count(3)
    for key, index in (("j", 2), ("j", 1), ("j", 0), ("j", 0), ("k", 1)):
        page.keyboard.press(key)
        expect(page.locator(f'.record-link[href="/tickets/{numbers[index]}"]')).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/tickets/{numbers[1]}")
    page.keyboard.press("n")
    expect(page.get_by_label("Note", exact=True)).to_be_focused()
    page.keyboard.type("jjrr, a note")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**done=note**")
    page.keyboard.press("r")
    expect(page.get_by_label("Reply", exact=True)).to_be_focused()
    expect(page.get_by_label("Note", exact=True)).to_be_hidden()
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/contacts")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/tickets")
    said = api.get(f"/api/v2/tickets/{numbers[1]}/conversations").json()
    assert [each["body_text"] for each in said] == ["jjrr, a note"]


def test_keys_can_be_switched_off(api: httpx.Client, open_page: Open) -> None:
    ticket = open_ticket(api)
    page = open_page(path=f"/tickets/{ticket['id']}")
    page.locator(".bar .menu summary").click()
    page.get_by_role("group", name="Keyboard shortcuts").get_by_role("button", name="Off").click()
    page.wait_for_load_state()
    page.keyboard.press("n")
    expect(page.get_by_label("Note", exact=True)).to_be_hidden()
    expect(page.locator(".composer kbd").first).to_be_hidden()


def test_what_is_written_is_kept(api: httpx.Client, open_page: Open) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    page = open_page(path=path)
    with page.expect_response(f"**{path}/draft") as kept:
        page.get_by_label("Reply", exact=True).fill("Not finished y")
    assert kept.value.status == 303
    page.reload()
    expect(page.get_by_label("Reply", exact=True)).to_have_value("Not finished y")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_label("Reply", exact=True)).to_have_value("")


def test_what_is_done_in_the_timeline_stays_at_the_ticket(api: httpx.Client, open_page: Open) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    page = open_page(path=f"{path}?source=backstory&done=reply")
    page.locator(".days .row summary").first.click()
    page.get_by_role("button", name="Pin").click()
    page.wait_for_url(f"**{path}?source=backstory")
    page.get_by_role("link", name="Reset").click()
    expect(page.locator(".pins")).to_be_visible()
    page.locator(".tl-head summary", has_text="Log").click()
    page.get_by_label("What happened").fill("Called back")
    page.get_by_role("button", name="Log activity").click()
    page.wait_for_url(f"**{path}?done=logged")
    expect(page.get_by_text("The activity was logged.")).to_be_visible()


# Slow servers, lost connections, sessions that end.


def test_a_second_click_sends_nothing_twice(api: httpx.Client, open_page: Open) -> None:
    ticket = open_ticket(api)["id"]
    page = open_page(path=f"/tickets/{ticket}")
    held: list[Route] = []
    page.route("**/reply", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks it, and cannot mark a builtin
    page.get_by_label("Reply", exact=True).fill("Once.")
    send = page.get_by_role("button", name="Send", exact=True)
    send.scroll_into_view_if_needed()
    box = send.bounding_box()
    assert box is not None
    with page.expect_request("**/reply"):
        page.mouse.click(box["x"] + 5, box["y"] + 5)
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    held[0].continue_()
    page.wait_for_url("**done=reply**")
    assert len(held) == 1
    said = api.get(f"/api/v2/tickets/{ticket}/conversations").json()
    assert [each["body_text"] for each in said] == ["Once."]
    page.get_by_label("Reply", exact=True).fill("Twice.")
    page.unroute("**/reply")
    send.click()
    expect(page.locator(".message", has_text="Twice.")).to_be_visible()


def test_what_is_written_outlasts_a_lost_connection(api: httpx.Client, open_page: Open) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    page = open_page(path=path)
    page.context.set_offline(True)
    page.get_by_label("Reply", exact=True).fill("Written in a tunnel.")
    expect(page.get_by_text("The draft could not be kept just now.")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    page.wait_for_url("chrome-error://**")
    page.context.set_offline(False)
    page.goto(path)
    expect(page.get_by_label("Reply", exact=True)).to_have_value("Written in a tunnel.")
    expect(page.get_by_text("is here again")).to_be_visible()
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".message", has_text="Written in a tunnel.")).to_be_visible()
    page.goto(path)
    expect(page.get_by_label("Reply", exact=True)).to_have_value("")


def test_what_is_written_outlasts_the_session(api: httpx.Client, open_page: Open) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    page = open_page(path=path)
    token = page.locator("meta[name=csrf]").get_attribute("content")
    page.context.request.post("/sign-out", form={"csrf": str(token)})
    page.keyboard.press("n")
    page.get_by_label("Note", exact=True).fill("Written too late.")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.get_by_role("button", name="Add note").click()
    page.get_by_label("Email").fill("agent@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")
    expect(page.get_by_label("Note", exact=True)).to_have_value("Written too late.")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator(".message.private", has_text="Written too late.")).to_be_visible()


def test_a_form_with_faults_is_a_page_like_any_other(api: httpx.Client, open_page: Open) -> None:
    path = f"/tickets/{open_ticket(api)['id']}"
    page = open_page(path=path)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("The reply was not added.")).to_be_visible()
    page.locator(".chip", has_text="Backstory").click()
    expect(page.locator(".chip[aria-current]", has_text="Backstory")).to_be_visible()
    token = page.locator("meta[name=csrf]").get_attribute("content")
    page.context.request.post("/sign-out", form={"csrf": str(token)})
    page.keyboard.press("n")
    page.get_by_label("Note", exact=True).fill("Written beside a fault.")
    page.get_by_role("button", name="Add note").click()
    page.get_by_label("Email").fill("agent@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")
    expect(page.get_by_label("Note", exact=True)).to_have_value("Written beside a fault.")


# Without scripts.


def test_a_ticket_is_worked_without_scripts(api: httpx.Client, open_page: Open) -> None:
    ticket = open_ticket(api)
    page = open_page(path=f"/tickets/{ticket['id']}", java_script_enabled=False)
    page.get_by_label("Reply", exact=True).fill("Without scripts.")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator(".message", has_text="Without scripts.")).to_be_visible()
    page.locator("#write-note > summary").click()
    page.get_by_label("Note", exact=True).fill("A note.")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator(".message.private", has_text="A note.")).to_be_visible()
    page.get_by_label("Status").select_option("Pending")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The changes were saved.")).to_be_visible()
    page.locator(".ticket-head .menu summary").click()
    page.get_by_role("button", name="Mark as spam").click()
    expect(page.get_by_text("This ticket is marked as spam")).to_be_visible()
    assert api.get(f"/api/v2/tickets/{ticket['id']}").json()["status"] == 3


def test_contacts_are_merged_and_unmerged_by_hand(api: httpx.Client, open_page: Open) -> None:
    one, two = two_alike(api)
    page = open_page("admin", f"/contacts/{one}")
    page.get_by_role("link", name="Merge…").click()
    expect(page.get_by_role("heading", name="What follows")).to_be_visible()
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_text("They are one contact now.")).to_be_visible()
    page.goto(f"/contacts/{two}")
    expect(page).to_have_url(re.compile(f"/contacts/{one}$"))
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The merge was undone")).to_be_visible()
    page.goto(f"/contacts/{two}")
    expect(page).to_have_url(re.compile(f"/contacts/{two}$"))


def test_a_new_key_is_copied(open_page: Open) -> None:
    page = open_page("admin", "/admin/keys")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Source names of the application").fill("kiosk")
    page.get_by_role("button", name="Issue").click()
    key = page.locator("#key").inner_text()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
