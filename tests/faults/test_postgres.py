"""PostgreSQL goes away, stops, only reads, or serves several processes: nothing answered is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from backstory.model.ids import ActivityId
from backstory.store import postgres_database
from tests.faults.load import Load
from tests.faults.test_full_disk import MEBI, check_refusal, fill_until_refused, mounted
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES, Viewer, find
from tests.servers.postgres import PostgresServer
from tests.support import Installation, publish_request, wait_until


@pytest.fixture
def installation(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation on a PostgreSQL that may be harmed."""
    installation = Installation(tmp_path, database_url=own_postgres.create_database())
    yield installation
    installation.kill()


END_WAITING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def stored(url: str) -> dict[str, list[str]]:
    """The ids of all stored activities, by the sender's id."""

    async def ask() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch("SELECT position, tail, body FROM activities")
        finally:
            await connection.close()

    found: dict[str, list[str]] = {}
    for position, tail, body in asyncio.run(ask()):
        found.setdefault(json.loads(body)["external_id"], []).append(str(ActivityId(position, tail)))
    return found


def has_refused(load: Load, before: int) -> bool:
    """Whether more was answered 503 than before."""
    return load.statuses[503] > before


def is_ready(server: Installation) -> bool:
    return httpx.get(f"{server.url}/readyz", timeout=60).status_code == 200


def test_kills_of_postgresql_under_load(installation: Installation, own_postgres: PostgresServer) -> None:
    server = installation.start()
    load = Load(server, "load", replay=False)
    for _ in range(3):
        load.wait_for(len(load.answered) + 50)
        before = load.statuses[503]
        own_postgres.kill()
        wait_until(partial(has_refused, load, before), what="a 503")
        own_postgres.start()
        wait_until(lambda: is_ready(server), seconds=30, what="readiness without a restart")
    load.wait_for(len(load.answered) + 50)
    load.stop()
    assert set(load.statuses) == {200, 503}
    assert not load.cut_off
    there = stored(installation.database_url)
    assert all(len(ids) == 1 for ids in there.values())
    assert {event: there.get(event) for event in load.answered} == {
        event: [id_] for event, id_ in load.answered.items()
    }
    with server.client() as api:  # the records are found again too, and the index
        assert (
            api.post("/api/v2/contacts", json={"name": "New", "email": "new@example.com"}).status_code == 201
        )
        found = api.get(ACTIVITIES, params={"ref": next(iter(load.answered))})
        assert found.status_code == 200
        wait_until(
            lambda: api.get(ACTIVITIES, params={"ref": next(reversed(load.answered))}).json(),
            what="the index to go on",
        )


def test_a_postgresql_that_answers_nothing(installation: Installation, own_postgres: PostgresServer) -> None:
    server = installation.start()
    with server.client() as api:
        first = publish(api, publish_request(id="first"))
        own_postgres.pause()
        started = time.monotonic()
        try:
            with ThreadPoolExecutor() as pool:
                calls = [
                    pool.submit(api.post, ACTIVITIES, json=publish_request(id="unknown")),
                    pool.submit(api.get, f"/api/v2/contacts/{first['contact_id']}/activities"),
                    pool.submit(
                        api.post, "/api/v2/contacts", json={"name": "New", "email": "new@example.com"}
                    ),
                ]
                answers = [call.result() for call in calls]
        finally:
            own_postgres.resume()
        assert [answer.status_code for answer in answers] == [503] * 3
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert time.monotonic() - started < postgres_database.WRITE_SECONDS + 10
        wait_until(lambda: is_ready(server), seconds=30, what="readiness without a restart")
        again = publish(api, publish_request(id="unknown"))
        assert publish(api, publish_request(id="unknown"))["id"] == again["id"]
        assert publish(api, publish_request(id="first"))["id"] == first["id"]


def test_a_postgresql_that_only_reads(installation: Installation, own_postgres: PostgresServer) -> None:
    server = installation.start()
    with server.client() as api:
        first = publish(api, publish_request(id="first"))
        own_postgres.set_read_only(True)
        answer = api.post(ACTIVITIES, json=publish_request(id="second"))
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        timeline = api.get(f"/api/v2/contacts/{first['contact_id']}/activities")
        assert [each["id"] for each in timeline.json()] == [first["id"]]
        own_postgres.set_read_only(False)
        wait_until(lambda: is_ready(server), seconds=30, what="readiness")
        publish(api, publish_request(id="second"))


