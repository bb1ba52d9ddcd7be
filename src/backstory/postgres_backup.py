"""Backup and restore of a PostgreSQL installation with PostgreSQL's own programs, `pg_dump` and `pg_restore`.

A restore is one transaction, and with it goes what makes it safe: no contact id is issued again, no revoked key comes
back, live streams of before are told to read afresh.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from backstory.backup import UNKNOWN_GAP
from backstory.config import PostgresUrl
from backstory.errors import StorageError
from backstory.model.moment import now
from backstory.store.postgres_database import SERVER, explain
from backstory.store.records.tables import metadata

Show = Callable[[float, str], None]
T = TypeVar("T")

MOST_REASON = 500
_CONNECT_SECONDS = 10.0
_LOG_TABLES = (
    *("activities", "event_keys", "deletions", "activity_index", "log_state", "alembic_version"),
    "activity_outbox",  # where the log is on a cluster
)
_DROP = """
DO $drop$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT oid::regprocedure AS name FROM pg_proc
                 WHERE pronamespace = current_schema()::regnamespace AND proowner = current_user::regrole
                   AND proname IN ('take_positions', 'raise_raced', 'insert_absent', 'survivor_of', 'write_contacts',
                                   'append_activities', 'delete_activity', 'refuse_audit_change') LOOP
        EXECUTE 'DROP FUNCTION ' || each.name || ' CASCADE';
    END LOOP;
END $drop$;
DROP SEQUENCE IF EXISTS log_position;
"""


class _Former(NamedTuple):
    """What the database that is replaced says: the highest contact id ever issued, and the keys revoked so far."""

    highest: int
    revoked: list[tuple[int, str]]


def back_up(database: PostgresUrl, target: Path, show: Show) -> int:
    """Dump a database, consistent, also while it is served; the size of the dump in bytes.

    Raises:
        StorageError: it cannot be reached or dumped, the target exists, or the programs are missing.
    """
    if target.exists():
        raise StorageError(f"{target} exists already; a backup never overwrites a file")
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        show(0, "dumping")
        _run(
            database,
            "pg_dump",
            "--format=custom",
            "--no-owner",
            "--no-acl",
            f"--file={partial}",
            _address(database),
        )
        show(0, "verifying")
        check(partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except OSError as error:
        raise StorageError(f"the backup failed: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def check(dump: Path) -> None:
    """Read a dump to its end.

    Raises:
        StorageError: it is none, or not whole.
    """
    _run(None, "pg_restore", "--file=/dev/null", str(dump))


def restore_from(dump: Path, database: PostgresUrl, show: Show) -> str:
    """Put a dump in the place of what is in a database that nobody serves; what was done, for the operator.

    Raises:
        StorageError: the dump is not sound, a server is using the database, or something failed: then nothing changed.
    """
    check(dump)
    show(0, "verified")
    former = asyncio.run(with_connection(database, _ask_former))
    show(0, "restoring")
    _replace(dump, database, former)
    ids = (
        "the database that was there said so" if former else "there was no database to ask, so a gap was left"
    )
    highest = asyncio.run(with_connection(database, _read_highest))
    return (
        f"Restored. New contacts begin at {highest + 1:,} ({ids}).\n"
        f"Keys that were revoked since the backup {'stay revoked' if former else 'are in force again: revoke them'}.\n"
        "Activities that were deleted since the backup are back: delete them again."
    )


def settle(database: PostgresUrl, after: int | None) -> str:
    """Make a database that other tools have restored safe to serve; what was done, for the operator.

    `after`: the highest contact id that was issued, where it is known.

    Raises:
        StorageError: a server is using the database, or it cannot be reached.
    """

    async def work(connection: asyncpg.Connection[Any]) -> int:
        await _refuse_served(connection)
        highest = await _read_highest(connection)
        wanted = max(highest, after) if after is not None else highest + UNKNOWN_GAP
        async with connection.transaction():
            for statement in _settling(_Former(wanted, [])):
                await connection.execute(statement)
        return wanted

    highest = asyncio.run(with_connection(database, work))
    return (
        f"New contacts begin at {highest + 1:,}, and live streams begin afresh.\n"
        "Keys that were revoked since the backup are in force again: revoke them.\n"
        "Activities that were deleted since the backup are back: delete them again."
    )


async def with_connection(
    database: PostgresUrl, work: Callable[[asyncpg.Connection[Any]], Coroutine[Any, Any, T]]
) -> T:
    """Do some work on a connection of its own.

    Raises:
        StorageError: the database cannot be reached, or refuses.
    """
    try:
        connection = await asyncpg.connect(database.url, timeout=_CONNECT_SECONDS)
        try:
            return await work(connection)
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise StorageError(f"{database}: {explain(error)}") from error


async def _ask_former(connection: asyncpg.Connection[Any]) -> _Former | None:
    await _refuse_served(connection)
    if not await connection.fetchval("SELECT to_regclass('contacts') IS NOT NULL"):
        return None
    rows = await connection.fetch(
        "SELECT revoked_at, encode(hash, 'hex') FROM api_keys WHERE revoked_at IS NOT NULL"
    )
    return _Former(await _read_highest(connection), [(row[0], row[1]) for row in rows])


async def _read_highest(connection: asyncpg.Connection[Any]) -> int:
    # A sequence that was never used stands at 1 and says so.
    query = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM contacts_id_seq"
    return int(await connection.fetchval(query))


async def is_served(connection: asyncpg.Connection[Any]) -> bool:
    """Whether a server uses this database: every one has a session that says so."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1)"
    )
    return bool(await connection.fetchval(query, SERVER))


