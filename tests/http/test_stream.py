"""Following live (contract 1.2): resumable without loss, deletions told, slow viewers sent to read afresh."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import Any

import httpx
import pytest

from tests.http.test_publish import email, publish, unique
from tests.http.wire import ACTIVITIES, BATCH, Event, RawConnection, Viewer
from tests.support import Installation, publish_request, wait_until

pytestmark = pytest.mark.every_engine


def timeline(api: httpx.Client, contact_id: int) -> tuple[list[Any], str]:
    """The whole timeline, and the stream position of its first page."""
    answer = api.get(f"/api/v2/contacts/{contact_id}/activities", params={"per_page": 100})
    position = answer.headers["X-Stream-Position"]
    items: list[Any] = answer.json()
    while "Link" in answer.headers:
        answer = api.get(answer.headers["Link"].partition(";")[0].strip("<>"))
        items += answer.json()
    return items, position


def in_order(activities: dict[str, Any]) -> list[Any]:
    return sorted(activities.values(), key=lambda each: (each["timestamp"], each["id"]), reverse=True)


@pytest.fixture
def contact(api: httpx.Client) -> tuple[int, str]:
    """A new contact: its number and its email."""
    mail = email()
    return publish(api, publish_request(contact={"email": mail}))["contact_id"], mail


def test_a_stream_tells_what_the_timeline_answers(
    shared_server: Installation, api: httpx.Client, contact: tuple[int, str]
) -> None:
    contact_id, mail = contact
    viewer = Viewer(shared_server, contact_id)
    assert viewer.status == 200
    assert viewer.headers is not None
    assert viewer.headers["content-type"].startswith("text/event-stream")
    assert viewer.headers["cache-control"] == "no-store"
    assert viewer.headers["x-freshdesk-api-version"] == "latest=v2; requested=v2"
    assert viewer.headers["x-request-id"]
    spaced = b'{"activity": {"name": "n", "timestamp": "2001-01-01", "actor": {"type": "t"}, "source": {"name": "s"},'
    spaced += b'"context":{\r\n "a" :\n[1.10,\r2]}}, "contact": {"email": "%s"}}' % mail.encode()
    api.post(ACTIVITIES, content=spaced, headers={"Content-Type": "application/json"}).raise_for_status()
    publish(api, publish_request(contact={"email": email()}))  # somebody else's
    second = publish(api, publish_request(name="second", contact={"email": mail}))
    events = viewer.wait_for(2)
    viewer.cut()
    assert [event.kind for event in events] == ["activity", "activity"]
    assert all(event.id for event in events)
    read, _ = timeline(api, contact_id)
    assert events[1].data == next(each for each in read if each["id"] == second["id"])
    assert events[0].data == read[-1], "back-dated: it carries where it belongs"


def test_deletions_are_told(shared_server: Installation, api: httpx.Client, contact: tuple[int, str]) -> None:
    contact_id, mail = contact
    published = publish(api, publish_request(contact={"email": mail}))
    viewer = Viewer(shared_server, contact_id)
    api.delete(f"{ACTIVITIES}/{published['id']}")
    (event,) = viewer.wait_for(1)
    viewer.cut()
    assert (event.kind, event.data) == ("deleted", {"id": published["id"], "contact_id": contact_id})


@pytest.mark.parametrize("by", ["last", "after"])
def test_resume_by_header_and_by_parameter(
    shared_server: Installation, api: httpx.Client, contact: tuple[int, str], by: str
) -> None:
    contact_id, mail = contact
    read, position = timeline(api, contact_id)
    shown = [Event("activity", None, each) for each in read]
    sent = [publish(api, publish_request(contact={"email": mail}))["id"] for _ in range(3)]
    api.delete(f"{ACTIVITIES}/{sent[0]}")
    viewer = Viewer(shared_server, contact_id, **{by: position}, shown=shown)
    events = viewer.wait_for(3)
    viewer.cut()
    assert [(event.kind, event.data["id"]) for event in events] == [
        ("activity", sent[1]),
        ("activity", sent[2]),
        ("deleted", sent[0]),
    ]
    for number, event in enumerate(events):  # from each event on, the rest and nothing twice
        again = Viewer(shared_server, contact_id, **{by: event.id}, shown=[*shown, *events[: number + 1]])
        rest = again.wait_for(len(events) - number - 1)
        last = publish(api, publish_request(contact={"email": email()}))  # nothing for this viewer
        assert last
        assert rest == events[number + 1 :]
        again.cut()
    header_wins = Viewer(
        shared_server, contact_id, last=events[1].id, after=position, shown=[*shown, *events[:2]]
    )
    assert header_wins.wait_for(1)[0].data["id"] == sent[0]
    header_wins.cut()


def test_a_quiet_contacts_viewer_resumes_from_where_it_began(
    shared_server: Installation, api: httpx.Client, contact: tuple[int, str]
) -> None:
    contact_id, mail = contact
    read, _ = timeline(api, contact_id)
    viewer = Viewer(shared_server, contact_id)
    wait_until(lambda: viewer.position, what="the first id")
    viewer.cut()
    published = publish(api, publish_request(contact={"email": mail}))
    shown = [Event("activity", None, each) for each in read]
    again = Viewer(shared_server, contact_id, last=viewer.position, shown=shown)
    assert again.wait_for(1)[0].data["id"] == published["id"]
    again.cut()


@pytest.mark.parametrize(
    "position",
    ["nonsense", "-", "0", "ffffffffffff-1", "%s-fffffffffffffff", "%s-", "%s--5", "%s-5_5", "x" * 500, "é"],
)
def test_a_position_that_is_not_known_is_a_reset(
    shared_server: Installation, api: httpx.Client, contact: tuple[int, str], position: str
) -> None:
    _, current = timeline(api, contact[0])
    unknown = position.replace("%s", current.partition("-")[0])
    viewer = Viewer(shared_server, contact[0], after=unknown)
    assert viewer.wait_for(1)[0].kind == "reset"
    viewer.wait_until_ended()


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ({"afer": "x"}, "afer", "invalid_field"),
        ({"q": "order"}, "q", "invalid_field"),
        ({"after": ""}, "after", "invalid_value"),
    ],
)
def test_a_query_that_cannot_be_is_refused(
    api: httpx.Client, contact: tuple[int, str], query: dict[str, str], field: str, code: str
) -> None:
    answer = api.get(f"/api/v2/contacts/{contact[0]}/activities/stream", params=query)
    assert answer.status_code == 400
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [(field, code)]
    assert api.get("/api/v2/contacts/999999999/activities/stream", params=query).status_code == 404


def test_an_unknown_contact_is_404(shared_server: Installation) -> None:
    assert Viewer(shared_server, 10**15).status == 404


@pytest.mark.engine_neutral
def test_a_slow_viewer_is_told_to_read_afresh(server: Installation) -> None:
    """Nobody else waits for it, and it costs bounded memory."""
    mail = email()
    with server.client() as api:
        contact_id = publish(api, publish_request(contact={"email": mail}))["contact_id"]
        quick = Viewer(server, contact_id)
        with RawConnection(server.url, receive_buffer=4096) as slow:
            slow.head("GET", f"/api/v2/contacts/{contact_id}/activities/stream", server.admin_key)
            assert slow.answer().status == 200
            # More than the queue and what lies between two sockets hold.
            item = publish_request(context={"x": "x" * 20_000}, contact={"email": mail})
            for number in range(1, 15):
                api.post(BATCH, json={"activities": [item] * 40}).raise_for_status()
                quick.wait_for(40 * number)
            assert len(quick.events) == 560
            told = slow.read_all()
        assert {event.kind for event in quick.events} == {"activity"}
        quick.cut()
    assert told.count(b"event: reset") == 1
    assert told.rstrip().removesuffix(b"\r\n0").rstrip().endswith(b"event: reset\ndata: {}")
    assert told.count(b"event: activity") < 560


def test_streams_end_when_the_server_stops(server: Installation) -> None:
    with server.client() as api:
        contact_id = publish(api, publish_request())["contact_id"]
        viewers = [Viewer(server, contact_id) for _ in range(5)]
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 5
    for viewer in viewers:
        viewer.wait_until_ended()


def test_a_stream_equals_a_fresh_read_wherever_it_is_cut_off(server: Installation) -> None:
    """Four viewers, cut off at random moments, over publishes, back-dated ones, batches and deletions."""
    chance = random.Random(20240501)
    mail = email()
    with server.client() as api:
        contact_id = publish(api, publish_request(contact={"email": mail}))["contact_id"]
    stop = threading.Event()

    def write(seed: int) -> None:
        own = random.Random(seed)
        with server.client() as api:
            while not stop.is_set():
                day = f"20{own.randint(10, 29)}-0{own.randint(1, 9)}-11"
                request = publish_request(name=unique(), timestamp=day, contact={"email": mail})
                kind = own.random()
                if kind < 0.1:
                    api.post(BATCH, json={"activities": [request] * own.randint(1, 60)}).raise_for_status()
                elif kind < 0.8:
                    publish(api, request)
                elif items := api.get(f"/api/v2/contacts/{contact_id}/activities").json():
                    assert api.delete(f"{ACTIVITIES}/{own.choice(items)['id']}").status_code in (204, 404)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for writer in writers:
        writer.start()
    states: list[tuple[dict[str, Any], str]] = []
    cuts = 0
    with server.client() as api:
        for _ in range(4):
            read, position = timeline(api, contact_id)
            states.append(({each["id"]: each for each in read}, position))
        until = time.monotonic() + 4
        while time.monotonic() < until or cuts <= 20:
            for number, (shown, position) in enumerate(states):
                viewer = Viewer(server, contact_id, **resumed(chance.choice(("last", "after")), position))
                viewer.wait_for_or_end(chance.randint(0, 30))
                viewer.cut()
                cuts += 1
                states[number] = (apply(shown, viewer), viewer.position or position)
        stop.set()
        for writer in writers:
            writer.join()
        fresh, _ = timeline(api, contact_id)
        for shown, position in states:
            viewer = Viewer(server, contact_id, last=position)
            try:
                wait_until(partial(shows, viewer, shown, fresh), seconds=5)
            except AssertionError:
                have, want = {e["id"] for e in apply(shown, viewer).values()}, {e["id"] for e in fresh}
                raise AssertionError(f"missed {want - have}, kept {have - want}, of {len(want)}") from None
            finally:
                viewer.cut()
    assert len(fresh) > 20


def resumed(by: str, position: str) -> dict[str, Any]:
    return {by: position}


def shows(viewer: Viewer, shown: dict[str, Any], wanted: list[Any]) -> bool:
    """Whether a viewer that showed this before shows what is wanted now."""
    return in_order(apply(shown, viewer)) == wanted


def apply(shown: dict[str, Any], viewer: Viewer) -> dict[str, Any]:
    """What a viewer shows after its events; what it has already it drops by id."""
    shown = dict(shown)
    for event in list(viewer.events):
        assert event.kind != "reset"
        if event.kind == "deleted":
            shown.pop(event.data["id"], None)
        else:
            shown[event.data["id"]] = event.data
    return shown
