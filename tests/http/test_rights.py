"""Who may what: a table made from the routes themselves, times every kind of key (contract 2)."""

from __future__ import annotations

import re
import time

import httpx
import pytest

from backstory.cli import with_store
from backstory.config import read_settings
from backstory.helpdesk.access import create_key
from backstory.http.routes import ROUTES, Route
from backstory.model.access import AuditEntry, Right
from backstory.model.moment import now
from backstory.store.base import Store
from tests.http.calls import good_call, name_of, refused_path
from tests.http.test_publish import email, publish
from tests.http.wire import ACTIVITIES, BATCH
from tests.support import Installation, publish_request, wait_until

MAY = {
    "none": {Right.NONE},
    "wrong": {Right.NONE},
    "revoked": {Right.NONE},
    "expired": {Right.NONE},
    "source": {Right.NONE, Right.PUBLISH},
    "agent": {Right.NONE, Right.PUBLISH, Right.READ},
    "admin": {Right.NONE, Right.PUBLISH, Right.READ, Right.ADMIN},
}


def expired_key(installation: Installation) -> str:
    """A key that has ended by itself a moment ago."""
    entry = AuditEntry(0, "test", "test", "test", "test")

    async def work(store: Store) -> str:
        ended = now() - 1_000_000
        return await create_key(
            store.records, agent_email="admin@example.com", sources=(), expires=ended, entry=entry
        )

    return with_store(read_settings({}, database=installation.database_url), work)


def new_key(installation: Installation, *arguments: str) -> tuple[str, str]:
    """A key from the command line, and its number."""
    key = installation.cli("keys", "create", *arguments).stdout.strip()
    listed = installation.cli("keys", "list").stdout
    (line,) = [line for line in listed.splitlines() if key[-4:] in line]
    return key, line.split()[0]


@pytest.fixture(scope="module")
def keys(shared_server: Installation) -> dict[str, str | None]:
    revoked, number = new_key(shared_server, "--agent", "admin@example.com")
    shared_server.cli("keys", "revoke", number)
    return {
        "none": None,
        "wrong": "bs_" + "0" * 48,
        "revoked": revoked,
        "expired": expired_key(shared_server),
        "source": shared_server.source_key,
        "agent": shared_server.agent_key,
        "admin": shared_server.admin_key,
    }


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_who_may_not_is_refused(
    shared_server: Installation, keys: dict[str, str | None], route: Route
) -> None:
    for kind, rights in MAY.items():
        if route.right in rights:
            continue
        auth = httpx.BasicAuth(key, "X") if (key := keys[kind]) else None
        answer = httpx.request(route.method, f"{shared_server.url}{refused_path(route)}", auth=auth)
        known = kind in ("source", "agent")
        assert answer.status_code == (403 if known else 401), kind
        assert answer.json()["code"] == ("access_denied" if known else "invalid_credentials")


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_who_may_is_served(
    shared_server: Installation, api: httpx.Client, keys: dict[str, str | None], route: Route
) -> None:
    for kind, rights in MAY.items():
        if route.right not in rights or (route.right is Right.NONE and kind not in ("none", "agent")):
            continue
        call = good_call(route, api)
        auth = httpx.BasicAuth(key, "X") if (key := keys[kind]) else None
        with (
            httpx.Client(base_url=shared_server.url, auth=auth, timeout=60) as client,
            client.stream(
                route.method, call.path, params=call.query, json=call.body, files=call.files
            ) as answer,
        ):
            assert 200 <= answer.status_code < 300, (kind, answer.read())


