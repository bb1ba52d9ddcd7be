"""Bodies: how large, how fast, of which type, and not JSON (contract 1.1, 3). Bounded memory throughout."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email
from tests.http.wire import ACTIVITIES, BATCH, RawConnection, basic, start_tuned
from tests.support import Installation, publish_request

JSON = "Content-Type: application/json"
MEBI = 1024 * 1024


def padded(size: int) -> bytes:
    """A good request of exactly so many bytes."""
    text = json.dumps(publish_request(contact={"email": email()})).encode()
    return text + b" " * (size - len(text))


def post(api: httpx.Client, path: str, body: bytes, **headers: str) -> httpx.Response:
    return api.post(path, content=body, headers={"Content-Type": "application/json"} | headers)


def peak_memory(server: Installation) -> int:
    """The largest resident size of the server so far, in MiB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def test_one_mebibyte_is_possible_and_a_byte_more_is_not(api: httpx.Client) -> None:
    assert post(api, ACTIVITIES, padded(MEBI)).status_code == 200
    answer = post(api, ACTIVITIES, padded(MEBI + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "request_too_large"
    assert set(answer.json()) == {"code", "message"}


def test_a_batch_may_have_ten_mebibytes(api: httpx.Client) -> None:
    body = b'{"activities": [' + padded(10 * MEBI - 18) + b"]}"
    assert len(body) == 10 * MEBI
    assert post(api, BATCH, body).status_code == 200
    assert post(api, BATCH, body + b" ").status_code == 413


def zeros(size: int) -> Any:
    piece = b"0" * 65536
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.parametrize("path", [ACTIVITIES, BATCH])
@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_clients_that_send_a_hundred_megabytes_see_the_answer(
    server: Installation, path: str, announced: bool
) -> None:
    size = 100 * MEBI
    headers = {"Content-Type": "application/json"} | ({"Content-Length": str(size)} if announced else {})
    before = peak_memory(server)

    def send(_: int) -> httpx.Response:
        with server.client() as client:
            return client.post(path, content=zeros(size), headers=headers)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {413}
    assert {answer.json()["code"] for answer in answers} == {"request_too_large"}
    assert peak_memory(server) - before < 100, "four bodies of at most 10 MiB, never 100"
    with server.client() as client:
        assert client.post(ACTIVITIES, json=publish_request()).status_code == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("path", [ACTIVITIES, BATCH])
@pytest.mark.parametrize("extra", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]])
def test_curl_sees_the_answer_too(
    shared_server: Installation, tmp_path: Path, path: str, extra: list[str]
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(100 * MEBI)
    command = ["curl", "-s", "-u", f"{shared_server.admin_key}:X", "-H", JSON, *extra]
    done = subprocess.run(
        [*command, "-w", "\n%{http_code}", "--data-binary", f"@{big}", f"{shared_server.url}{path}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    body, _, status = done.stdout.rpartition("\n")
    assert (status, json.loads(body)["code"]) == ("413", "request_too_large"), done.stderr


def test_chunked_bodies_are_taken(shared_server: Installation) -> None:
    body = padded(2000)
    with RawConnection(shared_server.url) as connection:
        connection.head("POST", ACTIVITIES, shared_server.admin_key, JSON, "Transfer-Encoding: chunked")
        for start in range(0, len(body), 100):
            connection.chunk(body[start : start + 100])
        connection.chunk(b"")
        answer = connection.answer()
    assert answer.status == 200, answer.body


def test_a_body_that_ends_early_stores_nothing_and_harms_nobody(
    shared_server: Installation, api: httpx.Client
) -> None:
    body = padded(500)
    with RawConnection(shared_server.url) as connection:
        connection.head("POST", ACTIVITIES, shared_server.admin_key, JSON, f"Content-Length: {len(body)}")
        connection.send(body[:200])
    mail = json.loads(body)["contact"]["email"]
    assert post(api, ACTIVITIES, body).json()["matched_by"] == "created", mail


def test_slow_bodies_are_408(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, http__body__READ_SECONDS=1)
    body = padded(10_000)
    for sent in (b"", body[:1]):
        with RawConnection(server.url) as connection:
            connection.head("POST", ACTIVITIES, server.admin_key, JSON, f"Content-Length: {len(body)}")
            connection.send(sent)
            answer = connection.answer()
            assert answer.status == 408
            assert answer.json()["code"] == "request_timeout"
            assert connection.read_all() == b"", "nothing more is expected on this connection"


def test_a_body_in_drops_is_408(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, http__body__READ_SECONDS=1)
    answered = threading.Event()
    with RawConnection(server.url) as connection:
        connection.head("POST", ACTIVITIES, server.admin_key, JSON, "Transfer-Encoding: chunked")

        def drip() -> None:
            while not answered.wait(0.05) and connection.chunk(b" "):
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        started = time.monotonic()
        answer = connection.answer()
        answered.set()
        thread.join()
    assert answer.status == 408
    assert time.monotonic() - started < 10


def test_a_slow_body_that_is_too_large_is_answered_after_a_while(
    installation: Installation, tmp_path: Path
) -> None:
    server = start_tuned(installation, tmp_path, http__body__DRAIN_SECONDS=0.5)
    with RawConnection(server.url) as connection:
        connection.head("POST", ACTIVITIES, server.admin_key, JSON, f"Content-Length: {100 * MEBI}")
        connection.send(b" " * 1000)
        assert connection.answer().status == 413


def test_expect_100_continue_is_answered_without_the_body(shared_server: Installation) -> None:
    with RawConnection(shared_server.url) as connection:
        connection.head("POST", ACTIVITIES, None, JSON, "Content-Length: 100000000", "Expect: 100-continue")
        assert connection.answer().status == 401


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-ndjson", "json"],
)
def test_other_types_are_415(api: httpx.Client, kind: str) -> None:
    answer = post(api, ACTIVITIES, padded(500), **{"Content-Type": kind})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "kind", ["application/json", "APPLICATION/JSON; charset=UTF-8", "application/json;charset=utf-8"]
)
def test_json_by_any_spelling_is_taken(api: httpx.Client, kind: str) -> None:
    assert post(api, ACTIVITIES, padded(500), **{"Content-Type": kind}).status_code == 200


def test_a_body_without_a_type_is_taken_as_json(shared_server: Installation) -> None:
    body = padded(500)
    with RawConnection(shared_server.url) as connection:
        connection.head("POST", ACTIVITIES, shared_server.admin_key, f"Content-Length: {len(body)}")
        connection.send(body)
        assert connection.answer().status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
def test_compressed_bodies_are_415(api: httpx.Client, encoding: str) -> None:
    answer = post(api, ACTIVITIES, padded(500), **{"Content-Encoding": encoding})
    assert answer.status_code == 415
    assert post(api, ACTIVITIES, padded(500), **{"Content-Encoding": "identity"}).status_code == 200


# Not JSON.

GOOD = b'{"activity": {"name": "n", "actor": {"type": "t"}, "source": {"name": "s"}, "context": %s},'
GOOD += b' "contact": {"email": "a@example.com"}}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"{'activity': 1}",
        GOOD % b"{,}",
        GOOD % b'{"a": 1, "a": 2}',
        GOOD % b'{"a": {"b": 1, "b": 1}}',
        GOOD % b'{"a": NaN}',
        GOOD % b'{"a": Infinity}',
        GOOD % b'{"a": -Infinity}',
        GOOD % b'{"a": 01}',
        GOOD % b'{"a": "\\ud800"}',
        GOOD % b'{"\\udc00": 1}',
        GOOD % b'{"a": "\\ud83d\\u0041"}',
        GOOD % b'{"a": "\xed\xa0\x80"}',
        GOOD % b'{"a": "\n"}',
        GOOD % (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        b"[" * 10_000,
        b'{"a":' * 100_000,
        (GOOD % b"{}")[:-1] + b', "contact": {"email": "a@example.com"}}',
    ],
)
def test_what_is_not_json_is_said_so(api: httpx.Client, body: bytes) -> None:
    for path, kind in ((ACTIVITIES, "application/json"), ("/api/v2/contacts", "application/json")):
        answer = post(api, path, body, **{"Content-Type": kind})
        assert answer.status_code == 400, body[:100]
        assert answer.json()["code"] == "invalid_json", (path, body[:100], answer.text[:200])