def test_a_change_whose_answer_is_lost(installation: Installation, own_postgres: PostgresServer) -> None:
    """Its commit stands and waits for a standby that is not there; then its session ends. Its picture must be there."""
    server = installation.start()
    picture = {"avatar": ("rachel.png", b"\x89PNG\r\n\x1a\n", "image/png")}
    values = {"name": "Rachel", "email": "rachel@example.com"}
    with server.client() as api, ThreadPoolExecutor(1) as pool:
        own_postgres.set("synchronous_standby_names", "nobody")
        creating = pool.submit(api.post, "/api/v2/contacts", data=values, files=picture)
        wait_until(lambda: own_postgres.sql(END_WAITING) != "", what="the commit to be cut off")
        answer = creating.result()
        own_postgres.set("synchronous_standby_names", "")
        assert answer.status_code == 503
        assert "not known" in answer.json()["message"]
        (contact,) = api.get("/api/v2/contacts", params={"email": values["email"]}).json()
        avatar = api.get(f"/api/v2/contacts/{contact['id']}").json()["avatar"]
        assert api.get(avatar["avatar_url"]).content == picture["avatar"][1]


def test_a_full_disk_and_room_again(installation: Installation, own_postgres: PostgresServer) -> None:
    """The database's disk, not the one of the write-ahead log: PostgreSQL goes on, and so do we."""
    with mounted(own_postgres.directory / "small", 40) as disk:
        own_postgres.own(disk)
        (disk / "ballast").write_bytes(b"x" * 8 * MEBI)
        (disk / "space").mkdir()
        own_postgres.own(disk / "space")
        own_postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
        name = installation.database_url.rpartition("/")[2]
        own_postgres.sql(f"ALTER DATABASE {name} SET TABLESPACE small")
        server = installation.start()
        with server.client() as api:
            first = publish(api, publish_request(id="first"))
            answered, refusal = fill_until_refused(api)
            check_refusal(refusal)
            check_refusal(httpx.get(f"{server.url}/readyz", timeout=60))
            timeline = api.get(f"/api/v2/contacts/{first['contact_id']}/activities")
            assert [each["id"] for each in timeline.json()] == [first["id"]]
            assert set(stored(installation.database_url)) == answered | {"first"}
            (disk / "ballast").unlink()
            wait_until(lambda: is_ready(server), seconds=30, what="readiness without a restart")
            publish(api, publish_request(id="after"))
            for event in answered:
                wait_until(partial(find, api, ref=event), what="the index")
        own_postgres.kill()
        own_postgres.start()
        assert set(stored(installation.database_url)) == answered | {"first", "after"}
        server.stop()
        assert "its disk is full" in server.log_text()
        assert "Traceback" not in server.log_text()
        own_postgres.stop()


def test_no_room_for_the_write_ahead_log(installation: Installation, own_postgres: PostgresServer) -> None:
    """PostgreSQL ends itself then, and an operator starts it again; we are there all the time."""
    with mounted(own_postgres.directory / "small", 72) as disk:
        own_postgres.stop()
        own_postgres.move_log(disk / "wal")
        (disk / "ballast").write_bytes(b"x" * 36 * MEBI)
        own_postgres.start()
        server = installation.start()
        with server.client() as api:
            answered, refusal = fill_until_refused(api)
            check_refusal(refusal)
            assert httpx.get(f"{server.url}/healthz").status_code == 200
            check_refusal(httpx.get(f"{server.url}/readyz", timeout=60))
            (disk / "ballast").unlink()
            own_postgres.kill()  # where it has not ended yet
            own_postgres.start()
            wait_until(lambda: is_ready(server), seconds=30, what="readiness without a restart")
            publish(api, publish_request(id="after"))
        there = stored(installation.database_url)
        assert answered | {"after"} <= set(there)  # what was cut off may be there, too
        assert all(len(ids) == 1 for ids in there.values())
        server.stop()
        assert "Traceback" not in server.log_text()
        own_postgres.stop()


@pytest.mark.parametrize("when", ["before", "after"])
def test_commits_that_do_not_wait_for_the_disk(
    installation: Installation, own_postgres: PostgresServer, when: str
) -> None:
    """`synchronous_commit = off`, said before the start or while it serves; and a server that writes late."""
    if when == "before":
        own_postgres.set("wal_writer_delay", "10s")
        own_postgres.set("synchronous_commit", "off")
    server = installation.start()
    with server.client() as api:
        publish(api, publish_request(id="0"))
        if when == "after":
            own_postgres.set("wal_writer_delay", "10s")
            own_postgres.set("synchronous_commit", "off")
        contact = api.post("/api/v2/contacts", json={"name": "New", "email": "new@example.com"}).json()
        ids = {str(number): publish(api, publish_request(id=str(number)))["id"] for number in range(20)}
        own_postgres.kill()
        own_postgres.start()
        assert {event: [id_] for event, id_ in ids.items()} == stored(installation.database_url)
        wait_until(lambda: is_ready(server), seconds=30, what="readiness")
        kept = api.get(f"/api/v2/contacts/{contact['id']}")
        assert kept.status_code == 200, [kept.text, server.log_text()[-2000:]]
    assert ("synchronous_commit is off" in server.log_text()) == (when == "before")


