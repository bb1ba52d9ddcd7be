"""Faults in the contract's order, with their exact shapes, and the usual headers on every answer (contract 3, 4.1)."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID

import httpx
import pytest

from backstory.model.checks import MAX_UNKNOWN
from tests.http.test_publish import email, publish
from tests.http.wire import ACTIVITIES, BATCH, RawConnection, basic
from tests.support import FINDS_WORDS, Installation, publish_request

pytestmark = pytest.mark.every_engine(cluster=False)  # refusals come before the log

UNKNOWN_ID = "01890000-0000-7000-8000-000000000000"
TEXT = {"Content-Type": "text/plain"}
NOT_LOGGED_IN = {"code": "invalid_credentials", "message": "You have to be logged in to perform this action."}
NOT_ALLOWED = {"code": "access_denied", "message": "You are not authorized to perform this action."}


def check_usual(answer: httpx.Response) -> None:
    """The headers of contract 4.1."""
    assert UUID(answer.headers["X-Request-Id"]).version == 4
    assert answer.headers["X-Freshdesk-Api-Version"] == "latest=v2; requested=v2"
    for name in ("Total", "Remaining", "Used-CurrentRequest"):
        assert re.fullmatch(r"\d+", answer.headers[f"X-RateLimit-{name}"])
    assert int(answer.headers["X-RateLimit-Remaining"]) > 0
    if answer.status_code != 204:
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert "www-authenticate" not in answer.headers
    assert "server" not in answer.headers


def check_request_fault(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message"}
    assert answer.json()["code"] == code
    assert answer.json()["message"]
    check_usual(answer)


def test_the_order_of_faults(shared_server: Installation, api: httpx.Client) -> None:
    """Each request has every fault from its place on; the first one counts."""
    big = b"x" * (1024 * 1024 + 1)
    with httpx.Client(base_url=shared_server.url) as nobody:
        check_request_fault(
            nobody.put("/api/v2/nothing", content=big, headers=TEXT), 401, "invalid_credentials"
        )
    with shared_server.client(shared_server.source_key) as source:
        check_request_fault(source.put("/api/v2/nothing", content=big, headers=TEXT), 404, "not_found")
        check_request_fault(
            source.put("/api/v2/audit-log", content=big, headers=TEXT), 405, "method_not_allowed"
        )
        check_request_fault(source.post("/api/v2/contacts", content=big, headers=TEXT), 403, "access_denied")
        check_request_fault(source.post(ACTIVITIES, content=big, headers=TEXT), 415, "unsupported_media_type")
        check_request_fault(
            source.post(ACTIVITIES, content=big, headers={"Content-Type": "application/json"}),
            413,
            "request_too_large",
        )
        check_request_fault(
            source.post(ACTIVITIES, content=b"x", headers={"Content-Type": "application/json"}),
            400,
            "invalid_json",
        )
    check_request_fault(api.get(f"{ACTIVITIES}/{UNKNOWN_ID}", params={"x": 1}), 404, "not_found")


def test_every_status_has_the_usual_headers(shared_server: Installation, api: httpx.Client) -> None:
    published = api.post(ACTIVITIES, json=publish_request(contact={"email": email()}))
    contact_id = published.json()["contact_id"]
    created = api.post("/api/v2/contacts", json={"name": "A", "email": email()})
    answers: list[tuple[int, httpx.Response]] = [
        (200, published),
        (200, api.get(f"{ACTIVITIES}/{published.json()['id']}")),
        (200, api.get(f"/api/v2/contacts/{contact_id}/activities")),
        (200, api.get("/healthz")),
        (200, api.get("/readyz")),
        (200, api.get("/openapi.json")),
        (201, created),
        (400, api.post(ACTIVITIES, json={})),
        (400, api.get(f"{ACTIVITIES}?per_page=0")),
        (401, httpx.get(f"{shared_server.url}/api/v2/contacts")),
        (404, api.get(f"{ACTIVITIES}/{UNKNOWN_ID}")),
        (404, api.get("/nowhere")),
        (404, api.get("/api/v3/contacts")),
        (405, api.delete(ACTIVITIES)),
        (406, api.get(ACTIVITIES, headers={"Accept": "text/html"})),
        (409, api.post("/api/v2/contacts", json={"name": "A", "email": created.json()["email"]})),
        (413, api.post(ACTIVITIES, content=b" " * 2_000_000)),
        (415, api.post(ACTIVITIES, content=b"{}", headers=TEXT)),
        (204, api.delete(f"{ACTIVITIES}/{published.json()['id']}")),
    ]
    with shared_server.client(shared_server.source_key) as source:
        answers.append((403, source.get(ACTIVITIES)))
    for status, answer in answers:
        assert answer.status_code == status, answer.text
        check_usual(answer)
    assert len({answer.headers["X-Request-Id"] for _, answer in answers}) == len(answers)


def test_the_other_types_have_the_usual_headers_too(api: httpx.Client) -> None:
    for path, kind in (("/metrics", "text/plain"), ("/api/docs", "text/html")):
        answer = api.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.headers["X-Freshdesk-Api-Version"] == "latest=v2; requested=v2"
        assert UUID(answer.headers["X-Request-Id"]).version == 4


def test_401_and_403_are_worded_as_clients_know_them(shared_server: Installation) -> None:
    for headers in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer"}, {"Authorization": "é"}):
        encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        answer = httpx.get(f"{shared_server.url}/api/v2/contacts", headers=encoded)
        check_request_fault(answer, 401, "invalid_credentials")
        assert answer.json() == NOT_LOGGED_IN
    with shared_server.client(shared_server.source_key) as source:
        assert source.get(ACTIVITIES).json() == NOT_ALLOWED


def test_405_names_what_is_possible(api: httpx.Client) -> None:
    answer = api.put(ACTIVITIES)
    check_request_fault(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.engine_neutral
def test_a_verb_that_there_is_nowhere(shared_server: Installation) -> None:
    """Nobody is asked for a key: it cannot be read so far."""
    for path in ("/api/v2/contacts", "/healthz", "/nowhere"):
        answer = httpx.request("FOO", f"{shared_server.url}{path}")
        check_request_fault(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "DELETE, GET, POST, PUT"
        assert answer.headers["Connection"] == "close"
    assert httpx.request("PROPFIND", f"{shared_server.url}/api/v2/contacts").status_code == 401


@pytest.mark.engine_neutral
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET /api/v2/contacts HTTP/x\r\n\r\n", "HTTP/1.1"),
        (b"GET /api/v2/contacts?email=a b HTTP/1.1\r\n\r\n", "HTTP/1.1"),
        (b"GET /api/v2/contacts?email=\xc3\xbc HTTP/1.1\r\n\r\n", "percent-encode"),
        (b"GET /api/v2/contacts HTTP/1.1\r\nno colon\r\n\r\n", "header"),
        (b"GET /api/v2/contacts/\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n", "percent-encode"),
        (b"POST /api/v2/contacts HTTP/1.1\r\nContent-Length: ten\r\n\r\n", "Content-Length"),
        (
            b"POST /api/v2/contact-activities HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: %(key)s\r\n\r\nzz\r\n",
            "chunk",
        ),
    ],
)
def test_what_is_no_http_is_told_as_every_fault(shared_server: Installation, sent: bytes, told: str) -> None:
    with RawConnection(shared_server.url) as connection:
        connection.send(sent.replace(b"%(key)s", basic(shared_server.admin_key).encode()))
        raw = connection.answer()
        answer = httpx.Response(raw.status, headers=raw.headers, content=raw.body)
        check_request_fault(answer, 400, "invalid_request")
        assert told in answer.json()["message"]
        assert connection.read_all() == b"", "the connection ends"


@pytest.mark.engine_neutral
@pytest.mark.parametrize("begun", [b"GET /healthz?q=", b"GET /healthz HTTP/1.1\r\nX-Long: "])
def test_headers_without_end_are_not_kept(shared_server: Installation, begun: bytes) -> None:
    """A stranger would fill the memory with them: nobody is asked for a key before they are complete."""
    with RawConnection(shared_server.url) as connection:
        connection.send(begun + b"x" * 65_000)
        sent = 0
        while not connection.is_answered():
            assert sent < 1_000, "they are taken"
            sent += connection.send(b"x" * 1_000)
        raw = connection.answer()
    answer = httpx.Response(raw.status, headers=raw.headers, content=raw.body)
    check_request_fault(answer, 400, "invalid_request")
    assert "larger than 65,536 bytes" in answer.json()["message"]


@pytest.mark.engine_neutral
def test_headers_may_come_in_pieces(shared_server: Installation) -> None:
    with RawConnection(shared_server.url) as connection:
        for _ in range(2):
            for piece in (b"GET /healthz HTTP/1.1\r\n", b"X-Long: " + b"x" * 60_000, b"\r\n", b"\r\n"):
                connection.send(piece)
            assert connection.answer().status == 200


@pytest.mark.engine_neutral
def test_what_follows_a_request_does_not_take_its_answer(shared_server: Installation) -> None:
    """Who was told 400 for what is stored would send it again, or never."""
    body = json.dumps(publish_request(contact={"email": email()})).encode()
    with RawConnection(shared_server.url) as connection:
        head = f"POST {ACTIVITIES} HTTP/1.1\r\nAuthorization: {basic(shared_server.source_key)}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.send(head.encode() + body + b"this is not HTTP\r\n\r\n")
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.read_all() == b""


def test_head_answers_as_get_would_without_a_body(shared_server: Installation, api: httpx.Client) -> None:
    contact_id = publish(api, publish_request(contact={"email": email()}))["contact_id"]
    timeline = f"/api/v2/contacts/{contact_id}/activities"
    for path in ("/healthz", timeline, f"{timeline}/stream", "/sign-in"):
        answer = api.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    assert api.head(timeline).headers["Content-Length"] == api.get(timeline).headers["Content-Length"]
    assert httpx.head(f"{shared_server.url}{timeline}").status_code == 401
    assert api.head("/api/v2/contacts/merge").status_code == 405


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "*/*",
        "application/*",
        "text/html, application/xhtml+xml, */*;q=0.8",
        "text/html;q=0.9, application/json;q=0.1",
        "APPLICATION/JSON; charset=utf-8",
        "",
    ],
)
def test_accept_that_allows_it(api: httpx.Client, accept: str) -> None:
    assert api.get(ACTIVITIES, headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml",
        "text/*",
        "application/json;q=0",
        "application/json;q=0.000",
        "image/png",
    ],
)
def test_accept_that_allows_nothing(api: httpx.Client, accept: str) -> None:
    check_request_fault(api.get(ACTIVITIES, headers={"Accept": accept}), 406, "not_acceptable")


def test_accept_is_held_against_the_route(api: httpx.Client) -> None:
    stream = "/api/v2/contacts/1/activities/stream"
    check_request_fault(api.get(stream, headers={"Accept": "application/json"}), 406, "not_acceptable")
    assert api.get("/metrics", headers={"Accept": "text/plain"}).status_code == 200
    assert api.get("/metrics", headers={"Accept": "application/json"}).status_code == 406


LONG = "0" * 19 + "1"


@pytest.mark.parametrize(
    "contact_id",
    [
        "0",
        "-1",
        "abc",
        "1.0",
        "9" * 19,
        "9" * 30,
        "٣",
        "%20",
        "1%00",
        f"{LONG}{'9' * 30}",
        f"{LONG}{'0' * 5000}",
    ],
)
def test_contact_ids_that_cannot_be_are_404(api: httpx.Client, contact_id: str) -> None:
    for path in (f"/api/v2/contacts/{contact_id}", f"/api/v2/contacts/{contact_id}/activities"):
        check_request_fault(api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "activity_id",
    [
        "x",
        UNKNOWN_ID,
        UNKNOWN_ID.replace("-", ""),
        f"{{{UNKNOWN_ID}}}",
        "%00",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
def test_activity_ids_that_name_nothing_are_404(api: httpx.Client, activity_id: str) -> None:
    check_request_fault(api.get(f"{ACTIVITIES}/{activity_id}"), 404, "not_found")
    check_request_fault(api.delete(f"{ACTIVITIES}/{activity_id}"), 404, "not_found")


def bad_query(api: httpx.Client, path: str, query: str) -> dict[str, str]:
    answer = api.get(f"{path}?{query}")
    assert answer.status_code == 400, (query, answer.text[:300])
    check_usual(answer)
    body: dict[str, Any] = answer.json()
    assert body["description"] == "Validation failed"
    return {error["field"]: error["code"] for error in body["errors"]}


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("per_page=0", "per_page", "invalid_value"),
        ("per_page=101", "per_page", "invalid_value"),
        ("per_page=-1", "per_page", "invalid_value"),
        ("per_page=1e1", "per_page", "invalid_value"),
        ("per_page=%D9%A3", "per_page", "invalid_value"),
        (f"per_page={LONG}000", "per_page", "invalid_value"),
        ("per_page=", "per_page", "invalid_value"),
        ("page=2", "page", "invalid_field"),
        ("colour=blue", "colour", "invalid_field"),
        ("since=yesterday", "since", "invalid_value"),
        ("until=2020-13-01", "until", "invalid_value"),
        ("q=%20", "q", "invalid_value"),
        ("q=%21%3F", "q", "invalid_value"),
        ("source=a%00b", "source", "invalid_value"),
        (f"name={'n' * 2000}", "name", "invalid_value"),
        ("&".join(f"type={number}" for number in range(60)), "type", "invalid_value"),
        ("cursor=x", "cursor", "invalid_value"),
        (f"cursor={'A' * 30}%3D%3D", "cursor", "invalid_value"),
        (f"cursor={'A' * 31}%3D", "cursor", "invalid_value"),
        (f"cursor={'_' * 32}", "cursor", "invalid_value"),
        (f"cursor={'%21' * 32}", "cursor", "invalid_value"),
        (f"cursor={'%C3%A9' * 32}", "cursor", "invalid_value"),
        (f"cursor={'A' * 4}%0A{'A' * 27}", "cursor", "invalid_value"),
    ],
)
def test_queries_at_fault(api: httpx.Client, query: str, field: str, code: str) -> None:
    assert bad_query(api, ACTIVITIES, query) == {field: code}
    contact_id = api.post(ACTIVITIES, json=publish_request(contact={"email": email()})).json()["contact_id"]
    assert bad_query(api, f"/api/v2/contacts/{contact_id}/activities", query) == {field: code}


def test_every_fault_of_a_query_at_once(api: httpx.Client) -> None:
    assert bad_query(api, ACTIVITIES, "per_page=x&since=y&cursor=z&colour=blue") == {
        "per_page": "invalid_value",
        "since": "invalid_value",
        "cursor": "invalid_value",
        "colour": "invalid_field",
    }


def test_faults_of_a_query_are_not_larger_than_their_cause(api: httpx.Client) -> None:
    path = "/api/v2/contacts"
    many = bad_query(api, path, "&".join(f"x{number}=1" for number in range(3_000)))
    assert list(many.values()) == ["invalid_field"] * (MAX_UNKNOWN + 1)
    repeated = api.get(f"{path}?{'colour=1&page=&' * 1_000}")
    assert [error["field"] for error in repeated.json()["errors"]] == ["colour", "page"]


@pytest.mark.parametrize("path", ["/api/v2/audit-log", "/api/v2/rejected-requests"])
@pytest.mark.parametrize("before", ["0", "x", "9" * 30, f"{LONG}{'0' * 40}"])
def test_lists_of_an_admin_check_their_queries(api: httpx.Client, path: str, before: str) -> None:
    assert bad_query(api, path, f"before={before}") == {"before": "invalid_value"}


@pytest.mark.parametrize(
    "path", [pytest.param(ACTIVITIES, marks=FINDS_WORDS), "/api/v2/contacts/1/activities"]
)
def test_searches_of_any_length_have_an_answer(api: httpx.Client, path: str) -> None:
    api.post(ACTIVITIES, json=publish_request())
    for query in (
        " ".join(f"{number:x}" for number in range(250)),
        "a" * 1024,
        "NOT OR AND NEAR(",
        '"; DROP TABLE words; --',
        "rachel* ^first name:x -a",
        "\U0001f6d2 x",
        "@" + "0" * 32,
        "½ ﬁ İ ß",
    ):
        assert api.get(path, params={"q": query}).status_code in (200, 404), query


def test_batches_have_the_same_rights_and_faults(shared_server: Installation) -> None:
    with httpx.Client(base_url=shared_server.url) as nobody:
        check_request_fault(nobody.post(BATCH, content=b"x"), 401, "invalid_credentials")
