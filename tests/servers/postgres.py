"""A real PostgreSQL for tests: a cluster of its own on a free port, which ends with the tests.

One cluster serves a session; each test has a database of its own in it. Tests that kill the server have a cluster of
their own. Debian's package brings a cluster too: that one is neither used nor touched.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.servers.programs import Unprivileged, children, free_port, kill_all, missing
from tests.support import wait_until

OLDEST = 15
START_SECONDS = 60
USER, PASSWORD = "backstory", "correct horse battery"  # owns every database, and nothing else
ADMIN = "postgres"

_counter = itertools.count(1)
_EMPTY = """
DO $$
DECLARE
    each record;
BEGIN
    SET LOCAL session_replication_role = replica;  -- no triggers, no foreign keys
    FOR each IN SELECT format('%I', tablename) AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        IF each.name NOT IN ('alembic_version', 'log_state') THEN
            EXECUTE 'DELETE FROM ' || each.name;
        END IF;
    END LOOP;
    PERFORM setval(format('%I', sequencename)::regclass, start_value, false)
       FROM pg_sequences WHERE schemaname = 'public';
    UPDATE log_state SET value = '0' WHERE name = 'indexed';
    DROP TABLE IF EXISTS activity_outbox;
END $$
"""


@functools.cache
def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, the newest where there are several; None where there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True
    )
    return next((each for each in folders if (each / "postgres").exists() and _version(each) >= OLDEST), None)


def _version(folder: Path) -> int:
    out = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    number = re.search(r" (\d+)", out.stdout)
    assert number is not None, out.stdout
    return int(number[1])


class PostgresServer:
    """One cluster. Its superuser is `postgres`; databases belong to `backstory`; both have the same password.

    `durable=False` turns the sync to the disk off: for tests that do not kill it, where a commit would mostly wait.
    In a `directory` that is given it is made once, and found again.
    """

    def __init__(self, *, durable: bool = True, directory: Path | None = None) -> None:
        folder = programs()
        if folder is None:
            missing(f"PostgreSQL {OLDEST} or newer is not installed: apt install postgresql")
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._programs = folder
        self._unprivileged = Unprivileged("postgres")
        # Not below pytest's folders: those are root's alone.
        self.directory = directory or Path(tempfile.mkdtemp(prefix="backstory-postgres-"))
        self.directory.mkdir(exist_ok=True)
        self.data = self.directory / "data"
        self._unprivileged.own(self.directory)
        if not self.data.exists():
            self._create(durable)

    def _create(self, durable: bool) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        self._unprivileged.own(secret)
        self._run(
            *("initdb", "-D", self.data, "-U", ADMIN, "-A", "scram-sha-256", "--pwfile", secret),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.write(
                f"listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
                "max_connections = 200\nshared_buffers = 64MB\nmax_wal_size = 512MB\n"
                "log_line_prefix = '%m %p %d '\nlog_timezone = 'UTC'\n"
                f"fsync = {'on' if durable else 'off'}\n"
            )

    def _run(self, program: str, *arguments: str | Path) -> str:
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "10"}
        return self._unprivileged.run(
            [self._programs / program, *arguments], env=environment, cwd=self.directory
        )

    def start(self) -> PostgresServer:
        """Start it, and return when it takes connections."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._unprivileged.wrap(
                    [self._programs / "postgres", "-D", self.data, "-p", str(self.port)],
                    ends_with_us=signal.SIGINT,
                ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C is the tests' business
            )
        wait_until(self._is_up, seconds=START_SECONDS, what="the start of PostgreSQL")
        if not self.roles_exist():
            self.sql(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        return self

    def roles_exist(self) -> bool:
        """Whether the owner of the databases was created."""
        return bool(self.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{USER}'"))

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "log"

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        done = subprocess.run(
            [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], timeout=30
        )
        return done.returncode == 0

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """A BACKSTORY_DATABASE."""
        return f"postgresql://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """A new database that belongs to `backstory`; its URL. A copy of `template` comes with all that is in it."""
        name = f"backstory_{next(_counter)}"
        self.sql(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE {template}")
        return self.url(name)

    def sql(self, statement: str, database: str = ADMIN, user: str = ADMIN) -> str:
        """Run statements as the superuser; what they answer, a row a line, without headings."""
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database)
        return self._run(
            "psql", *where, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement
        ).strip()

    def empty(self, url: str) -> None:
        """Take everything out of an installation but its schema: a new database takes many times as long to make."""
        self.sql(_EMPTY, url.rpartition("/")[2])

    def own(self, path: Path) -> None:
        """Give a folder to the server's user."""
        self._unprivileged.own(path)

    def move_log(self, folder: Path) -> None:
        """Keep the write-ahead log in another folder, which is made. While it is stopped."""
        shutil.move(self.data / "pg_wal", folder)
        (self.data / "pg_wal").symlink_to(folder)
        for path in (folder, *folder.rglob("*")):  # a copy is ours
            self._unprivileged.own(path)

    def set(self, name: str, value: str) -> None:
        """Set something for the whole server, in force for who comes from now on."""
        self.sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.sql("SELECT pg_reload_conf()")
        wait_until(lambda: self.sql(f"SHOW {name}") == value, what=f"{name} = {value}")

    def set_read_only(self, read_only: bool) -> None:
        """Refuse writes in transactions that begin from now on, as a replica does."""
        self.set("default_transaction_read_only", "on" if read_only else "off")

    def stand_by(self) -> None:
        """Only read from the next start on, and follow a primary. While it is stopped."""
        (self.data / "standby.signal").touch()
        self._unprivileged.own(self.data / "standby.signal")

    def stop(self) -> None:
        """End it in order: connections are cut, what was committed is on the disk."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)
            self.process = None

    def kill(self) -> None:
        """End it at once, as a crash does. `start` recovers."""
        if self.process is not None:
            kill_all(self.process)
            self.process = None

    def pause(self) -> None:
        """Stop it in its tracks, as a network cut looks from outside: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        for pid in (self.process.pid, *children(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):  # a connection's that ended while we looked
                os.kill(pid, number)

    def remove(self) -> None:
        """End it and take everything away."""
        if self.process is not None:
            self.resume()
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