@pytest.mark.parametrize(
    "place", ["activity", "activity.name", "activity.context", "contact", "contact.email"]
)
def test_nesting_of_every_depth_has_a_documented_answer(api: httpx.Client, place: str) -> None:
    """Just below the parser's own limit the messages and the checks must not break either."""
    for depth in (31, 32, 33, 100, 400, 900, *range(950, 1010, 3), 2_000):
        for core in (b"1", b'"\\ud83d\\ude00"'):
            value = b'{"a":' * (depth // 2) + b"[" * (depth - depth // 2) + core
            value += b"]" * (depth - depth // 2) + b"}" * (depth // 2)
            request: Any = publish_request(contact={"email": email()})
            outer = request
            *path, last = place.split(".")
            for name in path:
                outer = outer[name]
            outer[last] = "@@"
            body = json.dumps(request).encode().replace(b'"@@"', value)
            answer = post(api, ACTIVITIES, body)
            wanted = {200} if place == "activity.context" and depth <= 32 else {400}
            assert answer.status_code in wanted, (depth, core, answer.text[:300])
            batch = post(api, BATCH, b'{"activities": [%s]}' % body)
            assert batch.status_code in (200, 400), (depth, core, batch.text[:300])
            contact = post(api, "/api/v2/contacts", b'{"name": %s}' % value)
            assert contact.status_code == 400, (depth, core, contact.text[:300])


def test_wrong_bodies_of_every_top_level_type(api: httpx.Client) -> None:
    for body in (b"[]", b"1", b'"text"', b"true", b"null", b"1e999"):
        answer = post(api, ACTIVITIES, body)
        assert answer.status_code == 400, body
        assert [error["code"] for error in answer.json()["errors"]] == ["datatype_mismatch"]


def test_a_body_where_none_belongs(api: httpx.Client) -> None:
    for method, path in (("GET", ACTIVITIES), ("DELETE", f"{ACTIVITIES}/x"), ("GET", "/healthz")):
        answer = api.request(method, path, content=b"{}")
        assert answer.status_code == 400
        assert answer.json()["code"] == "no_content_required"


def test_pipelined_and_malformed_http_does_not_stop_the_server(shared_server: Installation) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"a" * 200_000):
        with RawConnection(shared_server.url) as connection:
            connection.send(garbage)
    with RawConnection(shared_server.url) as connection:
        line = f"GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: {basic('x')}\r\n\r\n".encode()
        connection.send(line * 2)
        assert connection.answer().status == 200
    assert httpx.get(f"{shared_server.url}/healthz").status_code == 200
