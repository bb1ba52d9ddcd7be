"""What an agent waits for: the server's time for a page, the first row on the screen, a live row."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from bench.places import scratch
from bench.processes import BenchError
from bench.product import Running, backstory, run_command
from bench.report import Outcome

_EMAIL, _PASSWORD = "screen@example.com", "correct horse battery staple"
_ROWS = 60
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_SLOW = {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
"""1.6 Mbit/s down, 150 ms there and back."""

_FIRST_ROW = """() => new Promise((resolve) => {
    const seen = () => document.querySelector(".days .row")
        ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))) : requestAnimationFrame(seen);
    seen();
})"""
_SHIFT = """() => new Promise((resolve) => {
    let shift = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => { shift += entry.value; }))
        .observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve(shift), 500);
})"""


_WAIT = """() => {
    window.shown = new Promise((done) => document.addEventListener("activity",
        () => requestAnimationFrame(() => done(Date.now())), { once: true }));
}"""


def pages(outcome: Outcome) -> None:
    """A timeline of 50 rows: the server's time, the first row in Chromium, and an activity that arrives live.

    The server's time is from request to answer over loopback on one connection, signed in. The first row is counted
    from the navigation, with an empty cache each time; the slow one has a quarter of the processor, 1.6 Mbit/s and
    150 ms there and back. Live is from the publish request to the row or the pill on the screen, while 99 others
    follow.

    Targets: server 25 ms, first row 500 ms, slow first row 1.3 s, layout shift 0.05, live p95 250 ms.
    """
    turns = 3 if outcome.quick else 20
    outcome.sizes = {"rows": _ROWS, "turns": turns, "viewers": 100}
    program = next((found for name in _CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        raise BenchError("Chromium is not installed")
    with scratch() as folder:
        database = folder / "pages.db"
        create = ("agents", "create", _EMAIL, "--name", "Screen", "--role", "agent", "--password-stdin")
        with backstory(database) as server:
            run_command(database, *create, stdin=f"{_PASSWORD}\n".encode())
            contact = _publish(server, range(_ROWS))
            path = f"/contacts/{contact}"
            cookie = _sign_in(server)
            _serve(outcome, server, path, cookie, turns * 10)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=program, args=["--no-sandbox", "--disable-gpu"]
                )
                _show(outcome, server, browser, path, cookie, turns)
                _follow(outcome, server, browser, contact, cookie, turns)
                browser.close()


def _publish(server: Running, numbers: range) -> int:
    began = datetime.now(UTC)
    kinds = (
        ("Order placed", "shopify", "order"),
        ("Charge failed", "stripe", "charge"),
        ("Call missed", "aircall", "call"),
    )
    contact = 0
    for number in numbers:
        name, source, kind = kinds[number % 3]
        activity = {
            "name": name,
            "timestamp": (began - timedelta(hours=number)).isoformat(),
            "description": f"{name} for order {84_000_000 + number * 7919}",
            "actor": {"type": "shopper"},
            "source": {"name": source},
            "object": {"type": kind, "id": str(number)},
            "context": {"Order id": str(number), "Amount": f"{number}.50", "Currency": "EUR"},
        }
        contact = _tell(server, activity)
    return contact


def _tell(server: Running, activity: dict[str, Any]) -> int:
    body = {"activity": activity, "contact": {"email": "rachel@example.com"}}
    url = f"http://127.0.0.1:{server.port}/api/v2/contact-activities"
    answer = httpx.post(url, json=body, auth=(server.key, "X"))
    answer.raise_for_status()
    return int(answer.json()["contact_id"])


def _sign_in(server: Running) -> str:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as visitor:
        token = re.findall(r'name="csrf" value="([^"]+)"', visitor.get("/sign-in").text)[0]
        form = {"csrf": token, "email": _EMAIL, "password": _PASSWORD}
        if visitor.post("/sign-in", data=form).status_code != 303:
            raise BenchError("could not sign in")
        return visitor.cookies["backstory"]


def _serve(outcome: Outcome, server: Running, path: str, cookie: str, turns: int) -> None:
    times = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", cookies={"backstory": cookie}) as visitor:
        for _ in range(turns):
            began = time.perf_counter()
            answer = visitor.get(path)
            times.append((time.perf_counter() - began) * 1_000)
            if answer.status_code != 200:
                outcome.failures.append(f"{path} was answered {answer.status_code}")
                return
    outcome.check("server, 50 rows, median", median(times), "ms", most=25)


@contextmanager
def _page(server: Running, browser: Browser, cookie: str) -> Iterator[Page]:
    """A page of a browser of its own, its cache empty."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    url = f"http://127.0.0.1:{server.port}"
    context.add_cookies(
        [{"name": "backstory", "value": cookie, "url": url}, {"name": "zone", "value": "UTC", "url": url}]
    )
    yield context.new_page()
    context.close()


