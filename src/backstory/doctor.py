"""`backstory doctor`: what an operator would look at first, looked at."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import pysqlite3 as sqlite3

from backstory import __version__
from backstory.compact import free_bytes
from backstory.config import PostgresUrl, Settings
from backstory.errors import SettingError, StorageError
from backstory.store import migrations
from backstory.store.log import cassandra_look
from backstory.store.log.cassandra_look import SeenNode, shown
from backstory.store.log.cassandra_session import SCHEMA_VERSION, CassandraAddress, read_address
from backstory.store.log.sqlite_search import (
    belongs_to,
    generation_of,
    opening,
    search_file,
    watermark,
)
from backstory.store.postgres_look import look
from backstory.store.sqlite_database import APPLICATION_ID, MIN_SQLITE

State = Literal["ok", "note", "bad"]
LOW_DISK = 1024**3
EARLIEST = 1_767_225_600  # 2026-01-01: a clock before that is wrong
SLOW_SYNC_MS = 20.0
SHOW_SECONDS = 0.1
MAX_CLOCK_DIFFERENCE = 5.0
MAX_INDEX_BEHIND = 10.0
FEW_CONNECTIONS = 20
MIN_COPIES = 3
MUCH_FREE = 256 * 1024**2
"""So much, and a fifth of the file, is worth a word: the next weeks may not use it."""


class Finding(NamedTuple):
    """One thing that was looked at: how it is, and what to do where it is not well."""

    state: State
    what: str
    text: str


_NO_ADMIN = Finding(
    "note", "agents", "there is no admin; 'backstory agents create EMAIL --name NAME --role admin'"
)


Show = Callable[[float, str], None]
"""Told how many bytes were read, and a note."""


def bytes_to_read(settings: Settings) -> int:
    """About how much `examine` reads to look for damage: the files of SQLite, twice; of PostgreSQL nothing."""
    if isinstance(settings.database, PostgresUrl) or not settings.database.is_file():
        return 0
    files = (settings.database, search_file(settings.database))
    return 2 * sum(file.stat().st_size for file in files if file.exists())


def examine(
    settings: Settings, show: Show = lambda done, note: None, *, quick: bool = False
) -> list[Finding]:
    """Look at settings, versions, clock, disk and storage; changes nothing.

    An SQLite file is read whole, with `quick` not: damage is then not looked for, and nothing is counted.
    """
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _versions,
        _settings,
        _clock,
        _disk,
        _attachments,
        partial(_database, show=show, quick=quick),
        _activity_log,
    )
    return [finding for look in looks for finding in look(settings)]


def _versions(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "program", f"backstory {__version__}, schema {migrations.HEAD}")
    good = sqlite3.sqlite_version_info >= MIN_SQLITE
    needed = ".".join(map(str, MIN_SQLITE))
    advice = "" if good else f"; {needed} or newer is needed: install the locked pysqlite3 wheel"
    yield Finding("ok" if good else "bad", "SQLite", f"{sqlite3.sqlite_version}{advice}")


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding(
        "ok", "settings", f"database {settings.database}, serving on {settings.host}:{settings.port}"
    )
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        yield Finding(
            "note",
            "settings",
            "reachable from other machines: put a proxy with TLS before it, keys travel in clear",
        )


def _clock(settings: Settings) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < EARLIEST:
        yield Finding("bad", "clock", f"{shown} lies before this program was made: set the clock")
    else:
        yield Finding("ok", "clock", shown)


def _disk(settings: Settings) -> Iterator[Finding]:
    if isinstance(settings.database, PostgresUrl):
        return  # the server's disk is not to be seen from here
    folder = settings.database.parent
    if not folder.is_dir():
        yield Finding("bad", "disk", f"the folder {folder} does not exist: make it, or set another database")
        return
    if not os.access(folder, os.W_OK):
        yield Finding(
            "bad", "disk", f"the folder {folder} cannot be written by this user: change its owner or mode"
        )
        return
    free = shutil.disk_usage(folder).free
    advice = "" if free >= LOW_DISK else "; make room soon: a full disk answers publishers with 503"
    yield Finding("ok" if free >= LOW_DISK else "note", "disk", f"{free / 1024**3:.1f} GiB free{advice}")
    slow = _sync_milliseconds(folder)
    advice = (
        "" if slow < SLOW_SYNC_MS else "; every commit waits for it: a disk with a protected cache is faster"
    )
    yield Finding(
        "ok" if slow < SLOW_SYNC_MS else "note", "disk", f"a durable write takes {slow:.2f} ms{advice}"
    )


def _sync_milliseconds(folder: Path) -> float:
    """The median of some fdatasync of 4 KiB, in a file that is removed again."""
    path = folder / f".backstory-doctor-{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        times = []
        for _ in range(9):
            os.pwrite(descriptor, os.urandom(4096), 0)
            started = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - started)
        return sorted(times)[4] * 1000
    finally:
        os.close(descriptor)
        path.unlink()


def _attachments(settings: Settings) -> Iterator[Finding]:
    folder = settings.attachments
    if not folder.exists():
        yield Finding("note", "attachments", f"{folder} does not exist yet; 'backstory serve' makes it")
    elif not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "bad",
            "attachments",
            f"{folder} is no folder that this user can write: change its owner or mode, or set another one",
        )
    else:
        yield Finding("ok", "attachments", f"{folder}; a backup wants it beside the database's")


def _database(settings: Settings, show: Show, quick: bool) -> Iterator[Finding]:
    if isinstance(settings.database, PostgresUrl):
        yield from _postgres(settings.database)
        return
    path = settings.database
    if not path.exists():
        yield Finding("note", "database", f"{path} does not exist yet; 'backstory serve' makes it")
        return
    if not os.access(path, os.R_OK, effective_ids=True):
        advice = "run this as the user of the server, or change its owner or mode"
        yield Finding("bad", "database", f"{path} is closed to this user: {advice}")
        return
    begun = _bytes_read()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            yield from _look_inside(connection, path, lambda done, note: show(done - begun, note), quick)
    except sqlite3.Error as error:
        yield Finding("bad", "database", f"{path}: {error}; restore a backup with 'backstory restore'")
    except StorageError as error:
        yield Finding("bad", "database", f"{path}: {error}")
    if path.stat().st_mode & 0o077:
        yield Finding(
            "note", "database", f"{path} can be read by other users of this machine: chmod 600 {path}"
        )


def _activity_log(settings: Settings) -> Iterator[Finding]:
    """Of a log on a cluster: each node by itself, and what they agree on."""
    if settings.activity_log is None:
        return
    what = "activity log"
    try:
        address = read_address(settings.activity_log.url)
        seen = cassandra_look.look(address)
    except (SettingError, StorageError) as error:
        yield Finding("bad", what, str(error))
        return
    versions = sorted({node.version for node in seen.nodes.values()})
    number = len(seen.nodes) + len(seen.silent)
    yield Finding("ok", what, f"Cassandra {', '.join(versions)}; {len(seen.nodes)} of {number} nodes answer")
    if len(versions) > 1:
        yield Finding("note", what, f"its nodes run {' and '.join(versions)}: bring the upgrade to its end")
    known = next(iter(seen.nodes.values()))
    copies = min((known.replication or {}).values(), default=MIN_COPIES)
    stops = len(seen.silent) > (copies - 1) // 2
    for place, reason in seen.silent.items():
        advice = (
            "with so many away calls are answered 503: start them"
            if stops
            else "start it, or replace it within days"
        )
        yield Finding("bad" if stops else "note", what, f"{shown(place)}: {reason}; {advice}")
    for place, node in seen.nodes.items():
        if abs(node.clock_ahead) > MAX_CLOCK_DIFFERENCE:
            difference = f"{shown(place)}: its clock is {node.clock_ahead:+.0f} s from this machine's"
            yield Finding("note", "clock", f"{difference}: set both by NTP")
    if len({node.schema for node in seen.nodes.values()}) > 1:
        advice = "its nodes do not agree on the schema: wait a minute, then see 'nodetool describecluster'"
        yield Finding("note", what, advice)
    if address.datacenter not in {None, *(node.datacenter for node in seen.nodes.values())}:
        places = ", ".join(sorted({node.datacenter for node in seen.nodes.values()}))
        yield Finding("bad", what, f"it has no data centre {address.datacenter}, but {places}: mend ?dc=")
        return
    yield from look_at_keyspace(address, known)
    yield from look_at_logins(address, known)


def look_at_logins(address: CassandraAddress, seen: SeenNode) -> Iterator[Finding]:
    """Whether the users survive the loss of a node: a new cluster keeps each on one alone."""
    copies = min(seen.logins.values(), default=MIN_COPIES)
    if address.user is not None and copies < MIN_COPIES:
        advice = (
            "a dead node stops the service: ALTER KEYSPACE system_auth to 3 in each data centre, then"
            " 'nodetool repair --full system_auth' on each node"
        )
        yield Finding("note", "activity log", f"its logins (system_auth) have {_copies(copies)}: {advice}")


def _copies(number: int) -> str:
    return "1 copy" if number == 1 else f"{number} copies"


def look_at_keyspace(address: CassandraAddress, seen: SeenNode) -> Iterator[Finding]:
    """Whether the log's tables are there, in this program's version, with enough copies."""
    what, name = "activity log", address.keyspace
    made = "'backstory migrate' (or the next start) makes it"
    if seen.replication is None:
        yield Finding("note", what, f"there is no keyspace {name} yet; {made}")
        return
    here = address.datacenter or seen.datacenter
    if seen.replication.keys().isdisjoint({"", here}):
        advice = f"the keyspace {name} has no copies in the data centre {here}: ALTER KEYSPACE, then 'nodetool rebuild'"
        yield Finding("bad", what, advice)
    for datacenter, copies in seen.replication.items():
        told = f"the keyspace {name} has {_copies(copies)}{f' in {datacenter}' if datacenter else ''}"
        if copies < MIN_COPIES:
            advice = "a dead node stops the service: ALTER KEYSPACE to 3, then 'nodetool repair --full' on each node"
            yield Finding("note", what, f"{told}: {advice}")
        else:
            yield Finding("ok", what, told)
    if seen.tables is None:
        yield Finding("note", what, f"the keyspace {name} has no tables of this program yet; {made}")
    elif seen.tables != str(SCHEMA_VERSION):
        ours = f"this program's is {SCHEMA_VERSION}: run the program that goes with it"
        advice = f"its tables have schema {seen.tables}, {ours}"
        yield Finding("bad", what, advice)


def _postgres(database: PostgresUrl) -> Iterator[Finding]:
    try:
        seen = asyncio.run(look(database.url))
    except StorageError as error:
        yield Finding("bad", "database", str(error))
        return
    yield Finding("ok", "PostgreSQL", f"{seen.version}, answers in {seen.milliseconds:.1f} ms")
    for wrong, advice in (
        (seen.fsync == "off", "fsync is off: a crash of its machine loses and damages data; turn it on"),
        (seen.full_page_writes == "off", "full_page_writes is off: a crash can damage data; turn it on"),
    ):
        if wrong:
            yield Finding("bad", "PostgreSQL", advice)
    if seen.awaits_standby and not seen.standbys:
        advice = "synchronous_standby_names is set and no standby is connected: every commit waits for one; start it"
        yield Finding("bad", "PostgreSQL", advice)
    elif seen.standbys:
        yield Finding("ok", "PostgreSQL", f"{seen.standbys} standbys follow it")
    if seen.synchronous_commit == "off":
        advice = "synchronous_commit is off for others; Backstory turns it on for its own sessions"
        yield Finding("note", "PostgreSQL", advice)
    if abs(seen.clock_ahead) > MAX_CLOCK_DIFFERENCE:
        advice = (
            f"its clock is {seen.clock_ahead:+.0f} s from this machine's, and is gone by: set both by NTP"
        )
        yield Finding("note", "clock", advice)
    left = seen.max_connections - seen.connections
    if left < FEW_CONNECTIONS:
        wants = "each server process wants up to 17: raise max_connections, or run fewer"
        advice = f"{left} connections left of {seen.max_connections}; {wants}"
        yield Finding("note", "PostgreSQL", advice)
    if not seen.is_current:
        made = "'backstory migrate' (or the next start) makes it or brings it up to date"
        yield Finding("note", "database", f"its schema is not this program's yet; {made}")
        return
    yield Finding(
        "ok", "database", f"about {max(0, seen.contacts):,} contacts, {max(0, seen.activities):,} activities"
    )
    size = f"it takes {seen.bytes / 1024**3:.1f} GiB of the server's disk, whose free space is to be watched there"
    yield Finding("ok", "disk", size)
    if not seen.has_admin:
        yield _NO_ADMIN
    if seen.index_behind > MAX_INDEX_BEHIND:
        advice = f"the index is {seen.index_behind:.0f} s behind; a running server builds it"
        yield Finding("note", "search", advice)


def _look_inside(connection: sqlite3.Connection, path: Path, show: Show, quick: bool) -> Iterator[Finding]:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StorageError("it is a database of another program; set another one")
    if not migrations.is_current(connection):
        yield Finding(
            "note",
            "database",
            "its schema is older than this program; 'backstory migrate' brings it up to date",
        )
        return
    if quick:
        yield Finding("ok", "database", "it opens; without --quick it is read whole, to find damage")
    else:
        check = _damage(connection, show)
        if check != "ok":
            yield Finding(
                "bad", "database", f"it is damaged ({check}); restore a backup with 'backstory restore'"
            )
            return
        contacts = connection.execute("SELECT count(*) FROM contacts WHERE NOT is_agent").fetchone()[0]
        activities = connection.execute("SELECT count(*) FROM activities").fetchone()[0]
        yield Finding("ok", "database", f"sound; {contacts:,} contacts, {activities:,} activities")
    free, size = free_bytes(connection), path.stat().st_size
    if free >= MUCH_FREE and free * 5 >= size:
        told = f"{free / 1024**3:.1f} GiB of its {size / 1024**3:.1f} GiB are free pages, which new rows use first"
        advice = "'backstory compact', with the server stopped, gives them back to the disk"
        yield Finding("note", "database", f"{told}; {advice}")
    if not connection.execute("SELECT 1 FROM agents WHERE role = 'admin'").fetchone():
        yield _NO_ADMIN
    yield from _look_at_search(connection, path, show, quick)


def _look_at_search(connection: sqlite3.Connection, path: Path, show: Show, quick: bool) -> Iterator[Finding]:
    search = search_file(path)
    if not search.exists():
        yield Finding("note", "search", "there is no index yet; a running server builds it")
        return
    indexed, belongs = 0, True
    try:
        with ExitStack() as opened:
            with opening(search.parent):
                index = opened.enter_context(closing(sqlite3.connect(f"file:{search}?mode=ro", uri=True)))
                indexed = watermark(index)
            check = "ok" if quick else _damage(index, show)
            if check == "ok":
                belongs = belongs_to(index, generation_of(connection))
    except sqlite3.Error as error:
        check = str(error)
    if check != "ok":
        yield Finding(
            "bad",
            "search",
            f"{search} is damaged ({check}); remove it: a running server begins another one at once, else the next one",
        )
        return
    if not belongs:
        yield Finding(
            "note", "search", "the index is of another database or program; the next server builds it again"
        )
        return
    behind = connection.execute("SELECT count(*) FROM activities WHERE position > ?", (indexed,)).fetchone()[
        0
    ]
    if behind:
        yield Finding(
            "note", "search", f"{behind:,} activities are not indexed yet; a running server does it"
        )


def _damage(connection: sqlite3.Connection, show: Show) -> str:
    """What SQLite finds wrong with the file, or "ok". Ctrl-C ends it, as anything."""
    shown = 0.0

    def tell() -> None:
        nonlocal shown
        if time.monotonic() - shown > SHOW_SECONDS:
            shown = time.monotonic()
            show(_bytes_read(), "")

    connection.set_progress_handler(tell, 1_000)
    try:
        return str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":  # what a signal raised in `tell` does not come through SQLite
            raise KeyboardInterrupt from error
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _bytes_read() -> int:
    """How much this process has read, from whatever file; 0 where only Linux would tell."""
    counted = Path("/proc/self/io")
    return int(counted.read_text().split()[1]) if counted.exists() else 0
