"""The timeline in a real browser: opened by click and key, filtered, followed live, read without scripts."""

from __future__ import annotations

import re
from uuid import uuid4

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # has no types
from playwright.sync_api import Page, Route, expect

from tests.http.wire import ACTIVITIES
from tests.support import publish_request, wait_until
from tests.ui.browser.conftest import Open
from tests.ui.test_timeline import HOSTILE, hostile_context, moment, publish

ITEMS = {"item1": {"name": "Sneakers", "price": "30"}, "item2": {"name": "T-Shirt", "price": "20"}}
FAILED = {
    "name": "Transaction failed",
    "description": "Card declined",
    "object": {"type": "transaction", "id": "1234", "link": "https://shop.example.com/1234"},
    "context": {"Order id": "84637930", "Amount": "50", "Currency": "Dollars", "Items": ITEMS},
}
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 320, "height": 720}


def a_story(api: httpx.Client) -> int:
    """A contact with a few activities, one of them a failed transaction; its number."""
    views = [{"name": "Page viewed", "timestamp": moment(number)} for number in range(5)]
    return publish(
        api,
        *views,
        {
            "name": "Order placed",
            "timestamp": moment(20),
            "source": {"name": "webshop"},
            "context": {"note": "x" * 600},
        },
        FAILED | {"timestamp": moment(127)},
        {"name": "Logged in", "timestamp": moment(-3_000), "actor": {"type": "agent", "name": "Sam"}},
    )


def row(page: Page, name: str) -> object:
    return page.locator(".days .row").filter(has_text=name).first


def until(page: Page, expression: str) -> None:
    """Wait for something to be true in the page. Playwright's own way evaluates text there, which the page forbids."""
    wait_until(lambda: page.evaluate(expression), what=expression)


