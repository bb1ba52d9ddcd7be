"""Signing in: cookies, tokens in forms, failures that slow down, sessions that end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from backstory.helpdesk.sessions import ADDRESS_TRIES, EMAIL_TRIES, LONGEST_WAIT, seconds_to_wait
from backstory.store.records.sessions import Failures
from backstory.ui.visitor import safe_address
from tests.http.wire import start_tuned
from tests.servers.engines import Maker
from tests.support import PASSWORD, Installation, wait_until
from tests.ui.pages import Outline, Visitor, signed_in


def test_signing_in_leads_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    asked = visitor.get("/tickets?view=mine&view=%E2%82%AC")
    assert asked.status_code == 303
    assert asked.headers["Location"] == "/sign-in?to=%2Ftickets%3Fview%3Dmine%26view%3D%25E2%2582%25AC"
    form = visitor.get(asked.headers["Location"])
    target = next(attrs["value"] for _, attrs in Outline(form.text).tags if attrs.get("name") == "to")
    answer = visitor.sign_in(to=str(target))
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/tickets?view=mine&view=%E2%82%AC"
    assert visitor.get(answer.headers["Location"]).status_code == 200


def test_the_first_page_leads_to_the_tickets(agent: Visitor) -> None:
    assert agent.get("/").headers["Location"] == "/tickets"
    assert agent.get("/sign-in").headers["Location"] == "/tickets"


def test_the_form_has_labelled_fields(visitor: Visitor) -> None:
    page = visitor.get("/sign-in").text
    for label, name in (("Email", "email"), ("Password", "password")):
        assert f'<label>{label}<input name="{name}"' in page


def test_the_cookie_cannot_be_read_by_scripts_nor_sent_from_elsewhere(visitor: Visitor) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_the_cookie_is_secure_behind_tls(shared_server: Installation) -> None:
    with Visitor(shared_server, **{"X-Forwarded-Proto": "https"}) as visitor:
        assert "; Secure" in visitor.get("/sign-in").headers["Set-Cookie"]


def test_a_session_has_another_token_than_its_visitor_had(visitor: Visitor) -> None:
    visitor.get("/sign-in")
    before = visitor.cookies["backstory"]
    visitor.sign_in()
    assert visitor.cookies["backstory"] != before


def test_what_is_wrong_is_refused_and_says_no_more(server: Installation) -> None:
    for email, password in (
        ("agent@example.com", "wrong horse"),
        ("agent@example.com", ""),
        ("nobody-else@example.com", PASSWORD),
        ("", ""),
        ("\0", "\0"),
        ("ä" * 9_000, "ö" * 9_000),
    ):
        with Visitor(server) as visitor:
            answer = visitor.sign_in(email=email, password=password)
            assert answer.status_code == 401, email
            assert "There is no agent with this email and password." in answer.text
            assert visitor.get("/tickets").status_code == 303
            assert "\0" not in answer.text
            assert "wrong horse" not in answer.text


def test_email_is_compared_without_case(visitor: Visitor) -> None:
    assert visitor.sign_in(email=" Agent@EXAMPLE.com ").status_code == 303


def test_signing_out_ends_the_session_wherever_its_cookie_was_copied(shared_server: Installation) -> None:
    with signed_in(shared_server) as agent, Visitor(shared_server) as thief:
        thief.cookies.set("backstory", agent.cookies["backstory"])
        assert thief.get("/tickets").status_code == 200
        answer = agent.submit("/sign-out", page="/tickets")
        assert answer.headers["Location"] == "/sign-in"
        assert "backstory" not in agent.cookies
        assert agent.get("/tickets").status_code == 303
        assert thief.get("/tickets").status_code == 303


@pytest.mark.parametrize("token", ["", "x", "forged" * 10, "x" * 5_000, "ä", "a b", "../..", "%00"])
def test_forged_sessions_are_none(visitor: Visitor, token: str) -> None:
    answer = visitor.get("/tickets", headers=[(b"Cookie", f"backstory={token}".encode())])
    assert answer.status_code == 303


def test_a_key_of_the_api_opens_no_page_and_a_session_no_call(
    shared_server: Installation, agent: Visitor
) -> None:
    assert httpx.get(f"{shared_server.url}/tickets", auth=(shared_server.admin_key, "X")).status_code == 303
    assert agent.get("/api/v2/contacts/1").status_code == 401


@pytest.mark.parametrize("csrf", ["", "x", "0" * 80, "ä" * 80])
@pytest.mark.parametrize("path", ["/sign-in", "/sign-out", "/preferences"])
def test_a_form_without_its_token_is_refused(agent: Visitor, path: str, csrf: str) -> None:
    fields = {"email": "agent@example.com", "password": PASSWORD, "theme": "dark", "csrf": csrf}
    answer = agent.post(path, data=fields)
    assert answer.status_code == 403
    assert "This form has gone stale" in answer.text
    assert 'data-theme="system"' in agent.get("/tickets").text


def test_a_token_is_good_for_its_visitor_alone(shared_server: Installation, visitor: Visitor) -> None:
    with Visitor(shared_server) as other:
        token = other.token()
    visitor.get("/sign-in")
    fields = {"email": "agent@example.com", "password": PASSWORD, "csrf": token}
    assert visitor.post("/sign-in", data=fields).status_code == 403


def test_a_form_from_another_site_is_refused_even_with_its_token(agent: Visitor) -> None:
    agent.headers["Sec-Fetch-Site"] = "cross-site"
    assert agent.submit("/preferences", page="/tickets", theme="dark").status_code == 403


def test_a_token_in_a_header_will_do(agent: Visitor) -> None:
    answer = agent.post(
        "/preferences", data={"theme": "dark"}, headers={"X-CSRF-Token": agent.token("/tickets")}
    )
    assert answer.status_code == 303


def test_choices_are_kept(agent: Visitor) -> None:
    answer = agent.submit("/preferences", page="/tickets", theme="dark", to="/tickets?x=1")
    assert answer.headers["Location"] == "/tickets?x=1"
    agent.submit("/preferences", page="/tickets", shortcuts="off")
    page = agent.get("/tickets").text
    assert 'data-theme="dark" data-shortcuts="off"' in page
    assert agent.submit("/preferences", page="/tickets", theme="pink").status_code == 400


ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "http:evil.example",
    "/sign-in",
    "",
    "/" + "x" * 3_000,
    "/a\r\nSet-Cookie: a=b",
]


@pytest.mark.parametrize("address", ELSEWHERE)
def test_nobody_is_sent_elsewhere(visitor: Visitor, address: str) -> None:
    assert safe_address(address) == "/tickets"
    assert visitor.sign_in(to=address).headers["Location"] == "/tickets"


# Failures.


def test_failures_slow_down_whoever_guesses(server: Installation) -> None:
    with Visitor(server) as visitor:
        for _ in range(EMAIL_TRIES):
            assert visitor.sign_in(password="guess").status_code == 401
        answer = visitor.sign_in()
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert "Too many sign-ins failed. Wait " in answer.text
        assert visitor.sign_in("admin").status_code == 303  # another agent at the same desk


def test_guesses_at_the_same_time_are_counted(server: Installation) -> None:
    def guess(_: int) -> int:
        with Visitor(server) as visitor:
            return visitor.sign_in(password="guess").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(guess, range(3 * EMAIL_TRIES)))
    assert statuses.count(401) == EMAIL_TRIES
    assert statuses.count(429) == 2 * EMAIL_TRIES


def test_one_address_cannot_try_everybody(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, helpdesk__sessions__ADDRESS_TRIES=3)
    with Visitor(server) as visitor:
        for number in range(3):
            assert visitor.sign_in(email=f"somebody{number}@example.com").status_code == 401
        assert visitor.sign_in().status_code == 429


def test_signing_in_takes_the_failures_away(server: Installation) -> None:
    with Visitor(server) as visitor:
        for _ in range(3):
            for _ in range(EMAIL_TRIES - 1):
                assert visitor.sign_in(password="guess").status_code == 401
            assert visitor.sign_in().status_code == 303
            visitor.submit("/sign-out", page="/tickets")


def test_waits_grow_and_end() -> None:
    waits = [seconds_to_wait(Failures(count, 0), EMAIL_TRIES, 0) for count in range(40)]
    assert waits[:8] == [0, 0, 0, 0, 0, 5, 10, 20]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT
    assert seconds_to_wait(Failures(EMAIL_TRIES, 0), EMAIL_TRIES, 5_000_000) == 0
    assert seconds_to_wait(Failures(EMAIL_TRIES, 0), ADDRESS_TRIES, 0) == 0


# The end of a session.


def test_an_idle_session_ends(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, helpdesk__sessions__IDLE=300_000)
    with signed_in(server) as agent:
        wait_until(lambda: agent.get("/tickets").status_code == 303, what="the end of an idle session")


def test_a_session_in_use_lives_on_to_its_last_day(installation: Installation, tmp_path: Path) -> None:
    constants = {
        "helpdesk__sessions__IDLE": 1_000_000,
        "helpdesk__sessions__SEEN_EVERY": 100_000,
        "helpdesk__sessions__LIFETIME": 3_000_000,
        "ui__signing_in__LIFETIME": 60_000_000,
        "helpdesk__sessions__CACHE_SECONDS": 0.1,
    }
    server = start_tuned(installation, tmp_path, **constants)
    with signed_in(server) as agent:
        begun = time.monotonic()
        wait_until(lambda: agent.get("/tickets").status_code == 303, what="the end of the session's life")
        assert time.monotonic() - begun > 1  # in use, it outlived what it may idle


# A new installation.


def test_a_new_installation_says_what_to_do_first(make_installation: Maker, tmp_path: Path) -> None:
    installation = make_installation(tmp_path, staff=[]).start()
    try:
        with Visitor(installation) as visitor:
            assert "backstory agents create" in visitor.get("/sign-in").text
            assert visitor.sign_in().status_code == 401
    finally:
        installation.kill()
