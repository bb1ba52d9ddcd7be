"""`backstory doctor`: what it finds, and what it says to do."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import backstory.backup
import backstory.postgres_backup  # noqa: F401 - imported by the command, when it may no more
from backstory.cli import main
from backstory.config import read_settings
from backstory.doctor import bytes_to_read, examine
from backstory.store.log.sqlite_search import search_file
from tests.cli.test_commands import here, run, run_here
from tests.http.test_publish import publish
from tests.http.wire import find
from tests.support import Installation, publish_request, wait_until


def doctor(installation: Installation) -> subprocess.CompletedProcess[str]:
    return here(installation, "doctor")


def test_a_sound_installation(installation: Installation) -> None:
    content = installation.database.read_bytes()
    done = doctor(installation)
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("program", "SQLite", "settings", "clock", "disk", "sound; 0 contacts, 0 activities"):
        assert what in done.stdout
    assert "bad" not in done.stdout
    assert installation.database.read_bytes() == content, "it changes nothing"


def test_beside_a_server(server: Installation) -> None:
    with server.client() as api:
        publish(api, publish_request())
    done = doctor(server)
    assert done.returncode == 0
    assert "sound; 1 contacts, 1 activities" in done.stdout


def test_a_large_file_is_read_before_ones_eyes_and_let_go_at_once(installation: Installation) -> None:
    installation.sql(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000)"
        " INSERT INTO companies (id, name, name_key, created_at, updated_at) SELECT n, n, n, 0, 0 FROM n"
    )
    settings = read_settings({}, database=installation.database_url)
    told: list[float] = []
    examine(settings, lambda done, note: told.append(done))
    assert told
    assert told[-1] <= 1.2 * bytes_to_read(settings)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # who runs in the background has it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            examine(settings, lambda done, note: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert "it opens; without --quick" in here(installation, "doctor", "--quick").stdout


def test_the_search_index(installation: Installation) -> None:
    """Of another state of the log, damaged, or not there: each is told, and what to do."""
    search = search_file(installation.database)
    with closing(sqlite3.connect(search)) as index, index:
        index.execute("UPDATE index_state SET value = 'another' WHERE name = 'generation'")
    done = doctor(installation)
    assert done.returncode == 0
    assert "the next server builds it again" in " ".join(done.stdout.split())
    search.write_bytes(b"no database at all" * 1_000)
    done = doctor(installation)
    assert done.returncode == 1
    assert "remove it: a running server begins another one" in " ".join(done.stdout.split())
    search.unlink()
    assert "there is no index yet" in " ".join(doctor(installation).stdout.split())


def test_nothing_there_yet(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor")
    assert done.returncode == 0
    assert "'backstory serve' makes it" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", BACKSTORY_DATABASE="sqlite:///nowhere/b.db")
    assert done.returncode == 1
    assert "make it, or set another database" in done.stdout


@contextmanager
def powerless() -> Iterator[None]:
    """Root may everything; not for a while."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--quick"], ["backup", "copy.db"]])
def test_what_is_closed_to_this_user(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "folder").mkdir(mode=0)
    database = f"sqlite:///{tmp_path}/folder/backstory.db"
    with powerless():
        done = CliRunner().invoke(main, [*command, "--database", database])
    assert done.exit_code == 1
    assert "is closed to this user: run this as the user of the server" in done.output


def test_where_attachments_go(tmp_path: Path) -> None:
    there, file = tmp_path / "files", tmp_path / "file"
    assert "attachments does not exist yet" in " ".join(run(tmp_path, "doctor").stdout.split())
    there.mkdir()
    assert "a backup wants it" in " ".join(
        run(tmp_path, "doctor", BACKSTORY_ATTACHMENTS=str(there)).stdout.split()
    )
    file.touch()
    done = run(tmp_path, "doctor", BACKSTORY_ATTACHMENTS=str(file))
    assert done.returncode == 1
    assert "set another one" in " ".join(done.stdout.split())