def test_a_click_opens_a_row_in_its_place(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    failed = page.locator(".days .row", has_text="Transaction failed")
    before = failed.bounding_box()
    failed.locator("summary").click()
    expect(failed.get_by_text("50\N{NO-BREAK SPACE}Dollars").last).to_be_visible()
    expect(failed.get_by_role("link", name="Open transaction 1234")).to_have_attribute(
        "href", "https://shop.example.com/1234"
    )
    expect(failed.get_by_role("cell", name="Sneakers")).to_be_visible()
    assert before is not None
    assert failed.bounding_box()["y"] == before["y"]  # type: ignore[index]
    failed.get_by_text("Raw JSON").click()
    expect(failed.locator("pre")).to_contain_text('"Order id": "84637930"')


def test_a_run_opens_to_its_rows(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    run = page.locator(".run")
    expect(run).to_contain_text("5 times")
    run.locator("> details > summary").click()
    expect(run.locator(".row").first).to_be_visible()
    assert run.locator(".row").count() == 5
    until(page, "document.querySelector('.live')._htmx?.sse != null")
    gone = run.locator(".row").first.get_attribute("id")
    api.delete(f"{ACTIVITIES}/{str(gone).removeprefix('a-')}")
    expect(run).to_contain_text("4 times")
    assert run.locator(".row").count() == 4


def test_values_links_and_json_are_copied(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}", permissions=["clipboard-read", "clipboard-write"])
    failed = page.locator(".days .row", has_text="Transaction failed")
    failed.locator("summary").click()
    for name, text in (("Copy Order id", "84637930"), ("Copy Amount", "50")):
        failed.get_by_role("button", name=name).click()
        expect(page.locator("#announcer")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == text
    failed.get_by_role("button", name="Copy link").click()
    until(page, "navigator.clipboard.readText().then((text) => text.includes('/activities/'))")
    failed.get_by_text("Raw JSON").click()
    failed.get_by_role("button", name="Copy JSON").click()
    until(page, "navigator.clipboard.readText().then((text) => text.startsWith('{\"Order id\"'))")


def test_filters_replace_the_timeline_and_the_back_button_works(api: httpx.Client, open_page: Open) -> None:
    path = f"/contacts/{a_story(api)}"
    page = open_page(path=path)
    page.evaluate("window.stayed = true")
    page.locator(".chip", has_text="webshop").click()
    expect(page).to_have_url(re.compile(r"\?source=webshop$"))
    expect(page.locator(".days .row")).to_have_count(1)
    expect(page.locator(".chip", has_text="webshop")).to_be_focused()
    page.go_back()
    expect(page).to_have_url(re.compile(path + "$"))
    expect(page.locator(".days .row", has_text="Transaction failed")).to_be_visible()
    page.locator("#tl-q").fill("declined")
    page.locator("#tl-q").press("Enter")
    expect(page.locator(".days .row")).to_have_count(1)
    page.get_by_role("link", name="Reset").click()
    expect(page.locator(".days .row", has_text="Logged in")).to_be_visible()
    assert page.evaluate("window.stayed") is True


def test_a_long_filter_is_used_on_a_phone(api: httpx.Client, open_page: Open) -> None:
    kinds = [{"name": "A", "object": {"type": f"kind{number}", "id": "1"}} for number in range(16)]
    page = open_page(path=f"/contacts/{publish(api, *kinds)}", viewport=PHONE)
    page.locator(".tl-head summary", has_text="Filter").click()
    page.get_by_label("kind15").check()
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"\?type=kind15$"))
    expect(page.locator(".days .row")).to_have_count(1)


def test_older_rows_are_added(api: httpx.Client, open_page: Open) -> None:
    contact_id = publish(api, *({"name": f"N{number}", "timestamp": moment(number)} for number in range(70)))
    page = open_page(path=f"/contacts/{contact_id}")
    expect(page.locator(".days .row")).to_have_count(50)
    page.get_by_role("link", name="Load older").click()
    expect(page.locator(".days .row")).to_have_count(70)
    names = page.locator(".days .row b").all_text_contents()
    assert names == [f"N{number}" for number in reversed(range(70))]
    expect(page.get_by_text("This is where it begins.")).to_be_visible()
    assert page.locator(".day").count() == 1


def test_what_does_not_come_is_told_and_can_be_asked_for_again(api: httpx.Client, open_page: Open) -> None:
    contact_id = publish(api, *({"name": f"N{number}", "timestamp": moment(number)} for number in range(70)))
    page = open_page(path=f"/contacts/{contact_id}")
    told = page.get_by_text("This could not be loaded just now.")
    first = page.locator(".days .row").first
    page.route(
        "**", lambda route: route.fulfill(status=503, content_type="text/html", body="<h1>Not now</h1>")
    )
    for _ in range(2):
        first.locator("summary").click()
        expect(first.get_by_role("alert")).to_be_visible()
        first.locator("summary").click()
    page.get_by_role("link", name="Load older").click()
    expect(page.locator(".older").get_by_role("alert")).to_be_visible()
    page.locator(".chip").first.click()
    expect(page.locator(".tl-head").get_by_role("alert")).to_be_visible()
    expect(told).to_have_count(1)
    expect(page.locator(".days .row")).to_have_count(50)
    page.unroute("**")
    first.locator("summary").click()
    expect(first.get_by_role("button", name="Copy link")).to_be_visible()
    page.get_by_role("link", name="Load older").click()
    expect(page.locator(".days .row")).to_have_count(70)
    page.locator(".chip").first.click()
    expect(page).to_have_url(re.compile("source="))
    expect(told).to_have_count(0)


def test_new_rows_wait_behind_a_pill_and_move_nothing(api: httpx.Client, open_page: Open) -> None:
    contact = {"email": f"{uuid4().hex}@example.com"}
    items = [
        publish_request(contact=contact, name=f"N{number}", timestamp=moment(number)) for number in range(30)
    ]
    answer = api.post(f"{ACTIVITIES}/batch", json={"activities": items}).json()["results"][0]
    page = open_page(path=f"/contacts/{answer['contact_id']}")
    until(page, "document.querySelector('.live')._htmx?.sse != null")
    page.keyboard.press("j")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.innerText")
    top = page.evaluate("document.activeElement.getBoundingClientRect().top")
    for number in range(2):
        api.post(ACTIVITIES, json=publish_request(contact=contact, name=f"Live {number}"))
    expect(page.locator(".pill")).to_have_text("2 new activities")
    expect(page.locator("#announcer")).to_have_text("2 new activities")
    assert page.locator(".days .row", has_text="Live").count() == 0
    assert page.evaluate("document.activeElement.innerText") == focused
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") == top
    page.locator(".pill").click()
    expect(page.locator(".days .row b").first).to_have_text("Live 1")
    expect(page.locator(".day h3").first).to_have_text("Today")
    expect(page.locator(".pill")).to_be_hidden()
    gone = api.get(f"/api/v2/contacts/{answer['contact_id']}/activities").json()[0]["id"]
    api.delete(f"{ACTIVITIES}/{gone}")
    expect(page.locator(".days .row", has_text="Live 1")).to_have_count(0)


def test_it_is_followed_however_late_a_script_comes(api: httpx.Client, open_page: Open) -> None:
    """The extension that opens the stream comes when all else is done; htmx must not have begun without it."""
    contact_id = a_story(api)
    page = open_page()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/static/hx-sse*", hold)
    page.goto(f"/contacts/{contact_id}", wait_until="commit")
    until(page, "window.htmx != null")
    page.evaluate("new Promise((done) => setTimeout(() => setTimeout(done)))")  # what htmx put off is done
    with page.expect_request("**/timeline/stream**"):
        held.pop().continue_()


def test_everything_can_be_done_with_keys(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    page.keyboard.press("j")
    expect(page.locator(".days .row summary").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator(".row .acts").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".row .acts").first).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#tl-q")).to_be_focused()
    page.keyboard.type("j?g")
    expect(page.locator("#tl-q")).to_have_value("j?g")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page).to_have_url(re.compile("/activities$"))


