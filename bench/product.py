"""Backstory itself, as an operator runs it: served, given a key, filled by its own import."""

import hashlib
import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.bulk import append_rows
from bench.data import Feed
from bench.load import Job
from bench.places import OUT, ROOT, free_port
from bench.processes import BenchError, ask, environment, get, serving

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


def url_of(database: Path | str) -> str:
    """A database as the product is told of it: a file, or already a URL."""
    return database if isinstance(database, str) else f"sqlite:///{database}"


def run_command(database: Path | str, *arguments: str, stdin: bytes = b"") -> str:
    """Run a `backstory` command on a database; what it printed on standard output."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--database", url_of(database)],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env=environment(),
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"backstory {' '.join(arguments)} failed: {done.stderr.decode()[-600:]}")
    return done.stdout.decode()


def make_key(database: Path | str) -> str:
    """A key of an administrator of its own, in this database, which is made where there is none."""
    email = f"bench-{os.urandom(4).hex()}@example.com"
    create = ("agents", "create", email, "--name", "Bench", "--role", "admin", "--password-stdin")
    run_command(database, *create, stdin=b"correct horse battery staple\n")
    return run_command(database, "keys", "create", "--agent", email).strip()


@contextmanager
def backstory(database: Path | str, name: str = "backstory") -> Iterator[Running]:
    """Backstory serving this database, as it ships."""
    key, port = make_key(database), free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--database", url_of(database))
    with serving(name, [*COMMAND, "serve", *where], port):
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


def import_feed(database: Path, feed: Feed, rows: int) -> Imported:
    """Pipe activities 0 to `rows` of a feed through `backstory import -`."""
    command = [*COMMAND, "import", "-", "--database", url_of(database)]
    with (OUT / "logs" / "import.log").open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=environment()
        )
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


def schema_hash() -> str:
    """A short hash of everything that decides what the database looks like."""
    digest = hashlib.sha256()
    store = ROOT / "src" / "backstory" / "store"
    for path in sorted([*store.rglob("*.sql"), *store.rglob("versions/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]