async def _refuse_served(connection: asyncpg.Connection[Any]) -> None:
    if await is_served(connection):
        raise StorageError("a server is using this database: stop it first")


def _replace(dump: Path, database: PostgresUrl, former: _Former | None) -> None:
    """Drop what is ours, read the dump, settle: one transaction of psql."""
    environment = _environment(database)
    command = [
        *(_program("psql"), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
        *("--output=/dev/null", "--dbname", _address(database)),
    ]
    reading = subprocess.Popen(  # noqa: S603 - no shell
        [_program("pg_restore"), "--no-owner", "--no-acl", "--file=-", str(dump)], stdout=subprocess.PIPE
    )
    writing = subprocess.Popen(  # noqa: S603 - no shell
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert reading.stdout is not None
    assert writing.stdin is not None
    try:
        try:
            tables = ", ".join(f'"{name}"' for name in (*metadata.tables, *_LOG_TABLES))
            writing.stdin.write(f"DROP TABLE IF EXISTS {tables} CASCADE;{_DROP}".encode())
            shutil.copyfileobj(reading.stdout, writing.stdin)
            if reading.wait() == 0:  # else the transaction is cut off, and undone
                settling = "\n".join(f"{statement};" for statement in _settling(former))
                writing.stdin.write(f"\nSET search_path = public;\n{settling}\n".encode())
            else:
                writing.kill()
        except BrokenPipeError:
            reading.kill()
        _, said = writing.communicate()
    finally:
        reading.stdout.close()
        reading.wait()
    if writing.returncode != 0:
        raise StorageError(f"the restore failed, and nothing was changed: {_reason(said)}")


def _settling(former: _Former | None) -> Iterator[str]:
    """What makes a restored database safe."""
    issued = "(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM contacts_id_seq)"
    highest = f"{issued} + {UNKNOWN_GAP}" if former is None else f"greatest({issued}, {former.highest})"
    yield f"SELECT setval('contacts_id_seq', greatest({highest}, 1), {highest} > 0)"
    for revoked_at, hashed in former.revoked if former else ():
        yield (
            f"UPDATE api_keys SET revoked_at = {revoked_at}"  # noqa: S608 - a number and hex of ours
            f" WHERE hash = decode('{hashed}', 'hex') AND revoked_at IS NULL"
        )
    yield f"UPDATE log_state SET value = '{secrets.token_hex(6)}' WHERE name = 'generation'"  # noqa: S608
    user = getpass.getuser().replace("'", "''")
    yield (
        "INSERT INTO audit_log (at, actor, action, target, origin, details) VALUES"  # noqa: S608
        f" ({now()}, 'os:{user}', 'database.restore', 'database', 'command line', '{{}}')"
    )


def _run(database: PostgresUrl | None, program: str, *arguments: str) -> None:
    environment = None if database is None else _environment(database)
    done = subprocess.run([_program(program), *arguments], capture_output=True, env=environment, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise StorageError(f"{program} failed: {_reason(done.stderr)}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise StorageError(
            f"{name} is not installed on this machine: install PostgreSQL's client programs (postgresql-client)"
        )
    return found


def _reason(said: bytes) -> str:
    """The last error that a program told, in one line: behind it may come hints that say little without it."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [at for at, line in enumerate(lines) if re.search(r"error:|fatal:", line, re.IGNORECASE)]
    return " ".join(lines[errors[-1] if errors else -1 :])[:MOST_REASON] or "it gave no reason"


def _address(database: PostgresUrl) -> str:
    """The URL without its password: other users of a machine see the arguments of its programs."""
    parts = urlsplit(database.url)
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    host = parts.hostname or ""
    netloc = f"{user}[{host}]{port}" if ":" in host else f"{user}{host}{port}"
    return urlunsplit(parts._replace(netloc=netloc))


def _environment(database: PostgresUrl) -> dict[str, str]:
    password = urlsplit(database.url).password
    given = {} if password is None else {"PGPASSWORD": unquote(password)}
    return {**os.environ, "PGCONNECT_TIMEOUT": f"{_CONNECT_SECONDS:.0f}", **given}