def test_a_log_on_a_cluster(tmp_path: Path) -> None:
    database = "postgresql://b:SECRET@127.0.0.1:1/b"
    for url, words in (
        ("cassandra://b:SECRET@127.0.0.1:1/backstory", "no node of 127.0.0.1:1 can be looked at"),
        ("cassandra://b:SECRET@127.0.0.1/", "the keyspace is ''"),
    ):
        done = run(tmp_path, "doctor", BACKSTORY_DATABASE=database, BACKSTORY_ACTIVITY_LOG=url)
        assert words in " ".join(done.stdout.split())
        assert "SECRET" not in done.stdout + done.stderr


def test_a_damaged_database(installation: Installation) -> None:
    with installation.database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(40_000))
    done = doctor(installation)
    assert done.returncode == 1
    assert "backstory restore" in done.stdout
    assert "Traceback" not in done.stderr


def test_not_a_database(installation: Installation) -> None:
    installation.database.write_text("hello, I am not a database " * 1000)
    done = doctor(installation)
    assert done.returncode == 1
    assert "not a database" in done.stdout


def test_another_programs_database(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "backstory.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    done = run(tmp_path, "doctor")
    assert done.returncode == 1
    assert "another program" in done.stdout
    assert "backstory restore" not in done.stdout


def test_a_newer_database(installation: Installation) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    done = doctor(installation)
    assert done.returncode == 1
    assert "upgrade the program" in done.stdout
    assert "backstory restore" not in done.stdout, "a restore would throw away what is good"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM agents WHERE role = 'admin'", "agents create EMAIL --name NAME --role admin"),
        ("UPDATE alembic_version SET version_num = '0000'", "backstory migrate"),
    ],
)
def test_what_should_be_mended(installation: Installation, statement: str, words: str) -> None:
    with closing(sqlite3.connect(installation.database)) as connection:
        connection.execute(statement)
        connection.commit()
    done = doctor(installation)
    assert done.returncode == 0
    assert words in done.stdout


def test_what_others_can_read_and_reach(installation: Installation) -> None:
    installation.database.chmod(0o644)
    done = doctor(installation)
    assert f"chmod600{installation.database}" in "".join(done.stdout.split())
    done = run_here("doctor", BACKSTORY_HOST="0.0.0.0", BACKSTORY_DATABASE=installation.database_url)
    assert "put a proxy with TLS before it" in done.stdout


def test_a_wrong_setting(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", BACKSTORY_PORT="x")
    assert done.returncode == 1
    assert "BACKSTORY_PORT" in done.stderr


def test_free_pages_are_told_and_given_back(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade that took much out of the file. What is kept stays, and the index still belongs to it."""
    with installation.start().client() as api:
        published = publish(api, publish_request(context={"Note": "quixotic"}))
        wait_until(lambda: find(api, q="quixotic"), what="the index")
        refused = here(installation, "compact")
        assert refused.returncode == 1
        assert "another server is using" in refused.stderr
    installation.stop()
    installation.sql("CREATE TABLE large AS SELECT randomblob(3000000) AS x")
    installation.sql("DROP TABLE large")
    monkeypatch.setattr("backstory.doctor.MUCH_FREE", 1024**2)
    settings = read_settings({}, database=installation.database_url)
    assert any("'backstory compact'" in finding.text for finding in examine(settings))
    before = installation.database.stat().st_size
    done = here(installation, "compact")
    assert done.returncode == 0
    assert f"{before:,} bytes before" in done.stderr
    assert installation.database.stat().st_size < before - 2_900_000
    assert not any("'backstory compact'" in finding.text for finding in examine(settings))
    with installation.start().client() as api:
        assert [each["id"] for each in find(api, q="quixotic")] == [published["id"]]
        publish(api, publish_request())


def test_what_compacting_refuses(tmp_path: Path) -> None:
    nothing, other = tmp_path / "nothing.db", tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    for path, words in ((nothing, "there is no database"), (other, "is not a database of Backstory")):
        done = run(tmp_path, "compact", BACKSTORY_DATABASE=f"sqlite:///{path}")
        assert done.returncode == 1
        assert words in done.stderr
    assert not nothing.exists()
