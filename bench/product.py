"""Backstory itself, as an operator runs it: served, given a key, filled by its own import."""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import engines
from bench.bulk import append_rows, append_rows_postgres
from bench.data import Feed
from bench.engines import Clustered, Database, new_log, one_node, postgres, settings_of
from bench.load import Job
from bench.places import OUT, ROOT, free_port, scratch
from bench.processes import BenchError, ask, environment, get, serving
from tests.servers.postgres import PostgresServer

COMMAND = (sys.executable, "-m", "backstory")
_SEARCHABLE_SECONDS = 1800.0
_IMPORTED = 200_000
"""Larger databases begin with so many activities by import, which brings every contact in, and go on in bulk."""


class Running(NamedTuple):
    """A server that answers publish requests on a port, for this key."""

    name: str
    port: int
    key: str

    def headers(self) -> dict[str, str]:
        """What a client of this server sends with every request."""
        basic = b64encode(f"{self.key}:X".encode()).decode()
        return {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}

    def index_lag(self) -> float:
        """Seconds by which the search indexes are behind the log, from /metrics."""
        text = get(self.port, "/metrics")[2].decode()
        found = re.search(r"^backstory_index_lag_seconds (\S+)$", text, re.MULTILINE)
        if not found:
            raise BenchError("/metrics has no backstory_index_lag_seconds")
        return float(found[1])

    def wait_searchable(self, seconds: float = _SEARCHABLE_SECONDS) -> float:
        """Wait until everything published is indexed; how long that took, in seconds."""
        began = time.monotonic()
        while self.index_lag() > 0:
            if time.monotonic() - began > seconds:
                raise BenchError(f"the search indexes were still behind after {seconds:.0f} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def contact_id(self, job: Job, i: int) -> int:
        """The id of the contact that activity `i` of a job belongs to, asked for by publishing it once more."""
        feed = Feed(contacts=job.contacts, big_every=job.big_every, prefix=job.prefix)
        status, _, answer = ask(
            "POST", self.port, "/api/v2/contact-activities", headers=self.headers(), body=feed.body(i)
        )
        if status != 200:
            raise BenchError(f"a publish request was answered {status}: {answer[:300]!r}")
        return int(msgspec.json.decode(answer)["contact_id"])


def run_command(database: Database | None, *arguments: str, stdin: bytes = b"", patience: float = 120) -> str:
    """Run a `backstory` command, on a database or on what its arguments name; what it printed on standard output."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env=environment(COLUMNS="200", **({} if database is None else settings_of(database))),
        timeout=patience,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"backstory {' '.join(arguments)} failed: {done.stderr.decode()[-600:]}")
    return done.stdout.decode()


def make_key(database: Database) -> str:
    """A key of an administrator of its own, in this database, which is made where there is none."""
    email = f"bench-{os.urandom(4).hex()}@example.com"
    create = ("agents", "create", email, "--name", "Bench", "--role", "admin", "--password-stdin")
    run_command(database, *create, stdin=b"correct horse battery staple\n")
    return run_command(database, "keys", "create", "--agent", email).strip()


@contextmanager
def backstory(database: Database, name: str = "backstory") -> Iterator[Running]:
    """Backstory serving this database, as it ships."""
    key, port = make_key(database), free_port()
    where = ("--host", "127.0.0.1", "--port", str(port))
    with serving(name, [*COMMAND, "serve", *where], port, env=environment(**settings_of(database))):
        yield Running(name, port, key)


@contextmanager
def floor(database: Path) -> Iterator[Running]:
    """The same process without storage on the publish path (bench/floor.py)."""
    key, port = make_key(database), free_port()
    with serving("floor", [sys.executable, "-m", "bench.floor", str(port), str(database)], port):
        yield Running("floor", port, key)


class Imported(NamedTuple):
    """What an import cost: seconds, and the peak of its resident memory in bytes."""

    seconds: float
    peak_rss: int


def import_feed(database: Database, feed: Feed, rows: int) -> Imported:
    """Pipe activities 0 to `rows` of a feed through `backstory import -`."""
    command, env = [*COMMAND, "import", "-"], environment(**settings_of(database))
    with (OUT / "logs" / "import.log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=env)
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for body in feed.bodies(0, rows):
                    pipe.write(body + b"\n")
        except BrokenPipeError:
            pass  # it ended early: its exit status says so
        except BaseException:
            process.kill()
            process.wait()
            raise
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(
            f"backstory import ended with {process.returncode}; see {OUT / 'logs' / 'import.log'}"
        )
    return Imported(time.monotonic() - began, used.ru_maxrss * 1024)


def copy(source: Database, target: Database) -> str:
    """`backstory copy`, which compares both sides at its end; what it prints."""
    arguments = ["copy"]
    for side, database in (("from", source), ("to", target)):
        settings = settings_of(database)
        arguments += [f"--{side}", settings["BACKSTORY_DATABASE"]]
        if isinstance(database, Clustered):
            arguments += [f"--{side}-log", database.activity_log]
    return run_command(None, *arguments, patience=7_200)


def filled(rows: int, feed: Feed) -> Path:
    """A database with this many activities of a feed, searchable; made once and kept in out/databases.

    By import as far as that takes minutes, then in bulk (bench/bulk.py).

    A change of the product's schema makes a new one, and removes the one before.
    """
    folder = OUT / "databases"
    folder.mkdir(parents=True, exist_ok=True)
    (OUT / "logs").mkdir(exist_ok=True)
    family = f"{rows}-{feed.contacts}-{feed.big_every}"
    database = folder / f"{family}-{schema_hash()}.db"
    done = database.with_suffix(".done")
    if done.exists():
        return database
    for stale in folder.glob(f"{family}-*"):
        stale.unlink()
    by_import = min(rows, _IMPORTED)
    import_feed(database, feed, by_import)
    with backstory(database, "indexing") as server:
        server.wait_searchable()
    if rows > by_import:
        append_rows(database, feed, by_import, rows - by_import)
    done.touch()
    return database


@contextmanager
def filled_databases(sizes: Sequence[int], feed_of: Callable[[int], Feed]) -> Iterator[list[Database]]:
    """A database of the chosen engine for each size, filled; searchable but for a large one of PostgreSQL.

    Those of SQLite and PostgreSQL are kept in out/databases; a cluster is filled by a copy of SQLite's each time, which
    writes the same rows as publishing and is several times as fast: it need not decide who was first.
    """
    if engines.chosen == "sqlite":
        yield [filled(rows, feed_of(rows)) for rows in sizes]
        return
    if engines.chosen == "postgres":
        home = OUT / "databases" / f"postgres-{schema_hash()}"
        for stale in home.parent.glob("postgres-*"):
            if stale != home:
                shutil.rmtree(stale)
        with postgres(home) as server:
            yield [_filled_postgres(server, rows, feed_of(rows)) for rows in sizes]
        return
    with scratch() as folder, postgres(folder) as server, one_node(folder) as cluster:
        databases: list[Database] = []
        for rows in sizes:
            databases.append(Clustered(server.create_database(), new_log(cluster)))
            copy(filled(rows, feed_of(rows)), databases[-1])
        yield databases


def _filled_postgres(server: PostgresServer, rows: int, feed: Feed) -> str:
    name = f"filled_{rows}_{feed.contacts}_{feed.big_every}"
    if name not in server.sql("SELECT datname FROM pg_database"):
        url = server.create_database()
        by_import = min(rows, _IMPORTED)
        import_feed(url, feed, by_import)
        with backstory(url, "indexing") as running:
            running.wait_searchable()
        if rows > by_import:
            asyncio.run(append_rows_postgres(url, feed, by_import, rows - by_import))
        server.sql(f"ALTER DATABASE {url.rpartition('/')[2]} RENAME TO {name}")
    return server.url(name)


def schema_hash() -> str:
    """A short hash of everything that decides what the database looks like."""
    digest = hashlib.sha256()
    store = ROOT / "src" / "backstory" / "store"
    for path in sorted([*store.rglob("*.sql"), *store.rglob("versions/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
