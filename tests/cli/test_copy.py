"""`backstory copy`: from one engine to the other and back, while the old one goes on; nothing differs afterwards."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.test_commands import run
from tests.faults.load import Load
from tests.http.test_publish import publish
from tests.http.wire import ACTIVITIES
from tests.servers.cassandra import CassandraCluster
from tests.servers.postgres import PostgresServer
from tests.support import Installation, publish_request, wait_until


def copy(source: str, target: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run(Path(), "copy", "--from", source, "--to", target, *more)


def served_from(installation: Installation, directory: Path, url: str) -> Installation:
    """The same installation, kept elsewhere now."""
    other = installation.beside(directory)
    other.database_url = url
    return other.start()


def fill(api: httpx.Client) -> tuple[int, str, str]:
    """Something of everything: the contact's number, and an activity that stays and one that was deleted."""
    contact = api.post("/api/v2/contacts", json={"name": "Ünï Cöde", "email": "u@example.com"}).json()
    batch = [publish_request(id=f"b{number}", context={"Order id": f"A-{number}"}) for number in range(30)]
    api.post(f"{ACTIVITIES}/batch", json={"activities": batch}).raise_for_status()
    kept = publish(api, publish_request(id="kept", contact={"id": contact["id"]}, context={"p": 1.10}))
    gone = publish(api, publish_request(id="gone", contact={"id": contact["id"]}))
    api.delete(f"{ACTIVITIES}/{gone['id']}").raise_for_status()
    ticket = {
        "subject": "Help",
        "description": "please",
        "email": "t@example.com",
        "status": 2,
        "priority": 1,
    }
    api.post("/api/v2/tickets", json=ticket).raise_for_status()
    last = api.post("/api/v2/contacts", json={"name": "Last", "email": "last@example.com"}).json()
    erased = publish(api, publish_request(id="erased", contact={"id": last["id"]}))
    api.delete(f"/api/v2/contacts/{last['id']}/hard_delete", params={"force": "true"})
    wait_until(
        lambda: api.get(f"{ACTIVITIES}/{erased['id']}").status_code == 404, what="the end of the erasing"
    )
    return contact["id"], kept["id"], gone["id"]


def test_there_and_back(installation: Installation, postgres: PostgresServer, tmp_path: Path) -> None:
    there, back = postgres.create_database(), f"sqlite:///{tmp_path / 'back.db'}"
    server = installation.start()
    with server.client() as api:
        contact, kept, gone = fill(api)
        answer = api.get(f"/api/v2/contacts/{contact}/activities")
        timeline, position = answer.json(), answer.headers["X-Stream-Position"]
        done = copy(server.database_url, there)  # while it is served
        assert (done.returncode, "run this once more" in done.stderr) == (3, True), done.stderr
        publish(api, publish_request(id="between", contact={"id": contact}))
        api.delete(f"{ACTIVITIES}/{timeline[0]['id']}").raise_for_status()
        api.put(f"/api/v2/contacts/{contact}", json={"job_title": "changed"}).raise_for_status()
        timeline = api.get(f"/api/v2/contacts/{contact}/activities").json()
    server.stop()
    sums = []
    for source, target in ((server.database_url, there), (there, back), (server.database_url, back)):
        done = copy(source, target)
        assert done.returncode == 0, done.stdout + done.stderr
        sums.append(re.sub(" +", " ", done.stdout))
    assert "activities 3" in sums[0]
    assert len(set(sums)) == 1, "equal on every engine"

    moved = served_from(server, tmp_path / "moved", there)
    try:
        with moved.client() as api:
            assert api.get(f"/api/v2/contacts/{contact}/activities").json() == timeline
            assert publish(api, publish_request(id="kept"))["duplicate"]
            assert publish(api, publish_request(id="erased"))["duplicate"]
            again = publish(api, publish_request(id="gone"))
            assert (again["id"], again["duplicate"]) == (gone, True)
            new = api.post("/api/v2/contacts", json={"name": "New", "email": "new@example.com"}).json()
            known = {each["id"] for each in api.get("/api/v2/contacts", params={"per_page": 100}).json()}
            assert new["id"] == max(known)
            assert new["id"] > contact + 3  # the one that was erased had a number too
            wait_until(
                lambda: api.get(ACTIVITIES, params={"ref": "A-7"}).json(), what="the index of the copy"
            )
            assert api.get(f"{ACTIVITIES}/{kept}").status_code in (200, 404)
            answer = api.get(f"/api/v2/contacts/{contact}/activities")
            assert answer.headers["X-Stream-Position"].partition("-")[0] == position.partition("-")[0]
    finally:
        moved.kill()
    again = copy(server.database_url, there)  # it would take away what came since
    assert (again.returncode, "nobody has served since" in again.stderr) == (1, True), (
        again.stdout + again.stderr
    )
    found = moved.cli("contacts", "export").stdout
    assert "new@example.com" in found


