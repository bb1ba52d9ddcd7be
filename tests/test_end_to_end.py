"""The main job: one HTTP call in, the same activity back in its place, and found."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support import Installation, wait_until

pytestmark = pytest.mark.every_engine


def test_the_seed_request_comes_back_exact(server: Installation, seed_request: bytes) -> None:
    with server.client() as api:
        check_the_story(api, seed_request)


def check_the_story(api: httpx.Client, seed_request: bytes) -> None:
    """Publish the canonical request; read it in its contact's timeline and by its order number, exact."""
    answer = api.post(
        "/api/v2/contact-activities", content=seed_request, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    published = answer.json()
    assert published["duplicate"] is False

    sent = json.loads(seed_request)["activity"]
    (first,) = api.get(f"/api/v2/contacts/{published['contact_id']}/activities").json()
    assert first["id"] == published["id"]
    assert {
        name: first[name] for name in ("name", "timestamp", "description", "actor", "source", "context")
    } == {name: sent[name] for name in ("name", "timestamp", "description", "actor", "source", "context")}
    assert first["object"] == sent["object"] | {"name": None}
    assert list(first["context"]) == list(sent["context"])

    found = wait_until(lambda: api.get("/api/v2/contact-activities", params={"ref": "84637930"}).json())
    assert published["id"] in {activity["id"] for activity in found}
