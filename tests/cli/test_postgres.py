"""An operator's PostgreSQL: what is wrong is named at start, the doctor looks, backups keep what they promise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import asyncpg
import pytest

from tests.cli.test_commands import here, run_here
from tests.http.test_publish import publish
from tests.servers.postgres import PostgresServer
from tests.servers.programs import free_port
from tests.support import Installation, publish_request


@pytest.fixture(scope="session")
def engine() -> str:
    """These installations are kept on PostgreSQL."""
    return "postgres"


def started(url: str) -> str:
    """What `migrate` says of a database that cannot be used."""
    done = run_here("migrate", BACKSTORY_DATABASE=url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "correct" not in done.stderr, "a password does not belong there"
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "url",
    ["postgresql://", "postgresql://host", "postgresql://host:x/name", "postgres://host:0/a", "mysql://h/n"],
)
def test_a_wrong_url_says_what_would_be_right(url: str) -> None:
    assert "postgresql://USER:PASSWORD@HOST:PORT/NAME" in started(url)


def test_what_is_wrong_is_named(postgres: PostgresServer) -> None:
    nobody_there = f"postgresql://backstory:correct@127.0.0.1:{free_port()}/backstory"
    assert "it cannot be reached" in started(nobody_there)
    assert "the user or the password is wrong" in started(postgres.url("postgres", password="correct"))
    missing = started(postgres.url("nothing_here"))
    assert "there is no such database; its administrator makes it: CREATE DATABASE" in missing
    postgres.sql("CREATE ROLE stranger LOGIN PASSWORD 'correct'")
    name = postgres.create_database().rpartition("/")[2]
    assert "lacks a right" in started(postgres.url(name, user="stranger", password="correct"))


def test_a_log_that_is_elsewhere_is_not_begun_anew(postgres: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    assert run_here("migrate", BACKSTORY_DATABASE=postgres_url).returncode == 0
    postgres.sql("CREATE TABLE activity_outbox ()", name)  # as where a server ran with a cluster
    assert "on a cluster: name that in BACKSTORY_ACTIVITY_LOG" in started(postgres_url)
    postgres.sql("DROP TABLE activity_outbox", name)
    postgres.sql(
        "INSERT INTO activities (position, tail, contact_key, timestamp, source, name, actor_type, body, origin)"
        " VALUES (1, 1, '\\x01', 1, 's', 'n', 'u', '{}', '{}')",
        name,
    )
    cluster = f"cassandra://127.0.0.1:{free_port()}/log"
    done = run_here("migrate", BACKSTORY_DATABASE=postgres_url, BACKSTORY_ACTIVITY_LOG=cluster)
    assert "its activity log is in it" in " ".join(done.stderr.split())


def test_a_replica_is_refused(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    postgres.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    assert "only reads" in started(url)


def test_a_standby_is_refused(own_postgres: PostgresServer) -> None:
    """A real one, which follows a primary that is away just now."""
    url = own_postgres.create_database()
    own_postgres.stop()
    own_postgres.stand_by()
    own_postgres.start()
    assert "is a replica, which only reads; give the primary's address" in started(url)
    assert "replica" in run_here("doctor", BACKSTORY_DATABASE=url).stdout


def test_a_newer_schema_is_refused(postgres: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    before = postgres.sql("SELECT version_num FROM alembic_version", name)
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", name)
    try:
        assert "newer than this program's" in started(postgres_url)
        assert "newer" in run_here("doctor", BACKSTORY_DATABASE=postgres_url).stdout
    finally:
        postgres.sql(f"UPDATE alembic_version SET version_num = '{before}'", name)


def test_an_older_schema_is_told_with_what_brings_it(postgres: PostgresServer, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    before = postgres.sql("SELECT version_num FROM alembic_version", name)
    postgres.sql("UPDATE alembic_version SET version_num = '0000'", name)
    try:
        found = run_here("doctor", BACKSTORY_DATABASE=postgres_url).stdout
        assert "'backstory migrate' (or the next start)" in " ".join(found.split())
    finally:
        postgres.sql(f"UPDATE alembic_version SET version_num = '{before}'", name)


@pytest.fixture
def installation(postgres: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation in a database of its own, which a restore may take away."""
    installation = Installation(tmp_path, database_url=postgres.create_database())
    yield installation
    installation.kill()


def test_the_doctor_looks_at_the_server(server: Installation, postgres: PostgresServer) -> None:
    with server.client() as api:
        publish(api, publish_request())
    done = here(server, "doctor")
    found = " ".join(done.stdout.split())
    assert "1 contacts" in found
    assert "fsync is off" in found  # of the tests' server, and rightly bad
    assert done.returncode == 1
    assert "correct" not in done.stdout
    assert (
        "cannot be reached" in run_here("doctor", BACKSTORY_DATABASE="postgresql://a:b@127.0.0.1:1/c").stdout
    )