def test_keys_go_from_row_to_row_whatever_is_open(api: httpx.Client, open_page: Open) -> None:
    page = open_page("admin", f"/contacts/{a_story(api)}")
    summaries = page.locator(".row > article > details > summary, .run > details > summary")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".row .raw")).to_be_visible()
    page.keyboard.press("j")
    expect(summaries.filter(has_text="Order placed")).to_be_focused()
    page.keyboard.press("j")
    expect(summaries.filter(has_text="5 times")).to_be_focused()
    page.keyboard.press("j")
    expect(summaries.filter(has_text="Logged in")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("k")
    expect(summaries.filter(has_text="Transaction failed")).to_be_focused()


def test_keys_go_on_where_a_filter_was_set(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    page.locator(".tl-head summary", has_text="Filter").click()
    page.get_by_label("From", exact=True).fill("2020-01-01")
    page.get_by_label("From", exact=True).press("Enter")
    expect(page).to_have_url(re.compile("since=2020-01-01"))
    expect(page.get_by_role("heading", name="Timeline")).to_be_focused()
    expect(page.locator("#announcer")).to_have_text("8 activities shown")


def test_keys_can_be_switched_off(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    page.locator(".bar .menu summary").click()
    page.get_by_role("group", name="Keyboard shortcuts").get_by_role("button", name="Off").click()
    expect(page.locator("html")).to_have_attribute("data-shortcuts", "off")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_hidden()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_neither_the_focused_row_nor_its_day_is_covered(
    api: httpx.Client, open_page: Open, viewport: dict[str, int]
) -> None:
    contact_id = publish(
        api, *({"name": f"N{number}", "timestamp": moment(-300 * number)} for number in range(40))
    )
    page = open_page(path=f"/contacts/{contact_id}", viewport=viewport)
    for _ in range(30):
        page.keyboard.press("j")
    for _ in range(20):
        page.keyboard.press("k")
    covered = page.evaluate(
        """() => {
            const row = document.activeElement, day = row.closest(".day").firstElementChild;
            return [row, day].filter((each) => {
                const box = each.getBoundingClientRect();
                return !each.contains(document.elementFromPoint(box.left + box.width / 2, box.top + 3));
            }).length;
        }"""
    )
    assert covered == 0


def test_it_can_be_read_without_scripts(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}", java_script_enabled=False)
    failed = page.locator(".days .row", has_text="Transaction failed")
    failed.locator("summary").click()
    failed.get_by_role("link", name="Show the details").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Transaction failed")
    expect(page.get_by_role("cell", name="Sneakers")).to_be_visible()
    page.get_by_role("link", name="Timeline around it").click()
    page.locator(".chip", has_text="webshop").click()
    expect(page.locator(".days .row")).to_have_count(1)


def test_the_zone_is_the_viewers(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}", timezone_id="Asia/Kolkata", locale="de-DE")
    expect(page.locator(".days .row", has_text="Transaction failed").locator("time").first).to_have_text(
        "19:37"
    )
    page.locator(".tl-head summary", has_text="Filter").click()
    page.get_by_role("link", name="UTC").click()
    expect(page.locator(".days .row", has_text="Transaction failed").locator("time").first).to_have_text(
        "14:07"
    )


def test_logging_by_hand(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    page.locator(".tl-head summary", has_text="Log").click()
    page.get_by_label("What happened").fill("Called about the refund")
    page.get_by_role("button", name="Log activity").click()
    expect(page.locator(".days .row b").first).to_have_text("Called about the refund")


def test_what_cannot_be_logged_is_not_lost(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}?zone=utc")
    page.locator(".tl-head summary", has_text="Log").click()
    page.get_by_label("What happened").fill(" ")
    page.get_by_label("Kind").select_option("visit")
    page.get_by_label("Details").fill("Wants it on Friday.\nOr on Monday.")
    page.get_by_role("button", name="Log activity").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was logged")
    name = page.get_by_label("What happened")
    expect(name).to_have_accessible_description(re.compile("Say in 1 to 255 characters what happened"))
    expect(page.get_by_label("Kind")).to_have_value("visit")
    expect(page.get_by_label("Details")).to_have_value("Wants it on Friday.\nOr on Monday.")
    check_axe(page)
    name.fill("Came by")
    page.get_by_role("button", name="Log activity").click()
    expect(page).to_have_url(re.compile(r"/contacts/\d+\?zone=utc&done=logged$"))
    expect(page.get_by_text("The activity was logged.")).to_be_visible()
    expect(page.locator(".days .row b").first).to_have_text("Came by")


# For everybody.


def check_axe(page: Page) -> None:
    """No violation of WCAG 2.0 to 2.2, A and AA, nor of best practice."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    options = {"runOnly": {"type": "tag", "values": tags}, "resultTypes": ["violations"]}
    results = Axe().run(page, options=options)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_page_is_accessible(
    api: httpx.Client, open_page: Open, scheme: str, viewport: dict[str, int]
) -> None:
    contact_id = a_story(api)
    page = open_page("admin", f"/contacts/{contact_id}", color_scheme=scheme, viewport=viewport)
    activity = page.locator(".days .row", has_text="Transaction failed")
    activity_id = activity.get_attribute("id")
    assert activity_id is not None
    activity_path = f"/activities/{activity_id[2:]}"
    page.locator(".days .run > details > summary").click()
    activity.locator("summary").first.click()
    expect(activity.locator(".acts")).to_be_visible()
    activity.get_by_text("Raw JSON").click()
    check_axe(page)
    page.locator(".tl-head summary", has_text="Filter").click()
    check_axe(page)
    page.locator(".tl-head summary", has_text="Log").click()
    check_axe(page)
    page.keyboard.press("Escape")
    page.locator(".bar .menu summary").click()
    check_axe(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    check_axe(page)
    empty = api.post("/api/v2/contacts", json={"name": "New", "email": f"{uuid4().hex}@example.com"}).json()[
        "id"
    ]
    for path in (
        activity_path,
        "/activities",
        "/activities?q=nothing-has-this",
        f"/contacts/{contact_id}?source=nothing&q=x",
        f"/contacts/{empty}",
        "/nothing-here",
    ):
        page.goto(path)
        check_axe(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
    page = open_page(None, "/sign-in", color_scheme=scheme, viewport=viewport)
    check_axe(page)
    page.get_by_label("Email").fill("nobody@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check_axe(page)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_hostile_texts_break_nothing(api: httpx.Client, open_page: Open, viewport: dict[str, int]) -> None:
    contact = {"email": f"{uuid4().hex}@example.com"}
    items = [
        publish_request(
            contact=contact,
            name=text[:250],
            description=text[:4000],
            timestamp=moment(number),
            source={"name": text[:250]},
            actor={"type": text[:250], "name": text[:250]},
            object={"type": text[:250], "id": text[:250], "link": "https://example.com/"},
            context=hostile_context(text),
        )
        for number, text in enumerate(HOSTILE)
    ]
    contact["is_actor"] = False  # type: ignore[assignment]
    answer = api.post(f"{ACTIVITIES}/batch", json={"activities": items}).json()["results"]
    page = open_page("admin", f"/contacts/{answer[0]['contact_id']}", viewport=viewport)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    expect(page.locator(".days .row")).to_have_count(len(HOSTILE))
    for each in page.locator(".days .row").all():
        each.locator("> article > details > summary").click()
        expect(each.locator(".acts")).to_be_visible()
    for path in ("", *(f"/activities/{result['id']}" for result in answer)):
        if path:
            page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], path
        assert page.locator("main img, main script, main iframe").count() == 0
    page.goto(f"/contacts/{answer[0]['contact_id']}")
    heights = page.eval_on_selector_all(".days .row", "rows => rows.map((row) => row.offsetHeight)")
    assert max(heights) < 600


def test_the_layout_does_not_shift(api: httpx.Client, open_page: Open) -> None:
    page = open_page(path=f"/contacts/{a_story(api)}")
    page.evaluate(
        """() => { window.shift = 0;
            new PerformanceObserver((list) => {
                for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
            }).observe({ type: "layout-shift", buffered: true });
        }"""
    )
    until(page, "document.querySelector('.live')._htmx?.sse != null")
    assert page.evaluate("window.shift") <= 0.05
