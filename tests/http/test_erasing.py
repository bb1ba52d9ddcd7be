"""Erasing a contact: nothing of it is left, its identifiers are free, and nobody else loses anything (contract 5)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.http.test_contact_changes import listed, made, whose
from tests.http.test_contacts import create, errors
from tests.http.test_merges import merge, merged, merges_of, told, undo
from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, Viewer, start_tuned
from tests.support import Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine

CONTACTS = "/api/v2/contacts"
PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10


def erase(api: httpx.Client, contact_id: int, force: str | None = "true") -> httpx.Response:
    params = {} if force is None else {"force": force}
    return api.delete(f"{CONTACTS}/{contact_id}/hard_delete", params=params)


def open_erasures(installation: Installation) -> int:
    ((count,),) = installation.sql("SELECT count(*) FROM erasures WHERE done_at IS NULL")
    return int(count)


def test_everything_of_an_erased_contact_is_gone(api: httpx.Client) -> None:
    order = unique("order")
    contact, other = made(api), made(api)
    activity = publish(
        api, publish_request(id=unique(), contact={"email": contact["email"]}, context={"Order id": order})
    )
    kept = told(api, email=other["email"])
    ticket = api.post("/api/v2/tickets", json={"email": contact["email"], "subject": "Help"}).json()
    api.post(f"/api/v2/tickets/{ticket['id']}/notes", json={"body": "Odd"})
    wait_until(lambda: api.get(ACTIVITIES, params={"ref": order}).json(), what="the index")
    assert errors(erase(api, contact["id"], None), 400) == {"force": "invalid_value"}
    assert erase(api, contact["id"], "True").status_code == 204
    for path in (
        f"{CONTACTS}/{contact['id']}",
        f"{CONTACTS}/{contact['id']}/activities",
        f"{ACTIVITIES}/{activity['id']}",
        f"/api/v2/tickets/{ticket['id']}",
    ):
        assert api.get(path).status_code == 404, path
    assert api.get(ACTIVITIES, params={"ref": order}).json() == []
    assert listed(api, email=contact["email"]) == []
    assert erase(api, contact["id"]).status_code == 404
    assert api.get(f"{ACTIVITIES}/{kept['id']}").status_code == 200
    again = create(api, name="New", email=contact["email"])
    assert again.status_code == 201
    assert again.json()["id"] > contact["id"]
    assert api.get(f"{CONTACTS}/{again.json()['id']}/activities").json() == []


def test_a_replay_of_an_erased_activity_stores_nothing(api: httpx.Client) -> None:
    request = publish_request(id=unique(), contact={"email": email()})
    first = publish(api, request)
    erase(api, first["contact_id"])
    again = publish(api, request)
    assert (again["id"], again["duplicate"], again["contact_id"]) == (first["id"], True, None)
    assert api.get(CONTACTS, params={"email": request["contact"]["email"]}).json() == []


def test_a_deleted_contact_needs_no_force_and_an_agent_stays(
    shared_server: Installation, api: httpx.Client
) -> None:
    contact = made(api)
    api.delete(f"{CONTACTS}/{contact['id']}")
    with shared_server.client(shared_server.agent_key) as agent:
        assert erase(agent, contact["id"]).status_code == 403
    assert erase(api, contact["id"], None).status_code == 204
    assert erase(api, 1).status_code == 405
    assert erase(api, 2**62).status_code == 404
    assert errors(erase(api, contact["id"], "maybe"), 400) == {"force": "invalid_value"}
    entry = api.get("/api/v2/audit-log", params={"per_page": 1}).json()[0]
    assert (entry["action"], entry["target"]) == ("contact.hard_delete", f"contact:{contact['id']}")


def test_who_was_merged_into_an_erased_contact_goes_with_it(api: httpx.Client) -> None:
    one, other, parted = made(api), made(api), made(api)
    activity = told(api, email=other["email"])
    merged(api, one["id"], other["id"])
    (number,) = merged(api, one["id"], parted["id"])
    undo(api, number)
    assert errors(erase(api, other["id"]), 409) == {"id": "inconsistent_state"}
    assert erase(api, one["id"]).status_code == 204
    assert api.get(f"{CONTACTS}/{other['id']}").status_code == 404
    assert api.get(f"{ACTIVITIES}/{activity['id']}").status_code == 404
    assert api.get(f"{CONTACTS}/{parted['id']}").json()["email"] == parted["email"]
    assert merges_of(api, parted["id"]) == []
    assert api.post(f"{CONTACTS}/merges/{number}/undo").status_code == 404
    assert merge(api, parted["id"], one["id"]).status_code == 400


def test_its_viewers_are_sent_away(shared_server: Installation, api: httpx.Client) -> None:
    contact = made(api)
    viewer = Viewer(shared_server, contact["id"])
    erase(api, contact["id"])
    assert viewer.wait_for(1)[0].kind == "reset"
    viewer.wait_until_ended()


@pytest.mark.engine("sqlite")  # the others keep no file
def test_no_personal_value_is_left_in_the_files(server: Installation) -> None:
    secret = unique("SECRET")
    mail = f"{secret}@example.com"
    with server.client() as api:
        contact = made(api, f"Rachel {secret}", email=mail, phone="+44 20 7946 0777", tags=[secret])
        picture = {"avatar": ("me.png", PNG + secret.encode(), "image/png")}
        assert api.put(f"{CONTACTS}/{contact['id']}", files=picture).status_code == 200
        other = made(api, "Other", address=secret)
        merged(api, contact["id"], other["id"], job_title=secret)
        told(api, email=mail)
        publish(api, publish_request(name=secret, context={"x": secret}, contact={"email": mail}))
        api.post(ACTIVITIES, json={"contact": {"email": mail}})  # refused, and kept for an admin
        ticket = {"email": mail, "subject": secret, "description": secret, "tags": [secret]}
        assert api.post("/api/v2/tickets", json=ticket).status_code == 201
        wait_until(lambda: api.get(ACTIVITIES, params={"name": secret}).json(), what="the index")
        assert len(api.get("/api/v2/rejected-requests").json()) == 1
        assert erase(api, contact["id"]).status_code == 204
        wait_until(lambda: open_erasures(server) == 0, what="the end of the erasure")
    server.stop()
    kept = [path for path in Path(server.directory).rglob("*") if path.is_file() and path.name != "serve.log"]
    assert kept
    for path in kept:
        content = path.read_bytes()
        assert secret.encode() not in content, path
        assert secret.lower().replace("-", "").encode() not in content, path
        assert b"442079460777" not in content, path


def test_a_long_history_is_erased_behind_the_answer_and_across_a_crash(
    installation: Installation, tmp_path: Path
) -> None:
    """In pieces of two, slowly: a killed server leaves the most of it, and the next one goes on."""
    slow = {"helpdesk__erasing__PIECE": 2, "helpdesk__erasing__REST": 20.0}
    server = start_tuned(installation, tmp_path, **slow, helpdesk__erasing__PATIENCE_SECONDS=0.0)
    mail = email()
    with server.client() as api:
        items = [publish_request(id=f"evt-{n}", contact={"email": mail}) for n in range(200)]
        results = api.post(f"{ACTIVITIES}/batch", json={"activities": items}).json()["results"]
        contact_id = results[0]["contact_id"]
        assert erase(api, contact_id).status_code == 204
        assert api.get(f"{ACTIVITIES}/{results[-1]['id']}").status_code == 404
        assert whose(api, email=mail) > contact_id  # publishing goes on, and the email is free
    server.kill()
    assert open_erasures(installation) == 1
    quick = {"helpdesk__erasing__LOOK_SECONDS": 0.05, "helpdesk__erasing__REST": 0.0}
    start_tuned(installation, tmp_path, **quick, store__log__cassandra__LATE_SECONDS=0.5)
    wait_until(lambda: open_erasures(installation) == 0, seconds=60, what="the end of the erasure")
    if not installation.activity_log:  # it is in the same database
        assert installation.sql("SELECT count(*) FROM activities") == [(1,)]
    with installation.client() as api:
        replays = api.post(f"{ACTIVITIES}/batch", json={"activities": items}).json()["results"]
        assert [(each["id"], each["contact_id"], each["duplicate"]) for each in replays] == [
            (each["id"], None, True) for each in results
        ]
        wait_until(lambda: len(api.get(ACTIVITIES).json()) == 1, what="the index")


# Pictures, which go with their contact.


def test_a_contact_has_a_picture(api: httpx.Client) -> None:
    fields = {"name": (None, "Rachel"), "email": (None, email())}
    created = api.post(CONTACTS, files={**fields, "avatar": ("me.png", PNG, "image/png")})
    assert created.status_code == 201, created.text
    avatar = created.json()["avatar"]
    assert set(avatar) == {"id", "name", "content_type", "size", "avatar_url", "created_at", "updated_at"}
    assert (avatar["name"], avatar["content_type"], avatar["size"]) == ("me.png", "image/png", len(PNG))
    assert httpx.get(avatar["avatar_url"]).content == PNG
    path = f"{CONTACTS}/{created.json()['id']}"
    other = api.put(path, files={"avatar": ("you.jpg", b"\xff\xd8\xff" + PNG, "image/jpeg")})
    assert other.json()["avatar"]["name"] == "you.jpg"
    assert httpx.get(avatar["avatar_url"]).status_code == 403
    assert api.put(path, json={"avatar": None}).json()["avatar"] is None


@pytest.mark.parametrize(
    ("content", "status"), [(b"GIF89a", 400), (b"", 400), (PNG + b"x" * (5 * 1024 * 1024), 413)]
)
def test_pictures_at_fault(api: httpx.Client, content: bytes, status: int) -> None:
    fields = {"name": (None, "Rachel"), "email": (None, email())}
    answer = api.post(CONTACTS, files={**fields, "avatar": ("me.png", content, "image/png")})
    assert answer.status_code == status
    if status == 400:
        assert errors(answer, 400) == {"avatar": "invalid_value"}