def test_the_doctor_looks_at_a_server_that_is_well_and_at_one_that_waits(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    installation = Installation(tmp_path, database_url=own_postgres.create_database())
    done = here(installation, "doctor")
    found = " ".join(done.stdout.split())
    assert (done.returncode, "fsync" in found) == (0, False), found
    assert "GiB of the server's disk" in found
    own_postgres.set("synchronous_commit", "off")
    found = " ".join(here(installation, "doctor").stdout.split())
    assert "Backstory turns it on for its own sessions" in found
    own_postgres.set("synchronous_standby_names", "nobody")
    done = here(installation, "doctor")
    assert (done.returncode, "no standby is connected" in " ".join(done.stdout.split())) == (1, True)


def test_connections_that_are_left_are_counted(postgres: PostgresServer, postgres_url: str) -> None:
    async def doctor() -> str:
        done = await asyncio.to_thread(run_here, "doctor", BACKSTORY_DATABASE=postgres_url)
        return " ".join(done.stdout.split())

    async def crowd() -> tuple[str, str]:
        async with AsyncExitStack() as stack:

            async def come() -> None:
                connection = await asyncpg.connect(postgres_url)
                stack.push_async_callback(connection.close)

            for _ in range(185):
                await come()
            few = await doctor()
            with suppress(asyncpg.TooManyConnectionsError):
                while True:
                    await come()
            return few, await doctor()

    few, none = asyncio.run(crowd())
    assert "connections left of 200; each server process wants up to 17" in few
    assert "it has no connection left: raise its max_connections" in none


def test_a_restore_of_an_older_backup_issues_no_id_twice(installation: Installation) -> None:
    dump = installation.directory / "dump"
    installation.start()
    with installation.client() as api:
        kept = publish(api, publish_request(id="before", contact={"email": "before@example.com"}))
        done = here(installation, "backup", str(dump))  # while it is served
        assert done.returncode == 0, done.stderr
        lost = publish(api, publish_request(id="behind", contact={"email": "behind@example.com"}))
    revoked = here(installation, "keys", "list").stdout.splitlines()[-1].split()[0]
    assert here(installation, "keys", "revoke", revoked).returncode == 0
    refused = here(installation, "restore", str(dump))
    assert "stop it first" in refused.stderr
    installation.stop()

    done = here(installation, "restore", str(dump))
    assert done.returncode == 0, done.stderr
    assert f"New contacts begin at {lost['contact_id'] + 1:,}" in done.stderr
    assert "revoked" in here(installation, "keys", "list").stdout.splitlines()[-1]
    installation.start()
    with installation.client() as api:
        assert api.get(f"/api/v2/contact-activities/{kept['id']}").status_code == 200
        assert api.get(f"/api/v2/contact-activities/{lost['id']}").status_code == 404
        again = publish(api, publish_request(id="behind", contact={"email": "behind@example.com"}))
        assert again["contact_id"] > lost["contact_id"]


def test_a_restore_that_fails_changes_nothing(installation: Installation) -> None:
    dump = installation.directory / "dump"
    assert here(installation, "backup", str(dump)).returncode == 0
    assert "exists already" in here(installation, "backup", str(dump)).stderr
    dump.write_bytes(dump.read_bytes()[:-5_000])
    done = here(installation, "restore", str(dump))
    assert done.returncode == 1
    assert "failed" in done.stderr
    assert len(here(installation, "keys", "list").stdout.splitlines()) > 2


def test_why_a_backup_failed_is_told(postgres: PostgresServer, tmp_path: Path) -> None:
    nobody_there = f"postgresql://backstory:correct@127.0.0.1:{free_port()}/backstory"
    for url, why in (
        (nobody_there, "Connection refused"),
        (postgres.url("postgres", password="correct"), "password authentication failed"),
    ):
        done = run_here("backup", str(tmp_path / "dump"), BACKSTORY_DATABASE=url)
        assert (done.returncode, why in " ".join(done.stderr.split())) == (1, True), done.stderr
        assert list(tmp_path.iterdir()) == []


def test_what_other_tools_restored_is_settled(installation: Installation) -> None:
    generation = read(installation, "SELECT value FROM log_state WHERE name = 'generation'")
    assert here(installation, "settle", "--after", "700").returncode == 0
    assert read(installation, "SELECT nextval('contacts_id_seq')") == 701
    assert read(installation, "SELECT value FROM log_state WHERE name = 'generation'") != generation
    done = here(installation, "settle")
    assert "10,000,702" in done.stderr


def read(installation: Installation, query: str) -> object:
    async def ask() -> object:
        connection = await asyncpg.connect(installation.database_url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())
