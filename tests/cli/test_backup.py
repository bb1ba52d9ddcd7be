"""Backup while serving, and restore: verified, and no contact id is ever issued again."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.cli.test_commands import here
from tests.faults.load import Load, check_index, check_sound, stored
from tests.http.test_publish import email, publish
from tests.http.wire import ACTIVITIES, Viewer, find
from tests.support import Installation, publish_request, wait_until


def new_contact(server: Installation) -> int:
    with server.client() as api:
        return int(publish(api, publish_request(contact={"email": email()}))["contact_id"])


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_backup_under_load_is_whole(server: Installation, tmp_path: Path) -> None:
    load = Load(server, "x")
    load.wait_for(300)
    before = dict(load.answered)
    copy = tmp_path / "copy.db"
    done = server.cli("backup", str(copy))
    after_size = len(load.answered)
    load.stop()
    assert "verified" in done.stderr
    assert "The attachments are not in it" in done.stderr
    assert copy.stat().st_mode & 0o077 == 0
    check_sound(copy)
    there = stored(copy)
    assert {event: there.get(event) for event in before} == {event: [id_] for event, id_ in before.items()}
    assert after_size > len(before), "publishing went on meanwhile"
    assert load.cut_off == []
    assert set(load.statuses) == {200}
    assert [path.name for path in tmp_path.glob("*copy.db*")] == ["copy.db"]
    server.stop()
    server.cli("restore", str(copy))
    check_sound(server.database)
    assert stored(server.database) == there
    with server.start().client() as api:
        for event in (min(before), max(before)):
            found = wait_until(partial(find, api, ref=event), what="the index")
            assert [each["id"] for each in found] == [before[event]]
            assert publish(api, publish_request(id=event))["id"] == before[event], "known as before"


def test_what_a_backup_refuses(installation: Installation, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    for target, words in ((there, "exists already"), (tmp_path / "no" / "folder", "does not exist")):
        done = here(installation, "backup", str(target))
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert there.read_text() == "precious"
    done = here(installation, "backup", "x", "--database", "sqlite:///nothing.db")
    assert done.returncode == 1
    assert "there is no database" in done.stderr
    assert not (tmp_path / "nothing.db").exists()


def test_a_damaged_database_makes_no_backup(installation: Installation, tmp_path: Path) -> None:
    with installation.database.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(40_000))
    done = here(installation, "backup", str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*copy.db*"))


@pytest.mark.parametrize("old", ["present", "killed", "gone", "damaged"])
def test_a_restore_issues_no_contact_id_again(installation: Installation, tmp_path: Path, old: str) -> None:
    server = installation.start()
    kept = [new_contact(server) for _ in range(3)]
    copy = tmp_path / "copy.db"
    server.cli("backup", str(copy))
    later = [new_contact(server) for _ in range(5)]
    if old == "killed":
        server.kill()  # the ids issued last are in the -wal alone
    else:
        server.stop()
    if old == "gone":
        for file in tmp_path.glob("backstory.db*"):
            file.unlink()
    elif old == "damaged":
        for file in tmp_path.glob("backstory.db-*"):
            file.unlink()
        installation.database.write_text("not a database any more " * 1000)
    done = server.cli("restore", str(copy), check=False)
    assert done.returncode == 0, done.stderr
    assert "3 contacts and 3 activities" in done.stderr
    assert installation.database.stat().st_mode & 0o077 == 0
    check_sound(installation.database)
    assert not list(tmp_path.glob("*.restoring"))
    server.start()
    fresh = [new_contact(server) for _ in range(3)]
    assert not set(fresh) & {*kept, *later}
    assert min(fresh) > max(later)
    if old in ("present", "killed"):
        assert min(fresh) == max(later) + 1, "no gap where the old database could be asked"
    with server.client() as api:
        for number in kept:
            assert api.get(f"/api/v2/contacts/{number}").status_code == 200
        for number in later:
            assert api.get(f"/api/v2/contacts/{number}").status_code == 404
        audit = api.get("/api/v2/audit-log").json()
    assert "database.restore" in {entry["action"] for entry in audit}
    if old in ("present", "killed"):
        (before,) = tmp_path.glob("backstory.db.before-restore-*")
        check_sound(before)
        assert len(stored_contacts(before)) == 8


def stored_contacts(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM contacts WHERE NOT is_agent")]


def test_a_stream_of_before_is_told_to_read_afresh(installation: Installation, tmp_path: Path) -> None:
    server = installation.start()
    contact_id = new_contact(server)
    server.cli("backup", str(tmp_path / "copy.db"))
    with server.client() as api:
        position = api.get(f"/api/v2/contacts/{contact_id}/activities").headers["X-Stream-Position"]
    server.stop()
    server.cli("restore", str(tmp_path / "copy.db"))
    server.start()
    viewer = Viewer(server, contact_id, last=position)
    assert viewer.wait_for(1)[0].kind == "reset"
    viewer.wait_until_ended()


def test_a_running_server_is_not_restored_over(server: Installation, tmp_path: Path) -> None:
    new_contact(server)
    server.cli("backup", str(tmp_path / "copy.db"))
    later = new_contact(server)
    names = set(files(tmp_path))
    done = server.cli("restore", str(tmp_path / "copy.db"), check=False)
    assert done.returncode == 1
    assert "another server is using" in done.stderr
    assert set(files(tmp_path)) == names, "nothing is left behind"
    with server.client() as api:
        assert api.get(f"/api/v2/contacts/{later}").status_code == 200


@pytest.mark.parametrize("damage", ["cut", "page", "text", "other program", "newer", "empty"])
def test_a_damaged_backup_touches_nothing(installation: Installation, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy.db"
    here(installation, "backup", str(copy))
    if damage == "cut":
        os.truncate(copy, copy.stat().st_size // 2)
    elif damage == "page":
        with copy.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(os.urandom(4096 * 4))
    elif damage == "text":
        copy.write_text("hello")
    elif damage == "other program":
        copy.unlink()
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    elif damage == "newer":
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
    else:
        copy.write_bytes(b"")
    before = files(tmp_path)
    done = here(installation, "restore", str(copy))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "copy.db" in done.stderr.replace("\n", "") or "9999" in done.stderr
    assert files(tmp_path) == before


def test_a_restore_into_a_new_place(installation: Installation, tmp_path: Path) -> None:
    server = installation.start()
    number = new_contact(server)
    server.cli("backup", str(tmp_path / "copy.db"))
    server.stop()
    target = f"sqlite:///{tmp_path}/elsewhere.db"
    assert server.cli("restore", str(tmp_path / "copy.db"), "--database", target).returncode == 0
    assert stored_contacts(tmp_path / "elsewhere.db") == [number]
    done = server.cli(
        "restore", str(tmp_path / "copy.db"), "--database", f"sqlite:///{tmp_path}/no/x.db", check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_key_that_was_revoked_after_the_backup_stays_revoked(installation: Installation) -> None:
    backup = installation.directory / "before.backup"
    installation.cli("backup", str(backup))
    installation.cli("keys", "revoke", "3")
    said = installation.cli("restore", str(backup)).stderr
    assert "stay revoked" in said
    installation.start()
    with installation.client(installation.source_key) as api:
        assert api.post("/api/v2/contact-activities", json={}).status_code == 401
    with installation.client() as api:
        assert api.get("/api/v2/audit-log").status_code == 200


def test_a_restore_renews_the_search_index(installation: Installation, tmp_path: Path) -> None:
    """What was deleted since is back, in timelines as in finds; what came since is gone from both."""
    server = installation.start()

    def add(api: httpx.Client, number: int) -> str:
        request = publish_request(context={"Note": f"quixotic n{number}"})
        return str(publish(api, request)["id"])

    def found(api: httpx.Client, word: str = "quixotic") -> set[str]:
        return {each["id"] for each in find(api, q=word)}

    with server.client() as api:
        ids = [add(api, number) for number in range(5)]
        wait_until(lambda: found(api) == set(ids), what="the index")
        assert api.delete(f"{ACTIVITIES}/{ids[0]}").status_code == 204
        server.cli("backup", str(tmp_path / "copy.db"))
        assert api.delete(f"{ACTIVITIES}/{ids[1]}").status_code == 204
        later = add(api, 5)
        wait_until(lambda: found(api) == {*ids[2:], later}, what="the index")
    server.stop()
    assert "search index is built again" in server.cli("restore", str(tmp_path / "copy.db")).stderr
    told = server.cli("doctor")
    assert "the next server builds it again" in " ".join(told.stdout.split())
    with server.start().client() as api:
        wait_until(lambda: found(api) == set(ids[1:]), what="the index of what is back")
        assert found(api, "n1") == {ids[1]}
        assert found(api, "n5") == set()
        assert api.get(f"{ACTIVITIES}/{later}").status_code == 404
        assert api.delete(f"{ACTIVITIES}/{ids[1]}").status_code == 204  # again, as the command says
        new = add(api, 6)
        wait_until(lambda: found(api) == {*ids[2:], new}, what="the index")
        told = server.cli("doctor")
        assert "search" not in told.stdout
    server.stop()
    check_index(installation.database)