def test_the_routes_are_those_of_the_contract() -> None:
    """A new route must be given its right here too: the table above only holds the server to the list."""
    rights = {name_of(route).removeprefix("GET "): route.right for route in ROUTES}
    admin = {path for path, right in rights.items() if right is Right.ADMIN}
    assert admin == {
        "DELETE /contact-activities/{id}",
        "DELETE /contacts/{id}/hard_delete",
        "POST /contacts/merges/{merge_id}/undo",
        *(path for path in rights if re.search(r"/(agents|\w+_fields)\b", path) and path != "/agents/me"),
        "PUT /contacts/{id}/make_agent",
        *(f"{verb} /groups{what}" for verb, what in (("POST", ""), ("PUT", "/{id}"), ("DELETE", "/{id}"))),
        *(f"POST /{noun}/{way}" for noun in ("contacts", "companies") for way in ("import", "export")),
        "/rejected-requests",
        "/audit-log",
    }
    assert {path for path, right in rights.items() if right is Right.NONE} == {
        *(path for path in rights if path.startswith("/api/docs")),
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/attachments/{id}",  # its address is signed
    }
    assert {path for path, right in rights.items() if right is Right.PUBLISH} == {
        "POST /contact-activities",
        "POST /contact-activities/batch",
    }


def test_everything_below_the_api_needs_a_key(shared_server: Installation) -> None:
    for path in ("/api/v2/nothing", "/api/v2/", "/api/v2/contacts/1/x", "/api/v2/openapi.json"):
        assert httpx.get(f"{shared_server.url}{path}").status_code == 401, path
    assert httpx.get(f"{shared_server.url}/nothing").status_code == 404


@pytest.mark.parametrize(
    "owner", [("--agent", "agent@example.com"), ("--source", "shopify")], ids=["agent", "source"]
)
def test_a_revocation_is_in_force_within_a_second(
    shared_server: Installation, owner: tuple[str, str]
) -> None:
    key, number = new_key(shared_server, *owner)
    with shared_server.client(key) as client:

        def status() -> int:
            return client.post(BATCH, json={"activities": []}).status_code

        assert wait_until(lambda: status() == 200)
        shared_server.cli("keys", "revoke", number)
        revoked = time.monotonic()  # later than the revocation itself, so the bound below is the stricter one
        wait_until(lambda: status() == 401, seconds=1, what="the revocation")
        assert time.monotonic() - revoked < 1
        assert all(status() == 401 for _ in range(20))


def test_a_revocation_ends_an_open_stream(shared_server: Installation) -> None:
    key, number = new_key(shared_server, "--agent", "agent@example.com")
    with shared_server.client() as admin:
        contact_id = publish(admin, publish_request(contact={"email": email()}))["contact_id"]
    path = f"/api/v2/contacts/{contact_id}/activities/stream"
    with shared_server.client(key) as client, client.stream("GET", path) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        shared_server.cli("keys", "revoke", number)
        revoked = time.monotonic()
        rest = list(lines)  # it ends, which is what is waited for
        assert time.monotonic() - revoked < 2
    assert not [line for line in rest if line.startswith("event:")]


def test_a_source_key_publishes_and_nothing_else(shared_server: Installation) -> None:
    with shared_server.client(shared_server.source_key) as client:
        published = publish(client, publish_request(contact={"email": email()}))
        assert client.get(f"{ACTIVITIES}/{published['id']}").status_code == 403
        assert client.get(f"/api/v2/contacts/{published['contact_id']}").status_code == 403


def test_a_key_may_have_several_sources(shared_server: Installation) -> None:
    key, _ = new_key(shared_server, "--source", "till", "--source", "web shop")
    with shared_server.client(key) as client:
        for source, status in (("till", 200), ("web shop", 200), ("shopify", 403), ("Till", 403)):
            request = publish_request(source={"name": source}, contact={"email": email()})
            assert client.post(ACTIVITIES, json=request).status_code == status


def test_keys_are_kept_hashed(installation: Installation) -> None:
    keys = (installation.admin_key, installation.agent_key, installation.source_key)
    rows = installation.sql("SELECT * FROM api_keys")
    assert len(rows) == len(keys)
    files = installation.directory.glob("backstory.db*")  # the engines beside SQLite have none
    for content in [repr(rows).encode(), *(file.read_bytes() for file in files)]:
        for key in keys:
            assert key.removeprefix("bs_").encode() not in content