@pytest.mark.slow
def test_it_catches_up_with_one_that_is_written_to(
    installation: Installation, postgres: PostgresServer, tmp_path: Path
) -> None:
    target = postgres.create_database()
    server = installation.start()
    load = Load(server, "load", threads=4)
    load.wait_for(200)
    begun = subprocess.Popen(
        server.command("copy", "--from", server.database_url, "--to", target),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=server.environment(),
    )
    load.wait_for(len(load.answered) + 50)
    begun.kill()  # and begun again
    begun.wait()
    assert copy(server.database_url, target).returncode == 3
    load.stop()
    server.stop()
    done = copy(server.database_url, target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The copy is the same" in done.stderr
    moved = served_from(server, tmp_path / "moved", target)
    try:
        with moved.client(moved.source_key) as api:
            for event, activity_id in list(load.answered.items())[::20]:
                again = publish(api, publish_request(id=event))
                assert (again["id"], again["duplicate"]) == (activity_id, True)
    finally:
        moved.kill()


def test_what_is_no_copy_is_left_alone(installation: Installation, postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Installation(tmp_path / "other")
    assert "is not empty" in copy(installation.database_url, other.database_url).stderr
    assert "are the same" in copy(postgres_url, postgres_url).stderr
    aside = f"sqlite:///{tmp_path}/other/../other/backstory.db"
    assert "are the same" in copy(other.database_url, aside).stderr
    beside = copy(postgres_url, postgres_url, "--to-log", "cassandra://127.0.0.1/log")
    assert "second, empty database" in " ".join(beside.stderr.split())
    logs = [f"cassandra://127.0.0.1/log?installation={name}" for name in ("old", "new")]
    keyspace = copy(postgres_url, f"{postgres_url}2", "--from-log", logs[0], "--to-log", logs[1])
    assert "in the same keyspace" in keyspace.stderr
    nowhere = f"sqlite:///{tmp_path / 'no' / 'folder.db'}"
    assert "does not exist" in copy(installation.database_url, nowhere).stderr
    (tmp_path / "mine.db-owner").mkdir()  # as little to be opened as what another user owns
    not_ours = copy(installation.database_url, f"sqlite:///{tmp_path / 'mine.db'}").stderr
    assert "cannot be written by this user" in " ".join(not_ours.split())
    missing = f"sqlite:///{tmp_path / 'nothing.db'}"
    assert "there is no database" in copy(missing, postgres_url).stderr
    other.start()
    try:
        assert "being served" in copy(installation.database_url, other.database_url).stderr
    finally:
        other.kill()


def test_what_the_target_does_not_take_is_told_at_once(
    installation: Installation, postgres: PostgresServer
) -> None:
    target = postgres.create_database()
    name = target.rpartition("/")[2]
    server = installation.start()
    with server.client() as api:
        publish(api, publish_request(contact={"email": "first@example.com"}))
        assert copy(server.database_url, target).returncode == 3
        publish(api, publish_request(contact={"email": "second@example.com"}))
        for code, told in (("53100", "its disk is full"), ("54000", "no room here")):
            postgres.sql(
                f"CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" RAISE EXCEPTION 'no room here' USING ERRCODE = '{code}'; END $$",
                name,
            )
            postgres.sql(
                "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION refuse()",
                name,
            )
            refused = copy(server.database_url, target)
            assert refused.returncode == 1
            assert told in " ".join(refused.stderr.split())
        postgres.sql("DROP TRIGGER refuse ON contacts", name)
        assert copy(server.database_url, target).returncode == 3


@pytest.mark.timeout(300)  # with the start of three nodes
def test_to_a_cluster_and_back(
    installation: Installation, postgres: PostgresServer, cassandra_cluster: CassandraCluster, tmp_path: Path
) -> None:
    there, log = postgres.create_database(), cassandra_cluster.new_installation()
    back = f"sqlite:///{tmp_path / 'back.db'}"
    server = installation.start()
    with server.client() as api:
        contact, kept, gone = fill(api)
        timeline = api.get(f"/api/v2/contacts/{contact}/activities").json()
    server.stop()
    sums = []
    for source, target, option in (
        (server.database_url, there, "--to-log"),
        (there, back, "--from-log"),
    ):
        done = copy(source, target, option, log)
        assert done.returncode == 0, done.stdout + done.stderr
        sums.append(re.sub(" +", " ", done.stdout))
    assert sums[0] == sums[1]
    moved = installation.beside(tmp_path / "moved")
    moved.database_url, moved.activity_log = there, log
    moved.start()
    try:
        with moved.client() as api:
            assert api.get(f"/api/v2/contacts/{contact}/activities").json() == timeline
            assert publish(api, publish_request(id="erased"))["duplicate"]
            for event, first in (("kept", kept), ("gone", gone)):
                again = publish(api, publish_request(id=event))
                assert (again["id"], again["duplicate"]) == (first, True)
            assert len(api.get(ACTIVITIES, params={"ref": "A-7"}).json()) == 1
            fresh = publish(api, publish_request(id="fresh", contact={"id": contact}))
            assert fresh["id"] > kept
    finally:
        moved.kill()