@pytest.fixture
def two_servers(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    """Two processes over one database."""
    one = Installation(tmp_path, database_url=postgres.create_database()).start()
    other = one.beside(tmp_path / "other").start()
    yield one, other
    one.kill()
    other.kill()


def test_first_activities_from_two_processes_give_one_contact(
    two_servers: tuple[Installation, Installation],
) -> None:
    contacts = [
        {"email": "race@example.com"},
        {"phone": "+44 7700 900123"},
        {"identities": [{"source": "s", "id": "1"}]},
    ]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for server in two_servers]
        pool = stack.enter_context(ThreadPoolExecutor(64))
        for contact in contacts:
            calls = [
                pool.submit(publish, clients[number % 2], publish_request(contact=contact))
                for number in range(64)
            ]
            answers = [call.result() for call in calls]
            assert len({answer["contact_id"] for answer in answers}) == 1
            assert [answer["matched_by"] for answer in answers].count("created") == 1
        calls = [
            pool.submit(publish, clients[number % 2], publish_request(id="once")) for number in range(64)
        ]
        answers = [call.result() for call in calls]
        assert len({answer["id"] for answer in answers}) == 1
        assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 63


def test_crossed_identifiers_from_two_processes_do_not_lock_each_other_out(
    two_servers: tuple[Installation, Installation],
) -> None:
    """Groups that claim the same identifiers in another order, and changes of the records between them."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for server in two_servers]
        pool = stack.enter_context(ThreadPoolExecutor(32))

        def batch(number: int) -> httpx.Response:
            order = range(20) if number % 2 else reversed(range(20))
            items = [
                publish_request(contact={"email": f"{number // 4}-{each}@example.com"}) for each in order
            ]
            return clients[number % 2].post(f"{ACTIVITIES}/batch", json={"activities": items})

        def create(number: int) -> httpx.Response:
            contact = {"name": "Known", "email": f"{number // 4}-{number % 20}@example.com"}
            return clients[number % 2].post("/api/v2/contacts", json=contact)

        batches = [pool.submit(batch, number) for number in range(32)]
        created = [pool.submit(create, number) for number in range(32)]
        assert {call.result().status_code for call in batches} == {200}
        assert {call.result().status_code for call in created} <= {201, 409}
        ids: dict[int, set[tuple[int, ...]]] = {}
        for number, call in enumerate(batches):
            found = [each["contact_id"] for each in call.result().json()["results"]]
            ids.setdefault(number // 4, set()).add(tuple(found if number % 2 else found[::-1]))
        assert all(len(each) == 1 for each in ids.values()), "each email is one contact"


def test_a_viewer_on_one_process_hears_what_another_took(
    two_servers: tuple[Installation, Installation],
) -> None:
    one, other = two_servers
    with one.client() as api, other.client() as elsewhere:
        first = publish(api, publish_request())
        viewer = Viewer(other, first["contact_id"])
        published = [publish(api, publish_request(id=f"{number}"))["id"] for number in range(5)]
        assert [each.data["id"] for each in viewer.wait_for(5)] == published
        assert api.delete(f"{ACTIVITIES}/{published[0]}").status_code == 204
        assert elsewhere.get(f"{ACTIVITIES}/{published[0]}").status_code == 404
        assert [each.kind for each in viewer.wait_for(6)] == ["activity"] * 5 + ["deleted"]
        viewer.cut()


def test_another_process_goes_on_with_the_index(two_servers: tuple[Installation, Installation]) -> None:
    one, other = two_servers
    with one.client() as api:
        publish(api, publish_request(context={"Order id": "A-1"}))
        wait_until(lambda: api.get(ACTIVITIES, params={"ref": "A-1"}).json(), what="the index")
    one.kill()
    with other.client() as api:
        publish(api, publish_request(context={"Order id": "A-2"}))
        wait_until(
            lambda: api.get(ACTIVITIES, params={"ref": "A-2"}).json(), what="the index in the other process"
        )
