"""What real clients do, and must get away with (contract 2 and 4.5)."""

from __future__ import annotations

from base64 import b64encode

import httpx
import pytest

from tests.http.test_publish import email
from tests.http.wire import ACTIVITIES, BATCH, RawConnection, basic
from tests.support import Installation, publish_request

JSON = {"Content-Type": "application/json"}


def spellings(key: str) -> dict[str, str]:
    bare = b64encode(f"{key}:X".encode()).decode()
    return {
        "basic": basic(key),
        "lower case": f"basic {bare}",
        "no password": basic(key, ""),
        "a password with a colon": basic(key, "a:b:c"),
        "only the base64": bare,
        "no colon": f"Basic {b64encode(key.encode()).decode()}",
        "bearer": f"Bearer {key}",
        "lower case bearer": f"bearer  {key}",
    }


@pytest.mark.parametrize("spelling", spellings("x"))
def test_keys_by_every_spelling(shared_server: Installation, spelling: str) -> None:
    header = {"Authorization": spellings(shared_server.agent_key)[spelling]}
    assert httpx.get(f"{shared_server.url}{ACTIVITIES}", headers=header).status_code == 200
    wrong = {"Authorization": spellings(f"{shared_server.agent_key[:-1]}_")[spelling]}
    assert httpx.get(f"{shared_server.url}{ACTIVITIES}", headers=wrong).status_code == 401


def test_the_last_of_a_repeated_parameter_counts(api: httpx.Client) -> None:
    mail = email()
    request = publish_request(contact={"email": mail})
    contact_id, *_ = [api.post(ACTIVITIES, json=request).json()["contact_id"] for _ in range(3)]
    path = f"/api/v2/contacts/{contact_id}/activities"
    assert len(api.get(f"{path}?per_page=1&per_page=100&per_page=2").json()) == 2
    assert len(api.get(f"{path}?name=nothing&name=Transaction+failed").json()) == 3
    assert len(api.get(f"{path}?per_page=&per_page=x&per_page=2").json()) == 2


def test_a_json_content_type_without_a_body(api: httpx.Client) -> None:
    published = api.post(ACTIVITIES, json=publish_request(contact={"email": email()})).json()
    path = f"{ACTIVITIES}/{published['id']}"
    assert api.get(path, headers=JSON).status_code == 200
    assert api.get(path, headers=JSON | {"Content-Length": "0"}).status_code == 200
    assert api.delete(path, headers=JSON).status_code == 204


def test_a_chunked_body_without_a_byte(shared_server: Installation) -> None:
    with RawConnection(shared_server.url) as connection:
        connection.head("GET", ACTIVITIES, shared_server.agent_key, "Transfer-Encoding: chunked")
        connection.chunk(b"")
        assert connection.answer().status == 200


def test_no_accept_header(shared_server: Installation) -> None:
    with RawConnection(shared_server.url) as connection:
        connection.head("GET", ACTIVITIES, shared_server.agent_key)
        assert connection.answer().status == 200


def test_trailing_slashes(api: httpx.Client) -> None:
    published = api.post(f"{ACTIVITIES}/", json=publish_request(contact={"email": email()}))
    assert published.status_code == 200
    contact_id = published.json()["contact_id"]
    assert api.post(f"{BATCH}/", json={"activities": []}).status_code == 200
    for path in (
        f"{ACTIVITIES}/?per_page=1",
        f"{ACTIVITIES}/{published.json()['id']}/",
        f"/api/v2/contacts/{contact_id}/",
        f"/api/v2/contacts/{contact_id}/activities/?per_page=1",
        "/healthz/",
    ):
        assert api.get(path).status_code == 200, path


def test_a_plus_that_was_not_escaped_in_a_time(api: httpx.Client) -> None:
    mail = email()
    request = publish_request(timestamp="2020-10-01T14:00:00+02:00", contact={"email": mail})
    contact_id = api.post(ACTIVITIES, json=request).json()["contact_id"]
    path = f"/api/v2/contacts/{contact_id}/activities"
    assert len(api.get(f"{path}?since=2020-10-01T14:00:00+02:00").json()) == 1
    assert len(api.get(f"{path}?since=2020-10-01T14:00:01%2B02:00").json()) == 0


def test_the_importers_probe(shared_server: Installation) -> None:
    """One importer recognises the service by a header on an unauthenticated list of contacts."""
    answer = httpx.get(f"{shared_server.url}/api/v2/contacts")
    assert answer.status_code == 401
    assert answer.headers["X-Freshdesk-Api-Version"] == "latest=v2; requested=v2"
