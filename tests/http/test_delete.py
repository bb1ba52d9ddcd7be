"""Deleting, the audit log, and refused requests that an admin reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, BATCH, find, start_tuned
from tests.support import FINDS_WORDS, SOURCE, Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine

AUDIT = "/api/v2/audit-log"
REJECTED = "/api/v2/rejected-requests"


def all_of(api: httpx.Client, path: str) -> list[Any]:
    answer = api.get(path, params={"per_page": 100})
    assert answer.status_code == 200
    items: list[Any] = answer.json()
    while "Link" in answer.headers:
        answer = api.get(answer.headers["Link"].partition(";")[0].strip("<>"))
        items += answer.json()
    return items


def test_a_deleted_activity_is_gone_from_every_reading(api: httpx.Client) -> None:
    order, word, mail = unique("order"), unique("w").replace("-", ""), email()
    request = publish_request(name=word, context={"Order id": order}, contact={"email": mail})
    kept, gone = publish(api, request), publish(api, request)
    queries: tuple[tuple[str, dict[str, str]], ...] = (
        (f"/api/v2/contacts/{gone['contact_id']}/activities", {}),
        (f"/api/v2/contacts/{gone['contact_id']}/activities", {"q": word}),
        (ACTIVITIES, {"ref": order}),
        (ACTIVITIES, {"name": word}),
    )

    def found() -> list[set[str]]:
        return [
            {activity["id"] for activity in api.get(path, params=query).json()} for path, query in queries
        ]

    wait_until(lambda: found() == [{kept["id"], gone["id"]}] * len(queries), what="the index")
    assert api.delete(f"{ACTIVITIES}/{gone['id']}").status_code == 204
    assert found() == [{kept["id"]}] * len(queries)
    assert api.get(f"{ACTIVITIES}/{gone['id']}").status_code == 404
    assert api.delete(f"{ACTIVITIES}/{gone['id']}").status_code == 404


@FINDS_WORDS
def test_its_words_are_gone_from_those_across_contacts(api: httpx.Client) -> None:
    word = unique("w").replace("-", "")
    gone = publish(api, publish_request(name=word, contact={"email": email()}))
    wait_until(lambda: find(api, q=word), what="the index")
    api.delete(f"{ACTIVITIES}/{gone['id']}").raise_for_status()
    assert find(api, q=word) == []


@pytest.mark.engine("sqlite")  # the others keep no file
def test_its_text_is_gone_from_the_file(server: Installation) -> None:
    secret = unique("SECRET")
    with server.client() as api:
        published = publish(
            api, publish_request(name=secret, context={"x": secret}, contact={"email": email()})
        )
        wait_until(lambda: api.get(ACTIVITIES, params={"name": secret}).json(), what="the index")
        assert api.delete(f"{ACTIVITIES}/{published['id']}").status_code == 204
    server.stop()
    files = list(server.directory.glob("backstory.db*"))
    assert files
    for file in files:
        assert secret.encode() not in file.read_bytes(), file
        assert secret.lower().replace("-", "").encode() not in file.read_bytes(), file


def test_a_deletion_is_audited_without_personal_values(
    shared_server: Installation, api: httpx.Client
) -> None:
    mail = email()
    published = publish(
        api, publish_request(name="Told us a secret", contact={"email": mail, "name": "Rachel Zane"})
    )
    api.delete(f"{ACTIVITIES}/{published['id']}")
    created = api.post("/api/v2/contacts", json={"name": "Rachel Zane", "email": email()}).json()
    key = shared_server.cli("keys", "create", "--agent", "agent@example.com").stdout.strip()
    entries = all_of(api, AUDIT)
    by_target = {entry["target"]: entry for entry in entries}
    deletion = by_target[f"activity:{published['id']}"]
    assert set(deletion) == {"id", "at", "actor", "action", "target", "origin", "details"}
    assert deletion["action"] == "activity.delete"
    assert deletion["actor"].startswith("agent:")
    assert deletion["origin"] == "api 127.0.0.1"
    assert by_target[f"contact:{created['id']}"]["action"] == "contact.create"
    assert any(entry["action"] == "key.create" and entry["actor"].startswith("os:") for entry in entries)
    text = json.dumps(entries)
    for value in (mail, created["email"], "Rachel", "secret", "agent@example.com", "Agent", key, key[-20:]):
        assert value not in text, value
    assert [entry["id"] for entry in entries] == sorted((entry["id"] for entry in entries), reverse=True)


def test_what_was_refused_is_not_audited(api: httpx.Client) -> None:
    before = len(all_of(api, AUDIT))
    assert api.delete(f"{ACTIVITIES}/01890000-0000-7000-8000-000000000000").status_code == 404
    assert api.post("/api/v2/contacts", json={"name": "A"}).status_code == 400
    assert len(all_of(api, AUDIT)) == before


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_audit_log_cannot_be_changed(shared_server: Installation, statement: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        shared_server.sql(statement)


def test_refused_requests_are_kept_for_an_admin(shared_server: Installation, api: httpx.Client) -> None:
    mark = unique("mark")
    bad = publish_request(name="", context={"mark": mark})
    with shared_server.client(shared_server.source_key) as source:
        refused = source.post(ACTIVITIES, json=bad)
        source.post(ACTIVITIES, json=publish_request(name=mark, source={"name": "stripe"}))
        source.post(BATCH, json={"activities": [publish_request(), publish_request(name="", link=mark)]})
        source.post(ACTIVITIES, content=f'{{"{mark}', headers={"Content-Type": "application/json"})
        source.post(ACTIVITIES, json=publish_request(name=mark, contact={"id": 10**15}))
    kept = [entry for entry in all_of(api, REJECTED) if mark in entry["body"]]
    assert [entry["status"] for entry in kept] == [400, 400, 400, 403, 400]
    unknown, _json, item, foreign, first = kept
    assert set(first) == {"id", "at", "request_id", "path", "status", "key_id", "source", "errors", "body"}
    assert first["request_id"] == refused.headers["X-Request-Id"]
    assert first["path"] == ACTIVITIES
    assert first["source"] == SOURCE
    assert isinstance(first["key_id"], int)
    assert first["at"].endswith("Z")
    assert [(error["field"], error["code"]) for error in first["errors"]] == [
        ("activity.name", "invalid_value")
    ]
    assert json.loads(first["body"]) == bad
    assert item["path"] == BATCH
    assert foreign["errors"][0]["code"] == "access_denied"
    assert _json["errors"][0]["code"] == "invalid_json"
    assert _json["source"] is None
    assert unknown["errors"][0]["field"] == "contact.id"
    assert shared_server.source_key not in json.dumps(all_of(api, REJECTED))


def test_bodies_are_shortened_and_keys_in_them_are_not_kept(
    shared_server: Installation, api: httpx.Client
) -> None:
    mark = unique("mark")
    api.post(ACTIVITIES, json={"mark": mark, "rest": "ü" * 300_000})
    api.post(ACTIVITIES, json={"mark": mark, "authorization": f"Bearer {shared_server.admin_key}"})
    keyed, long = [entry for entry in all_of(api, REJECTED) if mark in entry["body"]]
    assert len(long["body"]) <= 2_001
    assert shared_server.admin_key not in json.dumps(keyed)


def test_refused_requests_are_bounded(installation: Installation, tmp_path: Path) -> None:
    server = start_tuned(installation, tmp_path, store__records__sql__MAX_REJECTIONS=50)
    with server.client() as api:
        for round_ in range(3):
            api.post(BATCH, json={"activities": [{"round": round_, "n": n} for n in range(40)]})
            all_of(api, REJECTED)
        kept = all_of(api, REJECTED)
    assert len(kept) == 50
    assert json.loads(kept[0]["body"])["round"] == 2


def test_refusals_are_written_without_being_asked_for(server: Installation) -> None:
    with server.client() as api:
        api.post(ACTIVITIES, json={})
    count = "SELECT count(*) FROM rejections"
    wait_until(lambda: server.sql(count) == [(1,)], what="the refusal in the database")
