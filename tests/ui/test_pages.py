"""What all pages have in common: headers, errors in plain words, assets, where they are listed."""

from __future__ import annotations

import gzip
import hashlib
import json
import re

import httpx
import pytest

from backstory.ui.assets import FOLDER, asset_url
from backstory.ui.icons import ICONS, Sprite
from backstory.ui.routes import PAGES
from tests.support import Installation
from tests.ui.pages import Outline, Visitor

VENDORED = json.loads((FOLDER / "vendored.json").read_text())


def test_pages_run_nothing_of_others_and_stand_in_no_frame(agent: Visitor) -> None:
    for path in ("/tickets", "/nothing-here"):
        answer = agent.get(path)
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


def test_nothing_in_a_page_is_inline(agent: Visitor) -> None:
    for path in ("/tickets", "/sign-in", "/nothing-here"):
        for tag, attributes in Outline(agent.get(path).text).tags:
            assert tag != "style"
            assert tag != "script" or attributes.get("src")
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]


def test_pages_are_compressed_where_the_browser_can(agent: Visitor) -> None:
    assert agent.get("/tickets").headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in agent.get("/tickets", headers={"Accept-Encoding": "identity"}).headers


@pytest.mark.parametrize("route", PAGES, ids=lambda route: f"{route.method} {route.path}")
def test_every_page_that_asks_for_a_right_sends_strangers_to_sign_in(visitor: Visitor, route) -> None:
    path = re.sub(r"\{\w+\}", "1", route.path)
    token = visitor.token()
    answer = visitor.request(route.method, path, data={"csrf": token} if route.body else None)
    leads_to_sign_in = answer.headers.get("Location", "").startswith("/sign-in")
    if route.right.name != "NONE":
        assert answer.status_code == 303
        assert leads_to_sign_in
    assert "Traceback" not in answer.text


def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(visitor: Visitor) -> None:
    answer = visitor.get("/tickets?a=b", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == "/sign-in?to=%2Ftickets%3Fa%3Db"


@pytest.mark.parametrize(
    ("page", "target"),
    [
        ("/tickets/5?done=reply", "/sign-in?to=%2Ftickets%2F5"),
        ("/tickets/5/reply", "/sign-in?to=%2Ftickets%2F5"),
        ("/tickets/5/notes", "/sign-in?to=%2Ftickets%2F5"),
        ("/contacts/5/merges/1/undo", "/sign-in?to=%2Fcontacts%2F5"),
        ("/contacts/new", "/sign-in?to=%2Fcontacts%2Fnew"),
        ("/tickets", "/sign-in"),
        ("", "/sign-in"),
        ("https://evil.example/tickets/5", "/sign-in"),
        ("http://[", "/sign-in"),
    ],
)
def test_a_form_that_comes_too_late_leads_back_to_its_page(
    shared_server: Installation, visitor: Visitor, page: str, target: str
) -> None:
    sent_from = f"{shared_server.url}{page}" if page.startswith("/") else page
    answer = visitor.post("/tickets/5/reply", data={"body": "x"}, headers={"Referer": sent_from})
    assert answer.status_code == 303
    assert answer.headers["Location"] == target


def test_errors_are_pages_for_people_and_json_for_programs(
    shared_server: Installation, agent: Visitor
) -> None:
    page = agent.get("/nothing-here")
    assert page.status_code == 404
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "There is nothing here" in page.text
    program = httpx.get(f"{shared_server.url}/nothing-here")
    assert program.status_code == 404
    assert program.json()["code"] == "not_found"
    call = agent.get("/api/v2/nothing")
    assert call.json()["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/tickets/5/reply?source=shopify", "/tickets/5?source=shopify"),
        ("/contacts/5/activities", "/contacts/5"),
        ("/contacts/5/merges/1/undo", "/contacts/5"),
        ("/admin/keys/3/revoke", "/admin/keys"),
        ("/preferences", "/"),
        ("/tickets/5%0D%0Aé/reply", "/tickets/5%0D%0A%C3%A9"),
    ],
)
def test_where_a_form_is_sent_to_is_read_as_its_page(visitor: Visitor, address: str, page: str) -> None:
    answer = visitor.get(address)
    assert answer.status_code == 303
    assert answer.headers["Location"] == page


def test_a_wrong_verb_is_told_in_plain_words(agent: Visitor) -> None:
    answer = agent.put("/tickets")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert "That is not possible here" in answer.text


def test_a_strange_body_is_refused(agent: Visitor) -> None:
    answer = agent.post("/preferences", json={"theme": "dark"})
    assert answer.status_code == 415
    assert answer.headers["Content-Type"].startswith("text/html")
    assert agent.post("/preferences", data={"x": "x" * 2_000_000}).status_code == 413


# Assets.


def test_assets_are_named_by_their_content_and_kept_for_ever(visitor: Visitor) -> None:
    page = Outline(visitor.get("/sign-in").text)
    addresses = [
        attrs.get("src") or attrs.get("href") for tag, attrs in page.tags if tag in ("script", "link")
    ]
    assert len(addresses) >= 3
    for address in addresses:
        answer = visitor.get(str(address))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert hashlib.sha256(answer.content).hexdigest()[:12] in str(address)
        plain = visitor.get(str(address), headers={"Accept-Encoding": "identity"})
        assert plain.content == answer.content


@pytest.mark.parametrize("name", ["app.css", "app.000000000000.css", "..%2frender.py", "vendored.json"])
def test_nothing_else_is_served(visitor: Visitor, name: str) -> None:
    assert visitor.get(f"/static/{name}").status_code == 404


def test_what_came_from_elsewhere_is_what_its_manifest_says() -> None:
    listed = {name for package in VENDORED for name in package["files"]}
    found = {f"{path.parent.name}/{path.name}" for path in FOLDER.rglob("*/*")}
    assert found == listed
    for package in VENDORED:
        assert package["licence_file"] in package["files"]
        for name, told in package["files"].items():
            assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == told["sha256"], name


def test_a_page_carries_the_icons_that_it_uses_and_no_others() -> None:
    sprite = Sprite()
    assert sprite.use("search") == '<svg class="icon" aria-hidden="true"><use href="#i-search"/></svg>'
    assert sprite.__html__().count("<symbol") == 1
    assert set(ICONS) == {path.stem for path in (FOLDER / "icons").glob("*.svg")}


def size(*names: str) -> int:
    """Bytes on the wire."""
    files = [FOLDER / name for name in names]
    return sum(len(gzip.compress(file.read_bytes(), 9)) for file in files)


def test_scripts_and_styles_stay_within_their_budgets() -> None:
    scripts = [str(path.relative_to(FOLDER)) for path in (*FOLDER.glob("*.js"), *FOLDER.glob("vendor/*.js"))]
    assert size(*scripts) <= 24 * 1024
    assert size("app.css") <= 10 * 1024
    assert asset_url("app.css").startswith("/static/app.")
