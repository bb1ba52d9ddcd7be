"""Nodes of the activity log's cluster die, hang and come back under load: nothing fails, nothing answered is lost.

`scripts/soak node_kills` repeats it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from backstory.model.activity import RESERVED_SOURCE
from tests.faults.load import Load
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES
from tests.servers.cassandra import KEYSPACE, CassandraCluster, Node
from tests.servers.postgres import PostgresServer
from tests.support import Installation, publish_request, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

THREADS = 4
ANSWERS = 60
"""How many publishes are answered before, between and after what happens to the nodes."""


@pytest.fixture
def server(
    fragile_cassandra: CassandraCluster, postgres: PostgresServer, tmp_path: Path
) -> Iterator[Installation]:
    """A server whose log is on nodes that may be harmed."""
    url = postgres.create_database()
    installation = Installation(tmp_path, database_url=url, activity_log=fragile_cassandra.new_installation())
    yield installation.start()
    installation.kill()


class Readers:
    """One who reads timelines all the time, and counts what was answered."""

    def __init__(self, server: Installation) -> None:
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._server.client() as api:
            while not self._stop.is_set():
                started = time.monotonic()
                self.statuses[api.get(ACTIVITIES).status_code] += 1
                self.slowest = max(self.slowest, time.monotonic() - started)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=60)


@contextmanager
def traffic(server: Installation) -> Iterator[Load]:
    """Publishers and a reader; none of them may fail."""
    load, readers = Load(server, "load", THREADS), Readers(server)
    try:
        load.wait_for(ANSWERS)
        yield load
        load.wait_for(len(load.answered) + ANSWERS)
    finally:
        load.stop()
        readers.stop()
    assert set(load.statuses) == {200}, [load.statuses, server.log_text()[-3000:]]
    assert set(readers.statuses) == {200}, [readers.statuses, server.log_text()[-3000:]]
    assert not load.cut_off


def stored(server: Installation) -> dict[str, list[str]]:
    """The ids of all stored activities, by the sender's id, as the API shows them."""
    found: dict[str, list[str]] = {}
    with server.client() as api:
        url = f"{ACTIVITIES}?per_page=100"
        while url:
            answer = api.get(url)
            assert answer.status_code == 200, answer.text
            for each in answer.json():
                if each["source"]["name"] == RESERVED_SOURCE:
                    continue  # what happened to a ticket
                found.setdefault(each["external_id"], []).append(each["id"])
            url = answer.links.get("next", {}).get("url", "")
    return found


def check_all_there(server: Installation, load: Load) -> None:
    """Every activity that was answered 200 is there, under the id of the answer, and none twice."""
    there = stored(server)
    assert all(len(ids) == 1 for ids in there.values())
    assert {event: there.get(event) for event in load.answered} == {
        event: [id_] for event, id_ in load.answered.items()
    }


def is_ready(server: Installation) -> bool:
    return httpx.get(f"{server.url}/readyz", timeout=60).status_code == 200


def held_by(cluster: CassandraCluster, node: Node, ids: int) -> bool:
    """Whether a node by itself has so many activities of all installations or more."""

    def count(session: Session) -> int:
        statement = SimpleStatement(
            f"SELECT count(*) FROM {KEYSPACE}.timeline", consistency_level=ConsistencyLevel.ONE
        )
        return int(session.execute(statement, timeout=60).one()[0])

    with cluster.session_of(node) as session:
        return count(session) >= ids


def test_the_death_of_a_node(server: Installation, fragile_cassandra: CassandraCluster) -> None:
    victim, other = fragile_cassandra.nodes[1], fragile_cassandra.nodes[2]
    with traffic(server) as load:
        victim.kill()
        load.wait_for(len(load.answered) + ANSWERS)
        victim.start()
    check_all_there(server, load)
    # What it missed is brought to it by the others.
    with fragile_cassandra.session_of(other) as session:
        everything = session.execute(f"SELECT count(*) FROM {KEYSPACE}.timeline", timeout=60).one()[0]
    wait_until(
        lambda: held_by(fragile_cassandra, victim, everything), seconds=90, what="the node to have caught up"
    )


def test_a_node_that_is_cut_off(server: Installation, fragile_cassandra: CassandraCluster) -> None:
    """It neither answers nor goes away, and then is back."""
    victim = fragile_cassandra.nodes[0]
    with traffic(server) as load:
        victim.pause()
        load.wait_for(len(load.answered) + ANSWERS)
        victim.resume()
    check_all_there(server, load)


def test_two_of_three_dead(server: Installation, fragile_cassandra: CassandraCluster) -> None:
    one, two = fragile_cassandra.nodes[:2]
    load = Load(server, "load", THREADS)
    load.wait_for(ANSWERS)
    one.kill()
    two.kill()
    wait_until(lambda: load.statuses[503] >= THREADS, seconds=60, what="503s")
    answered = len(load.answered)
    with server.client() as api:
        refusal = api.post(ACTIVITIES, json=publish_request(id="unknown"))
        assert (refusal.status_code, refusal.json()["code"]) == (503, "unavailable")
        assert int(refusal.headers["Retry-After"]) > 0
        assert api.get(ACTIVITIES).status_code == 503, server.log_text()[-5000:]
        assert not is_ready(server)
        wait_until(lambda: load.statuses[503] >= 2 * THREADS, seconds=60, what="more 503s")
        assert len(load.answered) == answered  # not one 200 with a single node left
        one.start()
        wait_until(lambda: is_ready(server), seconds=90, what="readiness without a restart")
        two.start()
        load.wait_for(answered + ANSWERS)
        load.stop()
        first = publish(api, publish_request(id="unknown"))
        assert publish(api, publish_request(id="unknown"))["id"] == first["id"]
    assert set(load.statuses) == {200, 503}
    check_all_there(server, load)


def test_the_death_of_the_database_beside_it(
    own_postgres: PostgresServer, cassandra_cluster: CassandraCluster, tmp_path: Path
) -> None:
    """All is refused while it is away, and goes on by itself; what was noted for the log reaches it."""
    server = Installation(
        tmp_path,
        database_url=own_postgres.create_database(),
        activity_log=cassandra_cluster.new_installation(),
    ).start()
    load = Load(server, "load", THREADS)
    try:
        for round_ in range(2):
            load.wait_for(len(load.answered) + ANSWERS)
            with server.client() as api:
                ticket = api.post("/api/v2/tickets", json=ticket_from(round_))
                assert ticket.status_code == 201, ticket.text
            before = load.statuses[503]
            own_postgres.kill()
            wait_until(partial(has_refused, load, before), what="a 503")
            assert not is_ready(server)
            own_postgres.start()
            wait_until(lambda: is_ready(server), seconds=30, what="readiness without a restart")
        load.wait_for(len(load.answered) + ANSWERS)
        load.stop()
        assert set(load.statuses) == {200, 503}
        assert not load.cut_off
        with server.client() as api:
            wait_until(
                lambda: len(api.get(ACTIVITIES, params={"source": RESERVED_SOURCE}).json()) == 2,
                what="the tickets' events",
            )
        check_all_there(server, load)
        assert "Traceback" not in server.log_text()
    finally:
        load.stop()
        server.kill()


def has_refused(load: Load, before: int) -> bool:
    return load.statuses[503] > before


def ticket_from(number: int) -> dict[str, object]:
    return {
        "subject": "Help",
        "description": "please",
        "email": f"t{number}@example.com",
        "status": 2,
        "priority": 1,
    }