def _show(outcome: Outcome, server: Running, browser: Browser, path: str, cookie: str, turns: int) -> None:
    url = f"http://127.0.0.1:{server.port}{path}"
    quick, slow, shifts = [], [], []
    for _ in range(turns):
        with _page(server, browser, cookie) as page:
            page.goto(url, wait_until="commit")
            quick.append(page.evaluate(_FIRST_ROW))
            shifts.append(page.evaluate(_SHIFT))
        with _page(server, browser, cookie) as page:
            session = page.context.new_cdp_session(page)
            session.send("Network.enable")
            session.send("Network.emulateNetworkConditions", _SLOW)
            session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
            page.goto(url, wait_until="commit")
            slow.append(page.evaluate(_FIRST_ROW))
    outcome.check("first row, median", median(quick), "ms", most=500)
    outcome.check("first row, slow machine and network, median", median(slow), "ms", most=1_300)
    outcome.check("layout shift, largest", max(shifts), "", most=0.05)


def _follow(
    outcome: Outcome, server: Running, browser: Browser, contact: int, cookie: str, turns: int
) -> None:
    with _page(server, browser, cookie) as page, _others(server, contact, cookie, 99):
        page.goto(f"http://127.0.0.1:{server.port}/contacts/{contact}")
        while not page.evaluate("Boolean(document.querySelector('.live')._htmx?.sse)"):
            time.sleep(0.05)
        page.keyboard.press("j")  # whoever reads: what is new waits behind the pill
        times = []
        for number in range(turns):
            page.evaluate(_WAIT)
            began = time.time() * 1_000
            _tell(server, {"name": f"Live {number}", "actor": {"type": "x"}, "source": {"name": "shopify"}})
            times.append(page.evaluate("window.shown") - began)
    times.sort()
    outcome.figure("publish to screen, median", round(median(times), 1), "ms")
    outcome.check("publish to screen, p95, 100 viewers", times[int(len(times) * 0.95) - 1], "ms", most=250)


@contextmanager
def _others(server: Running, contact: int, cookie: str, count: int) -> Iterator[None]:
    """So many others who follow the same timeline."""
    ended = threading.Event()
    ready = threading.Semaphore(0)
    url = f"http://127.0.0.1:{server.port}/contacts/{contact}"
    after = re.findall(r"after=([0-9a-f\-]+)", httpx.get(url, cookies={"backstory": cookie}).text)[0]

    def follow() -> None:
        stream = f"{url}/timeline/stream?after={after}"
        try:
            with httpx.stream("GET", stream, cookies={"backstory": cookie}, timeout=60) as answer:
                ready.release()
                for _ in answer.iter_raw():
                    if ended.is_set():
                        return
        except httpx.HTTPError:  # the server was stopped
            return

    for _ in range(count):
        threading.Thread(target=follow, daemon=True).start()
    for _ in range(count):
        if not ready.acquire(timeout=30):
            raise BenchError("a viewer could not follow")
    yield
    ended.set()
