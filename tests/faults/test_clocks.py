"""Servers of one installation whose clocks differ by minutes: they go by the database's, and nothing comes of it."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from backstory.cli import with_store
from backstory.config import read_settings
from backstory.helpdesk.access import create_key
from backstory.model.access import AuditEntry
from backstory.model.moment import now, parse_moment
from backstory.store.base import Store
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES, Viewer
from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer
from tests.support import Installation, publish_request, wait_until

MINUTE = 60_000_000
WRONG = 10
"""By how many minutes one server's clock is behind, and the other's ahead."""

TOLERATED = 30_000_000
"""What a slow test machine may take between asking and being answered."""

_MAIN = """
import sys, time
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + {minutes} * 60
time.time_ns = lambda: real_ns() + {minutes} * 60 * 10**9
sys.argv = sys.argv[3:]
from backstory.cli import main
main()
"""


def start(installation: Installation, minutes: int) -> Installation:
    """Serve on a machine whose clock is wrong: all that the process can ask for the time is."""
    program = installation.directory / "wrong.py"
    program.write_text(textwrap.dedent(_MAIN.format(minutes=minutes)))
    return installation.start(sys.executable, str(program))


@pytest.fixture(params=["postgres", "cassandra"])
def servers(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> Iterator[list[Installation]]:
    """One that is behind, and one that is ahead."""
    log = ""
    if request.param == "cassandra":
        cluster: CassandraCluster = request.getfixturevalue("cassandra_cluster")
        log = cluster.new_installation()
    one = Installation(tmp_path, database_url=postgres.create_database(), activity_log=log)
    other = one.beside(tmp_path / "other")
    try:
        yield [start(one, -WRONG), start(other, WRONG)]
    finally:
        one.kill()
        other.kill()


@pytest.fixture
def clients(servers: list[Installation]) -> Iterator[list[httpx.Client]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server.client()) for server in servers]


def has_heard(viewer: Viewer, ids: list[str]) -> bool:
    return set(ids) <= {each.data["id"] for each in viewer.events}


def test_no_activity_is_skipped_and_none_has_a_wrong_time(
    servers: list[Installation], clients: list[httpx.Client]
) -> None:
    first = publish(clients[0], publish_request())
    viewers = [Viewer(server, first["contact_id"]) for server in servers]
    ids = [publish(clients[n % 2], publish_request(id=str(n)))["id"] for n in range(12)]
    for viewer in viewers:
        wait_until(partial(has_heard, viewer, ids), what="all of them")
        viewer.cut()
    timeline = clients[0].get(f"/api/v2/contacts/{first['contact_id']}/activities").json()
    assert {each["id"] for each in timeline} == {first["id"], *ids}
    for each in timeline:
        assert abs(parse_moment(each["received_at"]) - now()) < TOLERATED
        assert abs(parse_moment(each["timestamp"]) - now()) < TOLERATED
    if not servers[0].activity_log:
        assert sorted(ids) == ids, "in the order of the answers"


def test_replays_are_recognised_by_both(clients: list[httpx.Client]) -> None:
    header = {"Idempotency-Key": "once"}
    for first, again in (clients, clients[::-1]):
        original = publish(first, publish_request(id=f"{id(first)}"))
        assert publish(again, publish_request(id=f"{id(first)}"))["id"] == original["id"]
    answers = [
        client.post(ACTIVITIES, json=publish_request(), headers=header).json() for client in clients * 2
    ]
    assert len({answer["id"] for answer in answers}) == 1
    assert [answer["duplicate"] for answer in answers] == [False, True, True, True]
    assert clients[0].delete(f"{ACTIVITIES}/{answers[0]['id']}").status_code == 204
    assert clients[1].get(f"{ACTIVITIES}/{answers[0]['id']}").status_code == 404


def test_keys_end_when_they_should(servers: list[Installation]) -> None:
    entry = AuditEntry(0, "test", "test", "test", "test")

    async def work(store: Store) -> list[str]:
        return [
            await create_key(
                store.records, agent_email="admin@example.com", sources=(), expires=now() + left, entry=entry
            )
            for left in (-2 * MINUTE, 2 * MINUTE)
        ]

    settings = read_settings({}, database=servers[0].database_url, activity_log=servers[0].activity_log)
    over, good = with_store(settings, work)
    for server in servers:
        assert httpx.get(f"{server.url}{ACTIVITIES}", auth=(over, "X")).status_code == 401
        assert httpx.get(f"{server.url}{ACTIVITIES}", auth=(good, "X")).status_code == 200


@pytest.mark.parametrize("servers", ["postgres"], indirect=True)
def test_idempotency_keys_end_when_they_should(
    servers: list[Installation], clients: list[httpx.Client], postgres: PostgresServer
) -> None:
    name = servers[0].database_url.rpartition("/")[2]
    for number, client in enumerate(clients):
        header = {"Idempotency-Key": f"key-{number}"}
        first = client.post(ACTIVITIES, json=publish_request(), headers=header).json()
        for left, is_replay in ((2, True), (-2, False)):
            moment = int(time.time() * 1_000_000) + left * MINUTE
            postgres.sql(f"UPDATE event_keys SET expires = {moment} WHERE expires IS NOT NULL", name)
            again = client.post(ACTIVITIES, json=publish_request(), headers=header)
            assert again.status_code == 200, again.text
            assert (again.json()["duplicate"], again.json()["id"] == first["id"]) == (is_replay, is_replay)
